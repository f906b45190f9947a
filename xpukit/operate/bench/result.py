"""One serving benchmark as a value, whoever measured it. None is what was not said."""

from __future__ import annotations

import math
from collections.abc import Iterator

import msgspec

LATENCIES = ("ttft", "tpot", "itl", "e2e")
THROUGHPUTS = ("request_throughput", "input_throughput", "output_throughput", "total_throughput", "request_goodput")


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds. `percentiles` by their name: p50, p90, p99, p99.9."""

    mean: float | None = None
    median: float | None = None
    std: float | None = None
    min: float | None = None
    max: float | None = None
    percentiles: dict[str, float] = {}

    @property
    def empty(self) -> bool:
        return not self.percentiles and all(
            value is None for value in (self.mean, self.median, self.std, self.min, self.max)
        )


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for. Lengths in tokens; `concurrency` None and `rate_rps` None: no limit, or not said.

    `arrival`: poisson, fixed, or "" where all requests wait for a free place only.
    """

    input_len: int | None = None
    output_len: int | None = None
    requests: int | None = None
    concurrency: int | None = None
    rate_rps: float | None = None
    arrival: str = ""
    shared_prefix: float | None = None


class OneBatch(msgspec.Struct, frozen=True, kw_only=True):
    """SGLang's benchmark without a server: seconds and tokens a second of its steps."""

    batch: int | None = None
    prefill_s: float | None = None
    prefill_throughput: float | None = None
    decode_median_s: float | None = None
    decode_median_throughput: float | None = None
    total_s: float | None = None


class ErrorCount(msgspec.Struct, frozen=True, kw_only=True):
    """How often requests failed in this way."""

    text: str
    count: int


class Overhead(msgspec.Struct, frozen=True, kw_only=True):
    """What our own client cost while it measured. Times in ms.

    `send_delay`: from the intended start to the request's first byte on the wire, which all latencies include.
    `loop_delay_p99_ms`: how late the client's clock tick came: the error of a single time stamp.
    `event_us`: measured before the run on an empty server inside the client, so an upper bound.
    """

    cpu_share: float
    loop_delay_p99_ms: float
    loop_delay_max_ms: float
    event_us: float
    send_delay: Latency
    limited: bool
    statement: str


class BenchResult(msgspec.Struct, frozen=True, kw_only=True):
    """One benchmark. `format` says what was read: vllm-table, sglang-json, one-batch-table, builtin, ...

    Throughputs are per second over the whole duration. `complete`: its end was seen. `interrupted`: by the user.
    """

    format: str
    origin: str = ""
    engine: str = ""
    engine_version: str = ""
    backend: str = ""
    model: str = ""
    started: str = ""
    load: Load = Load()
    completed: int | None = None
    failed: int | None = None
    duration_s: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    request_throughput: float | None = None
    request_goodput: float | None = None
    input_throughput: float | None = None
    output_throughput: float | None = None
    peak_output_throughput: float | None = None
    total_throughput: float | None = None
    concurrency_mean: float | None = None
    concurrency_peak: float | None = None
    ttft: Latency | None = None
    tpot: Latency | None = None
    itl: Latency | None = None
    e2e: Latency | None = None
    one_batch: OneBatch | None = None
    errors: tuple[ErrorCount, ...] = ()
    overhead: Overhead | None = None
    complete: bool = True
    interrupted: bool = False
    notes: tuple[str, ...] = ()

    def find_value(self, metric: str) -> float | None:
        """The figure by its name: `output_throughput`, `ttft_mean`, `itl_p99`. None where it is not there."""
        return dict(self.iterate_metrics()).get(metric)

    def iterate_metrics(self) -> Iterator[tuple[str, float]]:
        """Names and finite values of all that can be judged."""
        for name in THROUGHPUTS:
            value = getattr(self, name)
            if value is not None and math.isfinite(value):
                yield name, value
        if self.one_batch is not None:
            for name in ("prefill_throughput", "decode_median_throughput"):
                value = getattr(self.one_batch, name)
                if value is not None and math.isfinite(value):
                    yield name, value
        for kind in LATENCIES:
            latency: Latency | None = getattr(self, kind)
            if latency is None:
                continue
            for statistic in ("mean", "median"):
                value = getattr(latency, statistic)
                if value is not None and math.isfinite(value):
                    yield f"{kind}_{statistic}", value
            for name, value in latency.percentiles.items():
                if math.isfinite(value):
                    yield f"{kind}_{name}", value


def describe_load(result: BenchResult) -> str:
    """'1000/1000, 16 at a time, 2 req/s': what is known of the load, in words."""
    load = result.load
    parts = []
    if load.input_len is not None or load.output_len is not None:
        parts.append(f"{_or_unknown(load.input_len)}/{_or_unknown(load.output_len)}")
    if result.one_batch is not None:
        parts.append(f"batch {_or_unknown(result.one_batch.batch)}")
    if load.concurrency is not None:
        parts.append(f"{load.concurrency} at a time")
    if load.rate_rps is not None:
        parts.append(f"{load.rate_rps:g} req/s{' ' + load.arrival if load.arrival else ''}")
    if load.requests is not None and load.concurrency is None and load.rate_rps is None:
        parts.append(f"{load.requests} at once")
    if load.shared_prefix:
        parts.append(f"{load.shared_prefix:.0%} shared")
    return ", ".join(parts) or "load not said"


def _or_unknown(count: int | None) -> str:
    return "?" if count is None else str(count)
