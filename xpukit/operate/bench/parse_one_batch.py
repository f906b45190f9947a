"""The log of `sglang.bench_one_batch`: a warm-up and the measured runs, a few lines each."""

from __future__ import annotations

import re

from xpukit.facts.bench_formats import load_bench_formats
from xpukit.operate.bench.numbers import read_count, read_float
from xpukit.operate.bench.result import BenchResult, Load, OneBatch

_VALUES = re.compile(r":\s*([0-9.]{1,20}) s, (?:median )?throughput:\s*([0-9.]{1,20}) token/s")
_BATCH = re.compile(r"Decode \d+\. Batch size: (\d{1,9}),")
_ARGUMENT = re.compile(
    r"(?:--(?=\S+[ =])|\b(?=\w+=))(batch[-_]size|batch|input[-_]len|input|output[-_]len|output)[ =](\d{1,9})(?![\d.])"
)
_LONGEST_LINE = 20_000


def parse_one_batch(text: str, *, origin: str = "") -> tuple[BenchResult, ...]:
    """Each measured run, the warm-up left out (unless it is all there is, which is said). Never raises."""
    names = load_bench_formats().one_batch
    runs: list[tuple[bool, dict[str, tuple[float | None, float | None]], int | None]] = []
    current: dict[str, tuple[float | None, float | None]] = {}
    batch: int | None = None
    warming = False
    said: dict[str, int] = {}
    for raw in text.splitlines():
        line = raw[:_LONGEST_LINE]
        if names.warm_up in line:
            warming = True
        elif names.measured in line:
            warming = False
        for match in _ARGUMENT.finditer(line):
            said[match.group(1).replace("-", "_").partition("_")[0]] = int(match.group(2))
        if numbered := _BATCH.search(line):
            batch = read_count(numbered.group(1))
        step = next((step for label, step in names.lines.items() if label in line), None)
        values = _VALUES.search(line) if step is not None else None
        if step is None or values is None:
            continue
        if step == "prefill" and current:
            runs.append((warming, current, batch))
            current, batch = {}, None
        current[step] = (read_float(values.group(1)), read_float(values.group(2)))
        if step == "total":
            runs.append((warming, current, batch))
            current, batch = {}, None
    if current:
        runs.append((warming, current, batch))
    measured = [run for run in runs if not run[0]]
    # One tensor-parallel rank a log line: each rank prints its own, under the same title.
    return tuple(_build(run, said, origin, warm_up=not measured) for run in measured or runs)


def _build(
    run: tuple[bool, dict[str, tuple[float | None, float | None]], int | None],
    said: dict[str, int],
    origin: str,
    *,
    warm_up: bool,
) -> BenchResult:
    _, steps, batch = run
    prefill_s, prefill = steps.get("prefill", (None, None))
    decode_s, decode = steps.get("decode", (None, None))
    total_s, total = steps.get("total", (None, None))
    notes = [] if "total" in steps else ["the log is cut: the run's last line is missing"]
    if warm_up:
        notes.append("only a warm-up: the measured run is not in this log")
    return BenchResult(
        format="one-batch-table",
        engine="sglang",
        origin=origin,
        load=Load(input_len=said.get("input"), output_len=said.get("output")),
        total_throughput=total,
        one_batch=OneBatch(
            batch=batch if batch is not None else said.get("batch"),
            prefill_s=prefill_s,
            prefill_throughput=prefill,
            decode_median_s=decode_s,
            decode_median_throughput=decode,
            total_s=total_s,
        ),
        complete="total" in steps and not warm_up,
        notes=tuple(notes),
    )
