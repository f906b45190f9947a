"""From named figures to a result: what parsers of tables and documents share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xpukit.operate.bench.numbers import read_count, read_float, read_limit
from xpukit.operate.bench.result import BenchResult, Latency, Load

_COUNTS = ("completed", "failed", "input_tokens", "output_tokens")
_FIGURES = (
    "duration_s",
    "request_throughput",
    "request_goodput",
    "input_throughput",
    "output_throughput",
    "peak_output_throughput",
    "total_throughput",
    "concurrency_mean",
    "concurrency_peak",
)
_TEXTS = ("backend", "model", "started")
_LONGEST = 200


def build_latency(statistics: Mapping[str, object]) -> Latency | None:
    """From `mean`, `median`, `std`, `min`, `max` and `p99` (or `p99.9`) in ms; None where there is none."""
    values = {name: value for name, given in statistics.items() if (value := read_float(given)) is not None}
    named = ("mean", "median", "std", "min", "max")
    percentiles = {name: value for name, value in values.items() if name not in named}
    found = Latency(
        mean=values.get("mean"),
        median=values.get("median"),
        std=values.get("std"),
        min=values.get("min"),
        max=values.get("max"),
        percentiles=dict(sorted(percentiles.items(), key=lambda pair: float(pair[0][1:]))),
    )
    return None if found.empty else found


def build_result(
    format: str,
    engine: str,
    origin: str,
    fields: Mapping[str, object],
    latencies: Mapping[str, Mapping[str, object]],
    *,
    complete: bool,
    notes: tuple[str, ...] = (),
) -> BenchResult:
    """A result from its fields; what is no number where one belongs is left out."""
    texts = {name: str(fields[name])[:_LONGEST] for name in _TEXTS if fields.get(name)}
    total = read_float(fields.get("total_throughput"))
    made = {name: read_float(fields.get(name)) for name in _FIGURES}
    if made["input_throughput"] is None and total is not None and made["output_throughput"] is not None:
        # vLLM says the sum and the answers only.
        made["input_throughput"] = round(total - made["output_throughput"], 6)
    values: dict[str, Any] = {
        **made,
        **{name: read_count(fields.get(name)) for name in _COUNTS},
        **texts,
        **{kind: build_latency(statistics) for kind, statistics in latencies.items()},
    }
    return BenchResult(
        format=format,
        engine=engine,
        origin=origin,
        load=Load(
            input_len=read_count(fields.get("input_len")),
            output_len=read_count(fields.get("output_len")),
            requests=read_count(fields.get("requests")),
            concurrency=read_limit(fields.get("concurrency")),
            rate_rps=read_float(fields.get("rate_rps")) or None,
        ),
        **values,
        complete=complete,
        notes=notes,
    )
