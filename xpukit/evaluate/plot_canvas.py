"""A small matplotlib figure as SVG for the page: themed by CSS variables, no ids that clash, the same every time.

Colours in the figure are stand-ins; the SVG gets CSS variables in their place, so that one picture serves the light
and the dark theme. Text stays text (`svg.fonttype: none`): small, selectable, in the page's font.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import Any

import msgspec

from xpukit.evaluate.report_names import clean_text


class LegendEntry(msgspec.Struct, frozen=True, kw_only=True):
    """What a mark means. `shape`: line, bar or mark; `color` a CSS variable; `marker`/`dash` index MARKERS/DASHES."""

    text: str
    shape: str
    color: str
    marker: int | None = None
    dash: int = 0


class Plot(msgspec.Struct, frozen=True, kw_only=True):
    """A picture with its title, a line of explanation and its legend (which the page draws, so that it wraps)."""

    title: str
    svg: str
    caption: str = ""
    legend: tuple[LegendEntry, ...] = ()


# matplotlib's marker, and the same as an SVG path around 0,0 for the legend.
MARKERS = (
    ("o", "M-3 0a3 3 0 1 0 6 0a3 3 0 1 0-6 0z"),
    ("s", "M-2.7-2.7h5.4v5.4h-5.4z"),
    ("^", "M0-3.2L3.2 2.8H-3.2z"),
    ("D", "M0-3.4L3.4 0L0 3.4L-3.4 0z"),
    ("v", "M0 3.2L3.2-2.8H-3.2z"),
    ("P", "M-1-3h2v2h2v2h-2v2h-2v-2h-2v-2h2z"),
)
# matplotlib's line style, and the stroke-dasharray of the legend.
DASHES: tuple[tuple[Any, str], ...] = (
    ("-", "none"),
    ((0, (4, 2)), "4 2"),
    ((0, (1.2, 1.6)), "1.2 1.6"),
    ((0, (6, 1.5, 1.2, 1.5)), "6 1.5 1.2 1.5"),
)
# Stand-in -> CSS variable. `s0`... are the series, chosen in the page's style sheet from Okabe and Ito's palette.
INK = "#010101"
FAINT = "#010102"
GRID = "#010103"
PAPER = "#010104"
SERIES = tuple(f"#0201{number:02x}" for number in range(7))
VERDICTS = {
    "pass": "#030101",
    "warn": "#030102",
    "fail": "#030103",
    "unknown": "#030104",
    "no-baseline": "#030105",
    "not-applicable": "#030106",
}
_VARIABLES = {
    INK: "--ink",
    FAINT: "--faint",
    GRID: "--grid",
    PAPER: "--card",
    **{color: f"--s{number}" for number, color in enumerate(SERIES)},
    **{color: f"--{verdict}" for verdict, color in VERDICTS.items()},
}

# Points; the page shows them at about one pixel each in three columns, and as wide as the screen on a phone.
WIDTH = 380.0
FONT = 11.0


@contextmanager
def drawing() -> Iterator[None]:
    """matplotlib with its own defaults (not the user's matplotlibrc) and settings that make output repeatable.

    Raises ModuleNotFoundError where matplotlib is not installed.
    """
    import matplotlib

    ours = {
        **{name: value for name, value in matplotlib.rcParamsDefault.items() if not name.startswith("backend")},
        "svg.fonttype": "none",
        "svg.hashsalt": "xpukit",
        # Names come from the machine: "$" in one is no formula.
        "text.parse_math": False,
        "font.family": "DejaVu Sans",
        "font.size": FONT,
        "text.color": INK,
        "axes.edgecolor": FAINT,
        "axes.labelcolor": INK,
        "xtick.color": FAINT,
        "ytick.color": FAINT,
        "xtick.labelcolor": INK,
        "ytick.labelcolor": INK,
        "axes.linewidth": 0.8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "grid.color": GRID,
        "grid.linewidth": 0.7,
        "hatch.color": VERDICTS["fail"],
    }
    # A glyph that the font has not (the browser may) and settings that matplotlib renames: nothing for the user.
    with warnings.catch_warnings(), matplotlib.rc_context(ours):
        warnings.simplefilter("ignore")
        yield


def make_panel(
    height: float, *, left: float, right: float, top: float, bottom: float, width: float = WIDTH
) -> tuple[Any, Any]:
    """A figure of `width` x `height` points with one set of axes inside the given margins (points)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / 72, height / 72), dpi=72)
    figure.patch.set_visible(False)
    axes = figure.add_axes(
        (left / width, bottom / height, (width - left - right) / width, (height - top - bottom) / height)
    )
    axes.patch.set_visible(False)
    return figure, axes


def variable_of(color: str) -> str:
    """The CSS variable behind a stand-in colour."""
    return _VARIABLES[color]


_TAG = re.compile(r"<[^>]*>")
_LONG_NUMBER = re.compile(r"-?\d+\.\d{2,}")
_ID = re.compile(r' id="([^"]*)"')
_USED = re.compile(r'(?:url\(#|href="#)([^)"]+)')
_EMPTY_GROUP = re.compile(r"<g>\s*</g>")


def render_svg(figure: Any, ident: str, label: str) -> str:
    """The figure as an `<svg>` element to stand in HTML. `ident` makes ids unique in the page; `label` is read out."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    out = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    FigureCanvasSVG(figure).print_svg(out, metadata=nothing)
    body = out.getvalue().partition("<svg ")[2].partition(">")[2]
    # matplotlib's own style sheet would apply to the whole page; its rules are in the page's.
    body = re.sub(r"<style.*?</style>|<metadata>.*?</metadata>|<!--.*?-->", "", body, flags=re.DOTALL)
    used = set(_USED.findall(body))
    body = _TAG.sub(lambda tag: _shorten_tag(tag.group(), ident, used), body)
    body = _EMPTY_GROUP.sub("", re.sub(r">\s+<", "><", body))
    width, height = figure.get_size_inches() * 72
    name = escape(clean_text(label))
    return f'<svg class="plot" viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{name}">{body}'


def _shorten_tag(tag: str, ident: str, used: set[str]) -> str:
    tag = _LONG_NUMBER.sub(lambda number: f"{float(number.group()):.1f}".removesuffix(".0"), tag)
    tag = _ID.sub(lambda found: f' id="{ident}{found.group(1)}"' if found.group(1) in used else "", tag)
    tag = tag.replace("xlink:href", "href").replace('href="#', f'href="#{ident}').replace("url(#", f"url(#{ident}")
    tag = re.sub(r"font-family: [^;\"]*;? ?", "", tag).replace("font-size: 11px; ", "")
    tag = re.sub(r' transform="rotate\(-?0 [^)]*\)"', "", tag)
    tag = re.sub(r"\s*\n", "", tag) if tag.startswith("<path") else tag
    for color, variable in _VARIABLES.items():
        if color in tag:
            tag = tag.replace(color, f"var({variable})")
    return tag
