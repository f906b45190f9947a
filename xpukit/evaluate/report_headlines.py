"""The few lines that stand for a benchmark's many rows: one per metric and setting, worst device first.

Rows that are well fold into one line per setting (the slowest device at its best size stands for them); what failed
keeps its own line; what is missing for one and the same reason folds into one line with a count. All rows remain in
the full table.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from xpukit.core.measurement import YES_NO
from xpukit.core.units import format_number
from xpukit.evaluate.report_names import (
    DeviceNames,
    describe_params,
    format_param,
    is_directed,
    show_metric,
    show_unit,
)
from xpukit.evaluate.result import Result
from xpukit.evaluate.summary import VERDICT_ORDER

# More failing devices than this of one setting are one line.
_OWN_LINES = 4
# Parameters that a line ranges over.
_VARIED = ("bytes", "host_node")


class Headline(msgspec.Struct, frozen=True, kw_only=True):
    """A line: the row that stands for its `rows`, in words where it came from."""

    row: Result
    rows: tuple[Result, ...]
    what: str
    where: str
    among: str = ""
    at: str = ""


def select_lines(rows: Sequence[Result], names: DeviceNames) -> list[Headline]:
    """The lines of one benchmark, worst verdict first, else in order of appearance."""
    metrics = {row.metric for row in rows}
    groups: dict[tuple[object, ...], list[Result]] = {}
    for row in rows:
        if row.verdict in ("pass", "no-baseline") and f"peak_{row.metric}" in metrics:
            continue  # its peak has a line
        groups.setdefault(_group_key(row), []).append(row)
    lines: list[Headline] = []
    for members in groups.values():
        parts = _split_failures(members)
        lines += [_describe_line(part, names, name_metric=len(metrics) > 1) for part in parts]
    return sorted(lines, key=lambda line: VERDICT_ORDER.index(line.row.verdict))


def _group_key(row: Result) -> tuple[object, ...]:
    if row.value is None:
        return (row.metric, row.verdict, row.reason)
    params = tuple(sorted((name, value) for name, value in row.params.items() if name not in _VARIED))
    return (row.metric, row.verdict, params)


def _split_failures(members: list[Result]) -> list[list[Result]]:
    if members[0].value is None or members[0].verdict not in ("fail", "warn"):
        return [members]
    by_devices: dict[tuple[str, ...], list[Result]] = {}
    for row in members:
        by_devices.setdefault(row.devices, []).append(row)
    return list(by_devices.values()) if len(by_devices) <= _OWN_LINES else [members]


def _describe_line(members: list[Result], names: DeviceNames, *, name_metric: bool) -> Headline:
    devices = {row.devices for row in members}
    sizes = {row.params["bytes"] for row in members if "bytes" in row.params}
    first = members[0]
    if first.value is None:
        what = _join_words(first, describe_params(members), name_metric=name_metric)
        where = names.join(first.devices, directed=is_directed(first)) if len(devices) == 1 else _count(devices, first)
        return Headline(row=first, rows=tuple(members), what=what, where=where)
    bad = first.verdict in ("fail", "warn")
    standing = [_pick([row for row in members if row.devices == those], worst=bad) for those in _in_order(members)]
    chosen = _pick(standing, worst=True)
    at = [f"at {format_param('bytes', chosen.params['bytes'])}"] if "bytes" in chosen.params else []
    if "host_node" in chosen.params:
        at.append(f"host node {chosen.params['host_node']}")
    if len(sizes) > 1:
        at.append(f"{'worst' if bad else 'best'} of {len(sizes)} sizes")
    return Headline(
        row=chosen,
        rows=tuple(members),
        what=_join_words(chosen, describe_params([chosen], leave_out=_VARIED), name_metric=name_metric),
        where=names.join(chosen.devices, directed=is_directed(chosen)),
        among=_describe_range(standing, chosen) if len(devices) > 1 else "",
        at=", ".join(at),
    )


def _join_words(row: Result, setting: str, *, name_metric: bool) -> str:
    return f"{show_metric(row.metric)} {setting}".strip() if name_metric or not setting else setting


def _in_order(members: list[Result]) -> list[tuple[str, ...]]:
    return list(dict.fromkeys(row.devices for row in members))


def _pick(rows: list[Result], *, worst: bool) -> Result:
    """Wrong data first, then by share of the reference, then by value."""

    def rank(row: Result) -> tuple[bool, float]:
        quality = row.ratio if row.ratio is not None and worst else row.value or 0.0
        better = row.higher_is_better or (row.ratio is not None and worst)
        return (row.verified is not False, quality if better else -quality)

    return min(rows, key=rank) if worst else max(rows, key=rank)


def _describe_range(standing: list[Result], chosen: Result) -> str:
    values = [row.value for row in standing if row.value is not None]
    if chosen.unit == YES_NO:
        return f"yes for {sum(1 for value in values if value)} of {len(values)}"
    low, high = format_number(min(values)), format_number(max(values))
    span = f"{low}–{high}" if low != high else low
    return f"{span} {show_unit(chosen.unit)}, {_count({row.devices for row in standing}, chosen)}"


def _count(devices: set[tuple[str, ...]], row: Result) -> str:
    if is_directed(row):
        return f"{len(devices)} pairs"
    return f"{len(devices)} devices" if all(len(those) == 1 for those in devices) else f"{len(devices)} groups"
