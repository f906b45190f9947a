"""Latency over throughput as a small SVG: one line for each model and pair of lengths."""

from __future__ import annotations

import math
from html import escape

import msgspec

from xpukit.core.units import format_number
from xpukit.operate.bench.report import BenchReport, Point

_WIDTH, _HEIGHT = 380.0, 240.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 52.0, 12.0, 16.0, 34.0
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


def draw_curve(curve: Curve) -> str:
    """The SVG. Throughput from 0, latency logarithmic: it spans orders of magnitude under load."""
    most_x = max(x for _, pairs in curve.lines for x, _ in pairs)
    ys = [y for _, pairs in curve.lines for _, y in pairs]
    low, high = math.log10(min(ys)), math.log10(max(ys))
    low, high = math.floor(low * 3 - 1e-9) / 3, math.ceil(high * 3 + 1e-9) / 3

    def place(x: float, y: float) -> tuple[float, float]:
        across = _LEFT + x / most_x * (_WIDTH - _LEFT - _RIGHT)
        up = (math.log10(y) - low) / (high - low) if high > low else 0.5
        return across, _HEIGHT - _BOTTOM - up * (_HEIGHT - _TOP - _BOTTOM)

    parts = [f'<svg viewBox="0 0 {_WIDTH:.0f} {_HEIGHT:.0f}" role="img">']
    steps = max(1, min(4, round((high - low) * 3)))
    for step in range(steps + 1):
        value = 10 ** (low + (high - low) * step / steps)
        _, y = place(0, value)
        parts.append(f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="var(--grid)"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{format_number(value)}</text>')
    for step in range(5):
        x, _ = place(most_x * step / 4, min(ys))
        label = format_number(most_x * step / 4)
        parts.append(f'<text x="{x:.1f}" y="{_HEIGHT - _BOTTOM + 15}" text-anchor="middle">{label}</text>')
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
