"""The table that `vllm bench serve` and `sglang.bench_serving` print, out of a log of any other lines."""

from __future__ import annotations

import re
from functools import cache

from xpukit.facts.bench_formats import load_bench_formats
from xpukit.operate.bench.fields import build_result
from xpukit.operate.bench.numbers import read_count
from xpukit.operate.bench.result import BenchResult

_COLORS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
# A label, a colon, a value; before it there may be what a container or a time stamp put there.
_ROW = re.compile(r"([A-Za-z][A-Za-z0-9 .-]{0,60}(?:\([^()]{1,20}\))?):\s+(\S{1,200})\s*$")
_RULE = re.compile(r"={20,}\s*`*\s*$")
_STATISTIC = re.compile(r"^(mean|median|std|min|max|p\d{1,2}(?:\.\d{1,4})?|p100) (.+?) \(ms\)$")
_LONGEST_LINE = 20_000
# Arguments are looked for in so many lines above a table (below the table before it).
_LINES_ABOVE = 400


def parse_tables(text: str, *, origin: str = "") -> tuple[BenchResult, ...]:
    """Every table in the text, in order. Never raises."""
    lines = [_COLORS.sub("", line[:_LONGEST_LINE]) for line in text.splitlines()]
    title = load_bench_formats().title
    starts = [number for number, line in enumerate(lines) if title in line]
    results = []
    above_from = 0
    for place, start in enumerate(starts):
        stop = starts[place + 1] if place + 1 < len(starts) else len(lines)
        end = next((number for number in range(start + 1, stop) if _RULE.search(lines[number])), None)
        last = stop if end is None else end
        above = lines[max(above_from, start - _LINES_ABOVE) : start]
        results.append(_read_table(above, lines[start + 1 : last], origin, complete=end is not None))
        above_from = last
    return tuple(one for one in results if one is not None)


def _read_table(above: list[str], rows: list[str], origin: str, *, complete: bool) -> BenchResult | None:
    formats = load_bench_formats()
    fields: dict[str, object] = _read_arguments("\n".join(above))
    fields |= {formats.labels[label]: value for label, value in _iterate_rows(above) if label in formats.labels}
    latencies: dict[str, dict[str, object]] = {}
    found: set[str] = set()
    for label, value in _iterate_rows(rows):
        field = formats.labels.get(label)
        if field is not None:
            fields[field] = value
            found.add(field)
        elif (statistic := _STATISTIC.match(label)) and (kind := _name_latencies().get(statistic.group(2))):
            latencies.setdefault(kind, {})[statistic.group(1)] = value
    if not found and not latencies:
        return None
    notes: tuple[str, ...] = () if complete else ("the table is cut: its last line is missing",)
    asked, answered = read_count(fields.get("requests")), read_count(fields.get("completed"))
    if asked is not None and answered is not None and answered > asked:
        # A guide's command with the table of another run: neither lengths nor limit are this table's.
        notes = (*notes, f"{answered} answers cannot be of the command above it, which asks for {asked}")
        for name in ("requests", "input_len", "output_len", *({"concurrency", "rate_rps"} - found)):
            fields.pop(name, None)
    engine = "sglang" if found & {"backend", "concurrency_mean"} or "retokenized" in "".join(rows) else "vllm"
    return build_result(f"{engine}-table", engine, origin, fields, latencies, complete=complete, notes=notes)


def _iterate_rows(lines: list[str]) -> list[tuple[str, str]]:
    """Labels (lower case, without what a log put before them) and values."""
    known = load_bench_formats().labels
    rows = []
    for line in lines:
        match = _ROW.search(line)
        if match is None:
            continue
        label = match.group(1).strip().lower()
        if label not in known and not _STATISTIC.match(label):
            # "bench-1 Successful requests": drop words until the rest is known.
            words = label.split(" ")
            tails = (" ".join(words[first:]) for first in range(1, len(words)))
            label = next((tail for tail in tails if tail in known or _STATISTIC.match(tail)), label)
        rows.append((label, match.group(2)))
    return rows


@cache
def _name_latencies() -> dict[str, str]:
    return {label.lower(): one.name for one in load_bench_formats().latency for label in one.labels}


@cache
def _argument_pattern() -> re.Pattern[str]:
    names = "|".join(sorted(load_bench_formats().arguments, key=len, reverse=True))
    spelled = names.replace("_", "[-_]")
    # Namespace(model='x', ...) and --model x, --model=x; no part of a longer name.
    return re.compile(rf"(?:--|(?<![\w.-]))({spelled})(?:=|(?<=[a-z])\s+)['\"]?([^\s'\",)\\]{{1,200}})")


def _read_arguments(text: str) -> dict[str, object]:
    """The load by the command or the arguments in a log. The last one said stands."""
    arguments = load_bench_formats().arguments
    found: dict[str, object] = {}
    for match in _argument_pattern().finditer(text):
        spaced = text[match.end(1) : match.start(2)].strip() == ""
        if spaced and not match.group(0).startswith("--"):
            continue  # a word of a sentence: "model is"
        found[arguments[match.group(1).replace("-", "_")]] = match.group(2)
    return found
