"""Bars and matrices: GEMM by data type, shares of the reference, values between pairs of devices."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from xpukit.core.measurement import YES_NO
from xpukit.core.units import format_bytes, format_number
from xpukit.evaluate.plot_canvas import (
    FAINT,
    GRID,
    INK,
    PAPER,
    SERIES,
    VERDICTS,
    WIDTH,
    LegendEntry,
    Plot,
    make_panel,
    render_svg,
    variable_of,
)
from xpukit.evaluate.plot_curves import size_of
from xpukit.evaluate.report_headlines import Headline
from xpukit.evaluate.report_names import (
    DeviceNames,
    clean_text,
    describe_params,
    format_param,
    format_product,
    is_directed,
    show_metric,
    show_unit,
    sort_params,
)
from xpukit.evaluate.result import Result

_BAR_ROW = 27.0
_RATIO_ROW = 34.0
# Behind words that may stand on a mark.
_PLATE = {"facecolor": PAPER, "edgecolor": "none", "pad": 0.6}
# Characters that fit above a bar.
_BAR_TEXT = 52
# A mark further right than this many times the longest bar is only told in the caption.
_IN_SIGHT = 2.5
# Room on the right of the longest bar for the value in words.
_WORDS = 1.42
# A picture with more bars than this is split by the number of rows, m.
_MOST_BARS = 16
_DTYPES = ("fp64", "fp32", "tf32", "fp16", "bf16", "fp8", "int8", "int4")
_SHAPE_PARAMS = ("shape", "m", "n", "k")
# Cell colours from low to high; dark-to-light like cividis, so that order survives without colour.
_LOW, _HIGH = (23, 44, 98), (247, 223, 98)


def plot_bars(rows: Sequence[Result], names: DeviceNames, ident: str) -> list[Plot]:
    """One picture per metric and shape: a bar per data type (and size), marks for reference and limit."""
    shapes: dict[tuple[Any, ...], list[Result]] = {}
    for row in rows:
        sides = {row.params.get(name) for name in ("m", "n", "k")}
        layer = () if len(sides) == 1 else (row.params.get("n"), row.params.get("k"))
        shapes.setdefault((row.metric, row.params.get("shape"), *layer), []).append(row)
    plots: list[Plot] = []
    for members in shapes.values():
        for part in _split_tall(members):
            if any(row.value is not None for row in part):
                plots.append(_plot_bar_facet(part, names, f"{ident}{len(plots)}-"))
    return plots


def _split_tall(rows: list[Result]) -> list[list[Result]]:
    bars = {tuple(sorted(row.params.items())) for row in rows}
    if len(bars) <= _MOST_BARS:
        return [rows]
    return [
        [row for row in rows if row.params.get("m", "") == size]
        for size in sort_params(row.params.get("m", "") for row in rows)
    ]


def _name_bar(row: Result, *, sizes: bool) -> str:
    label = describe_params([row], leave_out=_SHAPE_PARAMS)
    if sizes and "m" in row.params:
        label += f" {format_product(row)}" if format_product(row).endswith("³") else f" m={row.params['m']}"
    return label or show_metric(row.metric)


def _order_bar(row: Result) -> tuple[int, str, list[Any]]:
    dtype = str(row.params.get("dtype", ""))
    places = [place for place, known in enumerate(_DTYPES) if dtype.startswith(known)]
    return (places[0] if places else len(_DTYPES), dtype, sort_params([row.params.get("m", "")]))


def _plot_bar_facet(rows: list[Result], names: DeviceNames, ident: str) -> Plot:
    sizes = len({row.params.get("m") for row in rows}) > 1
    bars: dict[str, list[Result]] = {}
    for row in sorted(rows, key=_order_bar):
        bars.setdefault(_name_bar(row, sizes=sizes), []).append(row)
    left = 10 + 6.4 * min(18, max(len(label) for label in bars))
    figure, axes = make_panel(_BAR_ROW * len(bars) + 12, left=left, right=8, top=4, bottom=8)
    longest = max(row.value for row in rows if row.value is not None) or 1.0
    axes.set_xlim(0, longest * _WORDS)
    marks: dict[str, LegendEntry] = {}
    for place, members in enumerate(bars.values()):
        _draw_bar(axes, place, members, longest, marks)
    axes.set_yticks(range(len(bars)), [label[:24] for label in bars])
    axes.set_ylim(len(bars) - 0.5, -0.5)
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines["bottom"].set_visible(False)
    first = rows[0]
    shape = format_param("shape", first.params["shape"]) if "shape" in first.params else ""
    product = format_product(first)
    if sizes:
        product = "" if product.endswith("³") else f"m×{product.partition('×')[2]}"
    title = " ".join(part for part in (shape, product) if part) or show_metric(first.metric)
    caption = (
        f"{show_metric(first.metric)}, {names.join(names.order({label for row in rows for label in row.devices}))}"
    )
    if len({row.devices for row in rows}) > 1:
        caption += "; bar: median over devices, dots: each device"
    label = f"{first.benchmark} {title}, {caption}"
    return Plot(title=title, svg=render_svg(figure, ident, label), caption=caption, legend=tuple(marks.values()))


def _draw_bar(axes: Any, place: int, rows: list[Result], longest: float, marks: dict[str, LegendEntry]) -> None:
    values = [row.value for row in rows if row.value is not None]
    wrong = any(row.verified is False for row in rows)
    missing = sum(1 for row in rows if row.value is None)
    middle = statistics.median(values) if values else 0.0
    color = VERDICTS["fail"] if wrong else SERIES[0]
    axes.barh(place, middle, height=0.62, color=color, alpha=0.55 if wrong else 0.9, linewidth=0)
    if len(values) > 1:
        axes.plot(values, [place] * len(values), "o", color=INK, markersize=2.4, markeredgewidth=0, alpha=0.7)
    end = max([middle, *values])
    for row in rows:
        if row.reference is not None and row.reference.value <= _IN_SIGHT * longest:
            x = row.reference.value
            axes.plot([x, x], [place - 0.42, place + 0.42], color=SERIES[1], linewidth=2.2, clip_on=False)
            end = _reach(axes, end, x)
            marks["reference"] = LegendEntry(text="reference", shape="tick", color=variable_of(SERIES[1]))
        if row.limit is not None and row.limit.value <= _IN_SIGHT * longest:
            x = row.limit.value
            axes.plot([x], [place], "D", color=INK, markerfacecolor="none", markersize=4.5, clip_on=False)
            end = _reach(axes, end, x)
            marks["limit"] = LegendEntry(text="known limit", shape="mark", color=variable_of(INK), marker=3)
    text = f"{format_number(middle)} {show_unit(rows[0].unit)}" if values else "not measured"
    if wrong:
        text += " WRONG"
    elif missing and values:
        text += f", {missing} missing"
    shade = VERDICTS["fail"] if wrong else INK if values else VERDICTS["unknown"]
    axes.annotate(text, (end, place), xytext=(6, 0), textcoords="offset points", va="center", color=shade)


def _reach(axes: Any, end: float, x: float) -> float:
    axes.set_xlim(0, max(axes.get_xlim()[1], _WORDS * x))
    return max(end, x)


def plot_ratios(
    lines: Sequence[Headline], ident: str, *, title: str, most: int, panels: int = 1, name_benchmark: bool = False
) -> list[Plot]:
    """Shares of the reference, lowest first: one bar per line of the tables, `most` to a panel.

    The caption says of how many.
    """
    judged = sorted((line for line in lines if line.row.ratio is not None), key=lambda line: line.row.ratio or 0.0)
    plots: list[Plot] = []
    for number in range(min(panels, -(-len(judged) // most))):
        shown = judged[number * most : (number + 1) * most]
        places = f"{number * most + 1}–{number * most + len(shown)} of {len(judged)}, lowest first"
        caption = places if len(judged) > len(shown) else ""
        plots.append(_plot_ratio_panel(shown, f"{ident}{number}-", title, caption, name_benchmark=name_benchmark))
    return plots


def _plot_ratio_panel(shown: Sequence[Headline], ident: str, title: str, caption: str, *, name_benchmark: bool) -> Plot:
    figure, axes = make_panel(_RATIO_ROW * len(shown) + 28, left=6, right=40, top=2, bottom=22)
    right = min(1.6, max(1.05, *(line.row.ratio or 0.0 for line in shown), 0))
    for place, line in enumerate(shown):
        row, ratio = line.row, line.row.ratio or 0.0
        axes.barh(place + 0.2, min(ratio, right), height=0.34, color=VERDICTS[row.verdict], linewidth=0)
        axes.text(0, place - 0.06, _describe_bar(line, name_benchmark=name_benchmark), va="bottom")
        number = f"{ratio:.0%}" if ratio <= right else f"{ratio:.0%} ▸"
        spot = (min(ratio, right), place + 0.2)
        axes.annotate(
            number, spot, xytext=(4, 0), textcoords="offset points", va="center", annotation_clip=False, bbox=_PLATE
        )
        if row.reference is not None and row.reference.tolerance:
            floor = 1 - row.reference.tolerance
            axes.plot([floor, floor], [place, place + 0.4], color=INK, linewidth=1.6)
    axes.axvline(1, color=FAINT, linewidth=1, zorder=0)
    axes.set_xlim(0, right)
    axes.set_ylim(len(shown) - 0.5, -0.7)
    axes.set_yticks([])
    axes.set_xticks([0, 0.5, 1], ["0", "50%", "100% of reference"])
    axes.tick_params(length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(visible=True, axis="x")
    axes.set_axisbelow(True)
    verdicts = list(dict.fromkeys(line.row.verdict for line in shown))
    legend = [LegendEntry(text=verdict, shape="bar", color=variable_of(VERDICTS[verdict])) for verdict in verdicts]
    legend.append(LegendEntry(text="expected at least", shape="tick", color=variable_of(INK)))
    svg = render_svg(figure, ident, f"{title} {caption}")
    return Plot(title=title, svg=svg, caption=caption, legend=tuple(legend))


def _describe_bar(line: Headline, *, name_benchmark: bool) -> str:
    benchmark = f"{clean_text(line.row.benchmark)} " if name_benchmark else ""
    text = f"{line.where}  {benchmark}{line.what}"
    return text if len(text) <= _BAR_TEXT else text[: _BAR_TEXT - 1] + "…"


def plot_pairs(rows: Sequence[Result], names: DeviceNames, ident: str) -> list[Plot]:
    """A matrix per metric and setting of rows that have a source and a destination device.

    Throughput at the largest size, times at the smallest, abilities as yes and no.
    """
    groups: dict[tuple[Any, ...], list[Result]] = {}
    for row in rows:
        if is_directed(row):
            setting = tuple(sorted((name, value) for name, value in row.params.items() if name != "bytes"))
            groups.setdefault((row.metric, row.unit, setting), []).append(row)
    plots: list[Plot] = []
    for members in groups.values():
        sizes = sort_params(row.params["bytes"] for row in members if size_of(row) is not None)
        if sizes:
            size = sizes[-1] if members[0].higher_is_better else sizes[0]
            alike = [row for row in members if row.params.get("bytes") == size]
        else:
            alike = members
        plots.append(_plot_matrix(alike, names, f"{ident}{len(plots)}-"))
    return plots


def _plot_matrix(rows: list[Result], names: DeviceNames, ident: str) -> Plot:
    from matplotlib.patches import Rectangle

    labels = names.order({label for row in rows for label in row.devices})
    count = len(labels)
    left = 12 + 6.4 * max(len(names.name(label)) for label in labels)
    cell = min(46.0, (WIDTH - left - 6) / count)
    height = min(34.0, max(cell * 0.8, 15.0))
    right = WIDTH - left - cell * count
    figure, axes = make_panel(height * count + 40, left=left, right=right, top=36, bottom=4)
    found = {row.devices: row for row in rows}
    values = [row.value for row in rows if row.value is not None]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    # A matrix of near-equal values shall look even: the scale spans at least a third of the highest.
    low = min(low, high * 0.67)
    font = max(6.0, min(10.0, cell / 4.1))
    for down, source in enumerate(labels):
        for across, target in enumerate(labels):
            row = found.get((source, target))
            text, fill, ink = _describe_cell(row, low, high)
            if row is not None and row.verdict == "fail":
                edge, width = VERDICTS["fail"], 2.0
            else:
                edge, width = GRID, 0.6
            axes.add_patch(
                Rectangle((across + 0.04, down + 0.05), 0.92, 0.9, facecolor=fill, edgecolor=edge, linewidth=width)
            )
            axes.text(across + 0.5, down + 0.5, text, ha="center", va="center", color=ink, fontsize=font)
    short = [names.name(label) for label in labels]
    turned = max(map(len, short)) * 6.4 > cell
    axes.set_xticks([place + 0.5 for place in range(count)], short, rotation=60 if turned else 0)
    axes.set_yticks([place + 0.5 for place in range(count)], short)
    axes.xaxis.set_ticks_position("top")
    axes.tick_params(length=0, labelsize=10)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    axes.set_xlim(0, count)
    axes.set_ylim(count, 0)
    first = rows[0]
    size = size_of(first)
    setting = describe_params([first], leave_out=("bytes",))
    title = " ".join(part for part in (show_metric(first.metric), setting) if part)
    caption = f"{show_unit(first.unit)}; from row to column" + (f", {format_bytes(size)}" if size else "")
    legend = [LegendEntry(text="? not measured", shape="none", color=variable_of(VERDICTS["unknown"]))]
    if any(row.verdict == "fail" for row in rows):
        legend.append(LegendEntry(text="framed: failed", shape="mark", color=variable_of(VERDICTS["fail"]), marker=1))
    svg = render_svg(figure, ident, f"{first.benchmark} {title}, {caption}")
    missing = any(row.value is None for row in rows)
    return Plot(title=title, svg=svg, caption=caption, legend=tuple(legend if missing else legend[1:]))


def _describe_cell(row: Result | None, low: float, high: float) -> tuple[str, str, str]:
    """Text, fill and text colour of a cell."""
    if row is None:
        return "", "none", FAINT
    if row.value is None:
        return "n/a" if row.verdict == "not-applicable" else "?", "none", VERDICTS[row.verdict]
    if row.unit == YES_NO:
        share, text = (1.0, "yes") if row.value else (0.0, "no")
    else:
        share = (row.value - low) / (high - low) if high > low else 1.0
        share = share if row.higher_is_better else 1 - share
        text = format_number(row.value) if abs(row.value) < 100 else f"{row.value:.0f}"
    if row.verified is False:
        text = "WRONG"
    mixed = [round(a + (b - a) * share) for a, b in zip(_LOW, _HIGH, strict=True)]
    return text, "#{:02x}{:02x}{:02x}".format(*mixed), "#000000" if share > 0.45 else "#ffffff"
