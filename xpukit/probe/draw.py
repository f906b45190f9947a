"""Drawings of a machine: graphviz source, and an SVG laid out here (no graphviz needed)."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

import msgspec

from xpukit.core.machine import Machine
from xpukit.probe.forest import Branch, Leaf, NodeBox, SocketBox, build_forest

_KIND_NAMES = {"root": "host bridge", "port": "root port", "switch": "switch"}
_FILLS = {
    "root": "#e8e6df",
    "port": "#f4f2ec",
    "switch": "#fde9c9",
    "gpu": "#d6e8fb",
    "network": "#e2f3dd",
    "nvme": "#efe3f7",
}
_DEGRADED = "#b3261e"
_INK = "#1d2733"
_FAINT = "#5c6773"

# Lengths in pixels; the height of a row holds a card's two lines.
_ROW = 46
_BOX_HEIGHT = 36
_BRIDGE_WIDTH = 118
_COLUMN = 146
_CARD_WIDTH = 330
_LINK_WIDTH = 210
_MARGIN = 16
_PAD = 12
_HEADER = 26
_CHARACTER = 6.6


def draw_dot(machine: Machine) -> str:
    """Graphviz source: clusters for sockets and NUMA nodes, then host bridges, ports, switches and cards."""
    lines = [
        "digraph machine {",
        '  rankdir=LR; fontname="sans-serif";',
        '  node [shape=box, style="rounded,filled", fontname="sans-serif", fontsize=10];',
        '  edge [arrowhead=none, fontname="sans-serif", fontsize=9];',
    ]
    for number, socket in enumerate(build_forest(machine)):
        indent = "  "
        if socket.title:
            lines += [f"  subgraph cluster_socket{number} {{", f"    label={_quote(socket.title)};"]
            indent = "    "
        for place, box in enumerate(socket.nodes):
            name = f"s{number}n{place}"
            label = _quote("\n".join(text for text in (box.title, box.detail) if text))
            lines += [f"{indent}subgraph cluster_{name} {{", f"{indent}  label={label};"]
            lines += [f'{indent}  {name}_anchor [label="", shape=point, style=invis];']
            for position, root in enumerate(box.roots):
                lines += [f"{indent}  {line}" for line in _list_dot(root, f"{name}_{position}")]
            lines.append(f"{indent}}}")
        if socket.title:
            lines.append("  }")
    return "\n".join([*lines, "}", ""])


def _list_dot(branch: Branch, name: str) -> Iterator[str]:
    title = _quote(_KIND_NAMES[branch.kind] + "\n" + branch.name)
    yield f"{name} [label={title}, fillcolor={_quote(_FILLS[branch.kind])}];"
    for position, below in enumerate(branch.branches):
        yield from _list_dot(below, f"{name}_{position}")
        yield f"{name} -> {name}_{position};"
    for position, leaf in enumerate(branch.leaves):
        label = _quote(f"{leaf.title}\n{leaf.detail}")
        yield f"{name}_c{position} [label={label}, fillcolor={_quote(_FILLS[leaf.kind])}];"
        color = f", color={_quote(_DEGRADED)}, fontcolor={_quote(_DEGRADED)}" if leaf.degraded else ""
        yield f"{name} -> {name}_c{position} [label={_quote(leaf.link)}{color}];"


def _quote(text: str) -> str:
    shown = "".join(char if char.isprintable() or char == "\n" else "\ufffd" for char in text)
    clean = shown.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{clean}"'


class _Pen(msgspec.Struct):
    """Collects SVG elements; coordinates in pixels from the top left."""

    parts: list[str] = []

    def box(self, x: float, y: float, width: float, height: float, fill: str, stroke: str = "#9aa4ae") -> None:
        self.parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="6" fill="{fill}" stroke="{stroke}"/>'
        )

    def text(self, x: float, y: float, text: str, width: float, style: str = "") -> None:
        """A line of text, shortened to `width` with the whole of it as a tooltip."""
        room = int(width / _CHARACTER)
        shown = text if len(text) <= room else text[: max(room - 1, 1)] + "…"
        tip = f"<title>{_clean(text)}</title>" if shown != text else ""
        self.parts.append(f'<text x="{x:g}" y="{y:g}"{style}>{_clean(shown)}{tip}</text>')

    def connect(self, x1: float, y1: float, x2: float, y2: float, color: str) -> None:
        middle = x1 + 12
        self.parts.append(
            f'<path d="M{x1:g} {y1:g}H{middle:g}V{y2:g}H{x2:g}" fill="none" stroke="{color}" stroke-width="1.5"/>'
        )


def _clean(text: str) -> str:
    """XML text; characters that XML cannot hold become a replacement mark."""
    return escape("".join(char if char.isprintable() else "\ufffd" for char in text), quote=False)


def draw_svg(machine: Machine) -> str:
    """A self-contained SVG, left to right: NUMA nodes hold host bridges, root ports, switches and cards."""
    sockets = build_forest(machine)
    depth = max((_measure_depth(root) for socket in sockets for box in socket.nodes for root in box.roots), default=1)
    card_x = _MARGIN + 3 * _PAD + depth * _COLUMN + _LINK_WIDTH - (_COLUMN - _BRIDGE_WIDTH)
    width = card_x + _CARD_WIDTH + 2 * _PAD + _MARGIN
    pen = _Pen(parts=[])
    y: float = _MARGIN
    for socket in sockets:
        y = _draw_socket(pen, socket, y, card_x, width) + _PAD
    if not sockets:
        pen.text(_MARGIN, y + 16, "no NUMA nodes and no devices were found", width)
        y += _ROW
    height = y - _PAD + _MARGIN
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" '
        f'viewBox="0 0 {width:g} {height:g}" font-family="DejaVu Sans, Verdana, sans-serif" font-size="11" '
        f'fill="{_INK}" role="img" aria-label="PCIe and NUMA topology">'
    )
    return "\n".join([head, f'<rect width="{width:g}" height="{height:g}" fill="#ffffff"/>', *pen.parts, "</svg>", ""])


def _measure_depth(branch: Branch) -> int:
    return 1 + max((_measure_depth(below) for below in branch.branches), default=0)


def _count_rows(branch: Branch) -> int:
    return len(branch.leaves) + sum(map(_count_rows, branch.branches))


def _measure_node(box: NodeBox) -> float:
    return _HEADER + _ROW * sum(map(_count_rows, box.roots)) + _PAD / 2


def _draw_socket(pen: _Pen, socket: SocketBox, top: float, card_x: float, width: float) -> float:
    """Draws a socket's frame and nodes; returns where it ends."""
    inner = sum(_measure_node(box) for box in socket.nodes) + _PAD * len(socket.nodes)
    height = inner + (_HEADER if socket.title else _PAD)
    pen.box(_MARGIN, top, width - 2 * _MARGIN, height, "#f7f9fb", "#c3ccd5")
    y = top + _PAD
    if socket.title:
        pen.text(_MARGIN + _PAD, top + 18, socket.title, width, ' font-weight="bold" font-size="13"')
        y = top + _HEADER
    for box in socket.nodes:
        tall = _measure_node(box)
        left = _MARGIN + _PAD
        pen.box(left, y, width - 2 * left, tall, "#ffffff", "#c3ccd5")
        pen.text(left + _PAD, y + 18, box.title, 150, ' font-weight="bold"')
        pen.text(left + _PAD + 130, y + 18, box.detail, width - 2 * left - 160, f' fill="{_FAINT}"')
        row = y + _HEADER
        for root in box.roots:
            _draw_branch(pen, root, left + _PAD, row, card_x)
            row += _ROW * _count_rows(root)
        y += tall + _PAD
    return top + height


def _draw_branch(pen: _Pen, branch: Branch, x: float, top: float, card_x: float) -> float:
    """Draws a bridge and all below it, from row `top` on; returns the y of the bridge's middle."""
    row = top
    ends: list[tuple[float, float, str]] = []
    for below in branch.branches:
        ends.append((x + _COLUMN, _draw_branch(pen, below, x + _COLUMN, row, card_x), "#7b8794"))
        row += _ROW * _count_rows(below)
    for leaf in branch.leaves:
        ends.append((card_x, row + _ROW / 2, _DEGRADED if leaf.degraded else "#7b8794"))
        _draw_leaf(pen, leaf, row, card_x)
        row += _ROW
    middle = (ends[0][1] + ends[-1][1]) / 2
    # Degraded links first: the trunk they share with others is painted over in grey.
    for end_x, end_y, color in sorted(ends, key=lambda end: end[2] != _DEGRADED):
        pen.connect(x + _BRIDGE_WIDTH, middle, end_x, end_y, color)
    pen.box(x, middle - _BOX_HEIGHT / 2, _BRIDGE_WIDTH, _BOX_HEIGHT, _FILLS[branch.kind])
    pen.text(x + 8, middle - 4, _KIND_NAMES[branch.kind], _BRIDGE_WIDTH - 12, f' fill="{_FAINT}"')
    pen.text(x + 8, middle + 11, branch.name, _BRIDGE_WIDTH - 12)
    return middle


def _draw_leaf(pen: _Pen, leaf: Leaf, top: float, card_x: float) -> None:
    if leaf.link:
        color = _DEGRADED if leaf.degraded else _FAINT
        anchor = f' text-anchor="end" font-size="10" fill="{color}"'
        pen.text(card_x - 6, top + _ROW / 2 - 5, leaf.link, _LINK_WIDTH - 16, anchor)
    pen.box(card_x, top + 5, _CARD_WIDTH, _BOX_HEIGHT, _FILLS[leaf.kind])
    pen.text(card_x + 8, top + 19, leaf.title, _CARD_WIDTH - 14, ' font-weight="bold"')
    pen.text(card_x + 8, top + 34, leaf.detail, _CARD_WIDTH - 14, f' fill="{_FAINT}"')
