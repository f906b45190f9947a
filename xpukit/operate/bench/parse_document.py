"""What benchmarks save: one JSON document, several after each other, or one a line (`--append-result`, JSONL)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import msgspec

from xpukit.core.json_document import BAD_JSON
from xpukit.facts.bench_formats import load_bench_formats
from xpukit.operate.bench.fields import build_result
from xpukit.operate.bench.numbers import read_count, read_float
from xpukit.operate.bench.result import BenchResult, ErrorCount, Load, OneBatch

_MOST_DOCUMENTS = 100_000
# Each costs a pass over the text before it (json counts lines for its message): a log full of such is given up.
_MOST_FAILURES = 1000
_MOST_ERRORS = 20
_OBJECT = re.compile(r'\{\s*"')
_STATISTIC = re.compile(r"^(mean|median|std|min|max|p\d{1,3}(?:\.\d{1,4})?)_(\w+?)_ms$")


def parse_documents(text: str, *, origin: str = "") -> tuple[BenchResult, ...]:
    """Every document that is a benchmark's result. Never raises."""
    results = (read_document(one, origin=origin) for one in _iterate_objects(text))
    return tuple(one for one in results if one is not None)


def _iterate_objects(text: str) -> Iterator[Mapping[str, Any]]:
    decoder = json.JSONDecoder()
    count = failures = 0
    start = _OBJECT.search(text)
    while start is not None and count < _MOST_DOCUMENTS and failures < _MOST_FAILURES:
        count += 1
        try:
            found, place = decoder.raw_decode(text, start.start())
        except BAD_JSON:
            # No document, or a damaged one: the next line may be whole.
            failures += 1
            place = text.find("\n", start.start())
            if place < 0:
                return
        else:
            if isinstance(found, dict):
                yield found
        start = _OBJECT.search(text, place)


def read_document(given: Mapping[str, Any], *, origin: str = "") -> BenchResult | None:
    """One document as a result; None where it is none."""
    formats = load_bench_formats()
    if {"prefill_latency", "total_latency"} <= given.keys():
        return _read_one_batch(given, origin)
    fields: dict[str, object] = {}
    for key, field in formats.keys.items():
        if key in given and given[key] is not None and not isinstance(given[key], dict | list):
            fields[field] = given[key]
    latencies = _read_latencies(given)
    if not latencies and "output_throughput" not in fields:
        return None
    engine = next((engine for mark, engine in formats.marks.items() if mark in given), "")
    if engine == "sglang" and given.get("max_concurrency") is None:
        fields.pop("concurrency", None)
    result = build_result(
        f"{engine or 'unknown'}-json",
        engine,
        origin,
        fields,
        latencies,
        complete=bool(fields.get("duration_s")),
        notes=() if engine else ("the document does not tell its engine",),
    )
    return _add_errors(result, given)


def _read_latencies(given: Mapping[str, Any]) -> dict[str, dict[str, object]]:
    kinds = _name_kinds()
    latencies: dict[str, dict[str, object]] = {}
    for key, value in given.items():
        match = _STATISTIC.match(key) if isinstance(key, str) else None
        if match is not None and match.group(2) in kinds and read_float(value) is not None:
            latencies.setdefault(kinds[match.group(2)], {})[match.group(1)] = value
    for key, kind in kinds.items():
        # vLLM 0.5: [[99, 12.3], ...].
        listed = given.get(f"percentiles_{key}_ms")
        for pair in listed if isinstance(listed, list) else []:
            percent, value = map(read_float, pair) if isinstance(pair, list) and len(pair) == 2 else (None, None)
            if percent is not None and value is not None and 0 <= percent <= 100:
                latencies.setdefault(kind, {})[f"p{percent:.6g}"] = value
    return latencies


@cache
def _name_kinds() -> dict[str, str]:
    return {key: one.name for one in load_bench_formats().latency for key in one.keys}


def _add_errors(result: BenchResult, given: Mapping[str, Any]) -> BenchResult:
    """The errors of a detailed document, counted; and how many failed where only the number asked for is told."""
    listed = given.get("errors")
    counts: dict[str, int] = {}
    for text in listed if isinstance(listed, list) else []:
        if isinstance(text, str) and text.strip():
            last = text.strip().splitlines()[-1][:200]
            counts[last] = counts.get(last, 0) + 1
    failed = result.failed
    if failed is None and counts:
        failed = sum(counts.values())
    if failed is None and result.completed is not None and (result.load.requests or 0) >= result.completed:
        failed = (result.load.requests or 0) - result.completed
    most = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:_MOST_ERRORS]
    return msgspec.structs.replace(
        result, failed=failed, errors=tuple(ErrorCount(text=text, count=count) for text, count in most)
    )


def _read_one_batch(given: Mapping[str, Any], origin: str) -> BenchResult:
    fields = {field: given.get(key) for key, field in load_bench_formats().one_batch.keys.items()}
    return BenchResult(
        format="one-batch-json",
        engine="sglang",
        origin=origin,
        load=Load(input_len=read_count(fields["input_len"]), output_len=read_count(fields["output_len"])),
        total_throughput=read_float(fields["total_throughput"]),
        one_batch=OneBatch(
            batch=read_count(fields["batch"]),
            prefill_s=read_float(fields["prefill_s"]),
            prefill_throughput=read_float(fields["prefill_throughput"]),
            decode_median_s=read_float(fields["decode_median_s"]),
            decode_median_throughput=read_float(fields["decode_median_throughput"]),
            total_s=read_float(fields["total_s"]),
        ),
    )
