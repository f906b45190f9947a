"""The stress run as one HTML page: what is watched, and its curves over the rounds."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from xpukit.core.units import format_number, format_seconds
from xpukit.operate.bench.curve import list_ticks
from xpukit.operate.bench.page import write_document, write_list, write_table
from xpukit.operate.stress.judge import show_value
from xpukit.operate.stress.result import Series, StressReport

_WIDTH, _HEIGHT = 380.0, 200.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 58.0, 12.0, 22.0, 30.0
_COLORS = 6
# More points than pixels say nothing: of each stretch the lowest and the highest stay.
_MOST_POINTS = 600


def write_stress_page(report: StressReport) -> str:
    """The whole page."""
    said = report.regression or ("nothing got worse" if report.verdict == "pass" else "too few rounds to judge")
    count = f"{len(report.rounds)} rounds, {report.requests} requests, {report.failed} failed"
    head = f"<p>{escape(report.model)} at {escape(report.url)}: {count}, {format_seconds(report.hours * 3600)}.</p>"
    state = "" if report.finished else "<p>It was stopped before its bound; what is here is what was done.</p>"
    body = [
        f'<h1>Stress: <span class="{report.verdict}">{report.verdict}</span></h1>',
        f"<p><b>{escape(said)}</b></p>",
        head,
        state,
        _write_series(report.series),
        _write_curves(report),
        write_list("Notes", list(report.notes)),
    ]
    return write_document("Stress run", body)


def _write_series(series: Sequence[Series]) -> str:
    rows = []
    for one in series:
        cells = [
            show_value(one, one.baseline),
            show_value(one, one.recent),
            show_value(one, one.limit),
            "-" if one.per_hour is None else f"{show_value(one, one.per_hour)}/h",
        ]
        shown = f'<td>{escape(one.label)}</td><td class="text">{escape(one.scenario or "-")}</td>'
        shown += "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        shown += f'<td class="text {one.verdict}">{one.verdict}</td><td class="why text">{escape(one.reason)}</td>'
        rows.append(f"<tr>{shown}</tr>")
    head = ["figure", "scenario", "first rounds", "last rounds", "worse beyond", "slope", "verdict", "why"]
    return f"<h2>Watched</h2>\n{write_table(head, rows)}" if rows else ""


def _write_curves(report: StressReport) -> str:
    groups: dict[tuple[str, str], list[Series]] = {}
    for one in report.series:
        groups.setdefault((one.name.partition(" ")[0], one.unit), []).append(one)
    failed = tuple((one.number, one.failed_share) for one in report.rounds)
    errors = Series(name="errors", label="failed requests", unit="share", scenario="", values=failed)
    drawn = []
    for lines in (*groups.values(), [errors]):
        if len(lines[0].values) > 1:
            title = lines[0].label if len(lines) == 1 else lines[0].label.partition(" 0000:")[0]
            drawn.append(f"<figure>{draw_series(lines)}<figcaption>{escape(title)}</figcaption></figure>")
    return f'<h2>Over the rounds</h2>\n<div class="curves">\n{chr(10).join(drawn)}\n</div>' if drawn else ""


def thin_out(values: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """At most _MOST_POINTS of them; peaks stay."""
    if len(values) <= _MOST_POINTS:
        return list(values)
    size = -(-len(values) // (_MOST_POINTS // 2))
    found = []
    for place in range(0, len(values), size):
        part = values[place : place + size]
        found += sorted({min(part, key=lambda pair: pair[1]), max(part, key=lambda pair: pair[1])})
    return found


def draw_series(lines: Sequence[Series]) -> str:
    """One SVG of figures with the same unit, over the rounds, from 0; the limit as a broken line where there is one."""
    unit = lines[0].unit
    factor, shown_unit = (1 / (1 << 30), "GiB") if unit == "bytes" else (100.0, "%") if unit == "share" else (1.0, unit)
    tops = [value for one in lines for _, value in one.values] + [one.limit for one in lines if one.limit is not None]
    # Where all is 0 the axis ends at 1: 1 %, 1 GiB, one request.
    ticks = list_ticks(max(tops) * factor or 1.0)
    rounds = [number for one in lines for number, _ in one.values]
    first, last = min(rounds), max(rounds)

    def place(number: float, value: float) -> tuple[float, float]:
        across = _LEFT + (number - first) / max(1, last - first) * (_WIDTH - _LEFT - _RIGHT)
        return across, _HEIGHT - _BOTTOM - value * factor / ticks[-1] * (_HEIGHT - _TOP - _BOTTOM)

    parts = [f'<svg viewBox="0 0 {_WIDTH:.0f} {_HEIGHT:.0f}" role="img">']
    for tick in ticks:
        _, y = place(first, tick / factor)
        parts.append(f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="var(--grid)"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    for number in sorted({first, last}):
        x, _ = place(number, 0)
        parts.append(f'<text x="{x:.1f}" y="{_HEIGHT - _BOTTOM + 15}" text-anchor="middle">{number}</text>')
    parts.append(f'<text x="{_LEFT - 6}" y="{_TOP - 10}" text-anchor="end">{escape(shown_unit)}</text>')
    parts.append(f'<text x="{_WIDTH / 2}" y="{_HEIGHT - 2}" text-anchor="middle">round</text>')
    for index, one in enumerate(lines):
        color = f"var(--s{index % _COLORS})"
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*pair) for pair in thin_out(one.values)))
        name = one.scenario or one.name.partition(" ")[2] or one.label
        tip = f"{name}: last {format_number(one.values[-1][1] * factor)} {shown_unit}"
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="1.5"><title>{escape(tip)}</title>'
            "</polyline>"
        )
        if one.limit is not None:
            _, y = place(first, one.limit)
            parts.append(
                f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="{color}" '
                'stroke-dasharray="4 3"/>'
            )
        if len(lines) > 1:
            at = _TOP + 4 + 13 * index
            parts.append(f'<text x="{_LEFT + 6}" y="{at:.1f}" style="fill:{color}">{escape(name)}</text>')
    return "".join([*parts, "</svg>"])
