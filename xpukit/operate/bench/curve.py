"""Latency over throughput as a small SVG: one line for each model and pair of lengths."""

from __future__ import annotations

import math
from html import escape

import msgspec

from xpukit.core.units import format_number
from xpukit.operate.bench.report import BenchReport, Point

_WIDTH, _HEIGHT = 380.0, 240.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 52.0, 20.0, 16.0, 34.0
_COLORS = 6
_CURVES = (
    ("Median time to first token in ms", "ttft_median"),
    ("99 of 100 first tokens come within ms", "ttft_p99"),
    ("Median time per output token in ms", "tpot_median"),
)


class Curve(msgspec.Struct, frozen=True, kw_only=True):
    """Named lines of (output tokens a second, ms) in order of throughput."""

    lines: tuple[tuple[str, tuple[tuple[float, float], ...]], ...]


def list_curves(report: BenchReport) -> list[tuple[str, Curve]]:
    """Titles and curves; only those with a line of at least two points."""
    groups: dict[str, list[Point]] = {}
    for point in report.points:
        if point.runs:
            load = point.runs[0].load
            model = point.runs[0].model.rpartition("/")[2] or "model"
            what = [model, point.deployment.quantization, f"{load.input_len or '?'}/{load.output_len or '?'}"]
            groups.setdefault(" ".join(part for part in what if part), []).append(point)
    curves = []
    for title, metric in _CURVES:
        lines = []
        for name, points in groups.items():
            pairs = [
                (values["output_throughput"], values[metric])
                for point in points
                if (values := {one.metric: one.median for one in point.figures}).keys() >= {"output_throughput", metric}
            ]
            positive = sorted((x, y) for x, y in pairs if x > 0 and y > 0)
            if len(positive) > 1:
                lines.append((name, tuple(positive)))
        if lines:
            curves.append((title, Curve(lines=tuple(lines))))
    return curves


def list_ticks(most: float) -> list[float]:
    """From 0 in even steps of 1, 2 or 5 times a power of ten to at least `most`; five to eight of them."""
    power = 10.0 ** math.floor(math.log10(most / 4))
    step = next(size * power for size in (1, 2, 5, 10) if size * power >= most / 5)
    return [step * number for number in range(math.ceil(most / step - 1e-9) + 1)]


def list_log_ticks(least: float, most: float) -> list[float]:
    """1, 2 and 5 times powers of ten (powers only, where those are many) around both."""
    first, last = math.floor(math.log10(least)), math.ceil(math.log10(most) + 1e-9)
    ticks = [size * 10.0**power for power in range(first, last + 1) for size in (1, 2, 5)]
    below = max((index for index, tick in enumerate(ticks) if tick <= least), default=0)
    above = next((index for index, tick in enumerate(ticks) if tick >= most and index > below), len(ticks) - 1)
    found = ticks[below : above + 1]
    return found if len(found) <= 8 else [10.0**power for power in range(first, last + 1)]


def draw_curve(curve: Curve) -> str:
    """The SVG. Throughput from 0, latency logarithmic: it spans orders of magnitude under load."""
    across_ticks = list_ticks(max(x for _, pairs in curve.lines for x, _ in pairs))
    most_x = across_ticks[-1]
    ys = [y for _, pairs in curve.lines for _, y in pairs]
    up_ticks = list_log_ticks(min(ys), max(ys))
    low, high = math.log10(up_ticks[0]), math.log10(up_ticks[-1])

    def place(x: float, y: float) -> tuple[float, float]:
        across = _LEFT + x / most_x * (_WIDTH - _LEFT - _RIGHT)
        up = (math.log10(y) - low) / (high - low) if high > low else 0.5
        return across, _HEIGHT - _BOTTOM - up * (_HEIGHT - _TOP - _BOTTOM)

    parts = [f'<svg viewBox="0 0 {_WIDTH:.0f} {_HEIGHT:.0f}" role="img">']
    for value in up_ticks:
        _, y = place(0, value)
        parts.append(f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="var(--grid)"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
    for value in across_ticks:
        x, _ = place(value, up_ticks[0])
        parts.append(f'<text x="{x:.1f}" y="{_HEIGHT - _BOTTOM + 15}" text-anchor="middle">{value:g}</text>')
    parts.append(f'<text x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 4}" text-anchor="end">output tokens a second</text>')
    for number, (name, pairs) in enumerate(curve.lines):
        color = f"var(--s{number % _COLORS})"
        spots = [place(x, y) for x, y in pairs]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>')
        for (x, y), (tokens, latency) in zip(spots, pairs, strict=True):
            tip = f"{name}: {format_number(tokens)} tok/s, {format_number(latency)} ms"
            parts.append(
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{color}"><title>{escape(tip)}</title></circle>'
            )
        parts.append(
            f'<text x="{_LEFT + 4}" y="{_TOP + 2 + 14 * number:.1f}" style="fill:{color}">{escape(name)}</text>'
        )
    return "".join([*parts, "</svg>"])
