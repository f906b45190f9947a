"""xpu-smi's tables within a log: health and diagnostics, how cards are wired, errors counted between two readings."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from xpukit.core.measurement import Measurement
from xpukit.evaluate.error_counters import Counts, count_errors
from xpukit.evaluate.error_rows import judge_errors
from xpukit.evaluate.parsers.xpu_smi_tables import (
    DiagTable,
    HealthTable,
    StatsTable,
    parse_diag,
    parse_health,
    parse_stats,
)
from xpukit.evaluate.parsers.xpu_smi_topology import TopologyMatrix, parse_topology
from xpukit.evaluate.result import Result
from xpukit.evaluate.tools.convert_smi import convert_diag, convert_health, sum_up_cards
from xpukit.evaluate.wiring import convert_topology
from xpukit.facts.error_counters import load_error_counters

SmiParsed = HealthTable | DiagTable | StatsTable | TopologyMatrix

_STATUS = re.compile(r"\bstatus:? {1,}\w", re.IGNORECASE)
_DIAG = re.compile(
    r"^\W*(?:Component +\|? *(?:Details|Status)|Level +\|? *\d|Software Library\b|.{0,80}\| *Result: )", re.MULTILINE
)
_NEWER = re.compile(r"\b(?:PIX|PXB|PHB|NIC ?\d)")


def parse_smi(tool: str, text: str) -> SmiParsed | None:
    """A stretch that `log_slices` gave to xpu-smi; None for one that is read elsewhere."""
    if tool == "xpu-smi topology":
        return parse_topology(text)
    if tool != "xpu-smi table":
        return None
    if _DIAG.search(text):
        return parse_diag(text)
    return parse_health(text) if _STATUS.search(text) else parse_stats(text)


def list_smi_numbers(parsed: SmiParsed) -> set[int]:
    """The device numbers that it names. A card of several tiles counts as many: so do programs that see tiles."""
    if isinstance(parsed, TopologyMatrix):
        return set(range(len(_list_places(parsed))))
    return {item.device for item in parsed.readings if item.device is not None}


def convert_smi(parsed: SmiParsed, labels: Mapping[int, str]) -> tuple[Measurement, ...]:
    """Rows of health, diagnostics and wiring; statistics are no measurements."""
    if isinstance(parsed, TopologyMatrix):
        places = _list_places(parsed)
        named = {place: labels[number] for number, place in enumerate(places) if number in labels}
        is_newer = any(_NEWER.search(link.kind) or link.a.startswith("nic") for link in parsed.readings)
        return convert_topology(parsed, named, 2 if is_newer else None)
    if isinstance(parsed, HealthTable):
        rows = convert_health(parsed, labels)
        return (*sum_up_cards("health", rows), *rows)
    if isinstance(parsed, DiagTable):
        # A check beforehand names addresses, which are all that a log may know of its cards.
        addresses = {item.subject.lower() for item in parsed.readings if item.subject.count(":") == 2}
        unknown = sorted(bdf for bdf in addresses if not any(label.startswith(bdf) for label in labels.values()))
        rows = convert_diag(parsed, {**labels, **{-1 - place: bdf for place, bdf in enumerate(unknown)}})
        return (*sum_up_cards("diag", rows), *rows)
    return ()


def _list_places(parsed: TopologyMatrix) -> list[tuple[int, int]]:
    places = {
        (int(card), int(tile))
        for link in parsed.readings
        if link.a.startswith("gpu")
        for card, _, tile in [link.a.removeprefix("gpu").partition("/")]
    }
    return sorted(places)


def judge_counted(tables: Sequence[StatsTable], labels: Mapping[int, str], engine: str) -> tuple[Result, ...]:
    """Rows for each device whose errors the log counts twice or more: what came between the first and the last time."""
    seen: dict[str, list[dict[str, int]]] = {}
    for table in tables:
        for number in sorted({item.device for item in table.readings if item.device is not None}):
            counts = count_errors(table, number)
            if counts and number in labels:
                seen.setdefault(labels[number], []).append(counts)
    first: Counts = {label: found[0] for label, found in seen.items() if len(found) > 1}
    last: Counts = {label: seen[label][-1] for label in first}
    return judge_errors(first, last, first, {}, engine=engine)


def list_counted(tables: Sequence[StatsTable]) -> list[str]:
    """The errors that tables of statistics say have been counted so far, each once."""
    told: dict[str, None] = {}
    for table in tables:
        for number in sorted({item.device for item in table.readings if item.device is not None}):
            for name, count in count_errors(table, number).items():
                if count:
                    told[f"device {number}: {count} {load_error_counters()[name].summary}, counted so far"] = None
    return list(told)
