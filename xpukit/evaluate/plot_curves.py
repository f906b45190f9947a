"""Curves over the size of the data: any benchmark whose rows have a `bytes` parameter."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

import msgspec

from xpukit.core.units import format_bytes, format_number
from xpukit.evaluate.plot_canvas import (
    DASHES,
    FAINT,
    INK,
    MARKERS,
    PAPER,
    SERIES,
    VERDICTS,
    LegendEntry,
    Plot,
    make_panel,
    render_svg,
    variable_of,
)
from xpukit.evaluate.report_names import (
    DeviceNames,
    clean_text,
    describe_params,
    format_param,
    is_directed,
    show_metric,
    show_unit,
)
from xpukit.evaluate.result import Result

_HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 236.0, 46.0, 14.0, 20.0, 24.0
# A device this far from the median of its peers at the largest size is named in the picture.
_APART = 0.15


class CurveLayout(msgspec.Struct, frozen=True, kw_only=True):
    """Which parameters make separate pictures, which a colour, which a line style. Others join the colour."""

    metrics: tuple[str, ...] = ()
    facet: tuple[str, ...] = ()
    dash: tuple[str, ...] = ()


class _Line(msgspec.Struct, kw_only=True):
    color: int
    dash: int
    rows: list[Result]


def size_of(row: Result) -> float | None:
    """The row's size in bytes, None when it has none that can stand on a logarithmic axis."""
    size = row.params.get("bytes")
    return float(size) if isinstance(size, int | float) and 0 < size < math.inf else None


def plot_curves(rows: Sequence[Result], layout: CurveLayout, names: DeviceNames, ident: str) -> list[Plot]:
    """One picture per metric, unit and facet with at least two sizes and one value."""
    facets: dict[tuple[Any, ...], list[Result]] = {}
    for row in rows:
        if size_of(row) is not None and (not layout.metrics or row.metric in layout.metrics):
            facet = tuple(row.params.get(name, "") for name in layout.facet)
            facets.setdefault((row.metric, row.unit, *facet), []).append(row)
    plots: list[Plot] = []
    for members in facets.values():
        if len({size_of(row) for row in members}) > 1 and any(row.value is not None for row in members):
            plots.append(_plot_facet(members, layout, names, f"{ident}{len(plots)}-"))
    return plots


def _plot_facet(rows: list[Result], layout: CurveLayout, names: DeviceNames, ident: str) -> Plot:
    # Throughput has a natural zero; times span orders of magnitude.
    logarithmic = not rows[0].higher_is_better
    varied = [name for name in sorted({name for row in rows for name in row.params}) if _is_varied(rows, name)]
    color_names = [name for name in varied if name not in ("bytes", *layout.facet, *layout.dash)]
    dash_names = tuple(name for name in layout.dash if name in varied)
    lines = _sort_lines(rows, color_names, dash_names)
    figure, axes = make_panel(_HEIGHT, left=_LEFT, right=_RIGHT, top=_TOP, bottom=_BOTTOM)
    crowded = len({(line.color, line.dash) for line in lines}) < len(lines)
    ends: dict[tuple[int, int], list[tuple[float, float, Result]]] = {}
    for line in lines:
        end = _draw_line(axes, line, crowded=crowded, logarithmic=logarithmic)
        if end is not None:
            ends.setdefault((line.color, line.dash), []).append(end)
    _set_scales(axes, rows, logarithmic=logarithmic)
    marks = _mark_problems(axes, rows)
    limits = _draw_limit(axes, rows)
    for group in ends.values():
        _name_outliers(axes, group, names)
    first = rows[0]
    facet = " ".join(format_param(name, first.params[name]) for name in layout.facet if name in first.params)
    title = " ".join(part for part in (show_metric(first.metric), facet) if part)
    axes.text(0, 1.03, show_unit(first.unit), transform=axes.transAxes, color=FAINT, ha="left", va="bottom")
    devices = names.order({label for row in rows for label in row.devices})
    shown = names.join(devices)
    same = describe_params([first], leave_out=("bytes", *layout.facet, *color_names, *dash_names))
    caption = ", ".join(part for part in (f"{show_unit(first.unit)} over size", same, shown) if part)
    if crowded:
        pairs = "pair" if is_directed(first) else "device or group"
        caption += f"; one line per {pairs} ({len({row.devices for row in rows})})"
    return Plot(
        title=title,
        svg=render_svg(figure, ident, f"{first.benchmark} {title}, {caption}"),
        caption=caption,
        legend=(*_describe_lines(lines, color_names, dash_names), *marks, *limits),
    )


def _is_varied(rows: list[Result], name: str) -> bool:
    return len({row.params.get(name) for row in rows}) > 1


def _sort_lines(rows: list[Result], color_names: list[str], dash_names: tuple[str, ...]) -> list[_Line]:
    colors: dict[tuple[Any, ...], int] = {}
    dashes: dict[tuple[Any, ...], int] = {}
    lines: dict[tuple[Any, ...], _Line] = {}
    for row in rows:
        color = tuple(row.params.get(name, "") for name in color_names)
        dash = tuple(row.params.get(name, "") for name in dash_names)
        key = (color, dash, row.devices)
        if key not in lines:
            lines[key] = _Line(
                color=colors.setdefault(color, len(colors)), dash=dashes.setdefault(dash, len(dashes)), rows=[]
            )
        lines[key].rows.append(row)
    for line in lines.values():
        line.rows.sort(key=lambda row: size_of(row) or 0)
    return list(lines.values())


def _draw_line(axes: Any, line: _Line, *, crowded: bool, logarithmic: bool) -> tuple[float, float, Result] | None:
    """Draws a line with gaps where a value is missing; returns its last point."""
    points = [
        (
            math.log2(size_of(row) or 1),
            row.value if row.value is not None and (row.value > 0 or not logarithmic) else math.nan,
        )
        for row in line.rows
    ]
    axes.plot(
        [x for x, _ in points],
        [y for _, y in points],
        color=SERIES[line.color % len(SERIES)],
        linestyle=DASHES[line.dash % len(DASHES)][0],
        marker=MARKERS[line.color % len(MARKERS)][0],
        linewidth=1.1 if crowded else 1.7,
        markersize=2.6 if crowded else 4.4,
        markeredgewidth=0,
        alpha=0.6 if crowded else 1,
        clip_on=False,
    )
    x, y = points[-1]
    return None if math.isnan(y) else (x, y, line.rows[-1])


def _set_scales(axes: Any, rows: list[Result], *, logarithmic: bool) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

    sizes = sorted({size_of(row) or 1 for row in rows})
    low, high = math.log2(sizes[0]), math.log2(sizes[-1])
    pad = 0.02 * (high - low)
    axes.set_xlim(low - pad, high + pad)
    step = max(1, math.ceil((high - low) / 5))
    axes.xaxis.set_major_locator(FixedLocator([*range(math.ceil(low - 1e-9), math.floor(high + 1e-9) + 1, step)]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: format_bytes(2**x)))
    values = [row.value for row in rows if row.value is not None]
    references = [row.reference.value for row in rows if row.reference is not None]
    if logarithmic and (positive := [value for value in values if value > 0]):
        axes.set_yscale("log")
        axes.set_ylim(min(positive) / 1.6, max(positive) * 1.6)
        wide = max(positive) / min(positive) > 8
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0,) if wide else (1.0, 2.0, 5.0), numticks=6))
        axes.yaxis.set_minor_locator(NullLocator())
    else:
        # Far-away references (another size's peak) must not flatten the curve.
        top = max([*values, *(value for value in references if value < 1.6 * max(values))])
        axes.set_ylim(min(0.0, *values) if values else 0.0, 1.08 * top if top > 0 else 1.0)
        axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}" if abs(y) < 1e6 else format_number(y)))
    axes.grid(visible=True, axis="y")
    axes.tick_params(length=0)
    axes.tick_params(axis="x", length=3)


def _mark_problems(axes: Any, rows: list[Result]) -> list[LegendEntry]:
    """A cross on the axis where a value is missing, a ring where the data was wrong."""
    entries = []
    missing = sorted({math.log2(size_of(row) or 1) for row in rows if row.value is None})
    if missing:
        axes.plot(
            missing,
            [0.035] * len(missing),
            "x",
            color=VERDICTS["unknown"],
            markersize=5,
            markeredgewidth=1.4,
            transform=axes.get_xaxis_transform(),
            clip_on=False,
        )
        entries.append(LegendEntry(text="× not measured here", shape="none", color=variable_of(VERDICTS["unknown"])))
    wrong = [(math.log2(size_of(row) or 1), row.value) for row in rows if row.verified is False and row.value]
    if wrong:
        axes.plot(
            [x for x, _ in wrong],
            [y for _, y in wrong],
            "o",
            color=VERDICTS["fail"],
            markerfacecolor="none",
            markersize=9,
            markeredgewidth=1.4,
            clip_on=False,
        )
        entries.append(LegendEntry(text="◯ WRONG data", shape="none", color=variable_of(VERDICTS["fail"])))
    return entries


def _draw_limit(axes: Any, rows: list[Result]) -> list[LegendEntry]:
    """One line across where all rows share a reference or a limit that is within sight."""
    entries = []
    top = axes.get_ylim()[1]
    references = {(row.reference.value, row.reference.kind) for row in rows if row.reference is not None}
    limits = {(row.limit.value, "limit") for row in rows if row.limit is not None}
    for found, dash in ((references, 1), (limits, 2)):
        if len(found) != 1:
            continue
        value, kind = found.pop()
        label = "limit" if kind == "limit" else f"reference ({clean_text(kind)})"
        seen = axes.get_ylim()[0] < value <= 1.6 * top
        if seen:
            axes.set_ylim(top=max(axes.get_ylim()[1], 1.04 * value))
            axes.axhline(value, color=INK, linewidth=1, linestyle=DASHES[dash][0])
        text = f"{label}: {format_number(value)} {show_unit(rows[0].unit)}" + ("" if seen else " (off the scale)")
        entries.append(LegendEntry(text=text, shape="line" if seen else "none", color=variable_of(INK), dash=dash))
    return entries


def _name_outliers(axes: Any, ends: list[tuple[float, float, Result]], names: DeviceNames) -> None:
    if len(ends) < 3:
        return
    median = statistics.median(y for _, y, _ in ends)
    better_up = ends[0][2].higher_is_better
    apart = [end for end in ends if (end[1] < median * (1 - _APART) if better_up else end[1] > median * (1 + _APART))]
    for x, y, row in sorted(apart, key=lambda end: (abs(end[1] - median), end[2].devices))[-2:]:
        axes.annotate(
            names.join(row.devices, directed=is_directed(row)),
            (x, y),
            xytext=(-5, -4 if better_up else 4),
            textcoords="offset points",
            ha="right",
            va="top" if better_up else "bottom",
            color=VERDICTS["fail"],
            bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 1},
        )


def _describe_lines(lines: list[_Line], color_names: list[str], dash_names: tuple[str, ...]) -> list[LegendEntry]:
    entries = {}
    single_color = len({line.color for line in lines}) == 1
    for line in lines:
        key = (line.color, line.dash)
        if key in entries:
            continue
        row = line.rows[0]
        words = describe_params([row], leave_out=tuple(set(row.params) - {*color_names, *dash_names}))
        if not words and single_color and len(lines) == 1:
            continue
        alike = [row for other in lines if (other.color, other.dash) == key for row in other.rows]
        missing = ": not measured" if all(row.value is None for row in alike) else ""
        entries[key] = LegendEntry(
            text=(words or show_metric(row.metric)) + missing,
            shape="line",
            color=variable_of(SERIES[line.color % len(SERIES)]),
            marker=line.color % len(MARKERS),
            dash=line.dash % len(DASHES),
        )
    return list(entries.values())
