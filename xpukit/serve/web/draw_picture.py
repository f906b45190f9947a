"""Where a plan's ranks run, as a small SVG: machines, their NUMA nodes, the GPUs, and which are used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from xpukit.core.units import format_bytes
from xpukit.serve.plan_types import Plan, PlannedGpu

# All in units of the picture. It is as wide as a small screen, so that its words can be read there.
_WIDTH, _EDGE, _GAP, _PER_ROW = 340, 6, 6, 4
_BOX_HEIGHT, _TITLE = 46, 16
_SHOWN_MACHINES = 4


def draw_picture(plan: Plan) -> str:
    """The picture as SVG text; colours are left to the page's classes. All text of the machine is escaped."""
    used = _find_ranks(plan)
    shown = min(plan.machine.nodes, _SHOWN_MACHINES)
    parts: list[str] = []
    top = _EDGE
    for node in range(shown):
        if plan.machine.nodes > 1:
            parts.append(_text(_EDGE, top + 11, f"machine {node}", "machine"))
            top += _TITLE
        for name, gpus in _group(plan.machine.gpus):
            drawn, top = _draw_group(name, gpus, used[node], plan, top)
            parts += drawn
        top += _GAP
    if plan.machine.nodes > shown:
        parts.append(_text(_EDGE, top + 11, f"and {plan.machine.nodes - shown} more machines like these", "machine"))
        top += _TITLE
    label = escape(_describe(plan, used), quote=True)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {top + _EDGE}" role="img" '
        f'aria-label="{label}">{"".join(parts)}</svg>'
    )


def _find_ranks(plan: Plan) -> list[dict[str, str]]:
    """For each machine: the GPU's label -> which engine's and rank's it is."""
    engines = [launch for launch in plan.launches if launch.role == "engine"]
    found: list[dict[str, str]] = [{} for _ in range(plan.machine.nodes)]
    for launch in engines:
        # One engine over several machines (Ray) names the GPUs of its own machine; the others are used alike.
        spread = range(plan.machine.nodes) if len(engines) == 1 else (launch.node,)
        for place, node in enumerate(spread):
            for number, label in enumerate(launch.gpus):
                rank = f"rank {place * len(launch.gpus) + number}"
                found[node][label] = f"{launch.name}, {rank}" if len(engines) > 1 else rank
    return found


def _group(gpus: Sequence[PlannedGpu]) -> list[tuple[str, list[PlannedGpu]]]:
    groups: dict[str, list[PlannedGpu]] = {}
    for gpu in gpus:
        known = gpu.numa_node is not None and gpu.numa_node >= 0
        groups.setdefault(f"NUMA node {gpu.numa_node}" if known else "NUMA node not known", []).append(gpu)
    return list(groups.items())


def _draw_group(
    name: str, gpus: Sequence[PlannedGpu], used: Mapping[str, str], plan: Plan, top: int
) -> tuple[list[str], int]:
    rows = -(-len(gpus) // _PER_ROW)
    height = _TITLE + rows * (_BOX_HEIGHT + _GAP) + 2
    parts = [
        f'<rect class="node" x="{_EDGE}" y="{top}" width="{_WIDTH - 2 * _EDGE}" height="{height}" rx="4"/>',
        _text(_EDGE + 6, top + 12, name, "node-name"),
    ]
    width = (_WIDTH - 2 * _EDGE - _GAP) // _PER_ROW - _GAP
    for number, gpu in enumerate(gpus):
        left = _EDGE + _GAP + number % _PER_ROW * (width + _GAP)
        parts.append(
            _draw_gpu(
                gpu,
                used.get(gpu.label, ""),
                plan,
                left,
                top + _TITLE + number // _PER_ROW * (_BOX_HEIGHT + _GAP),
                width,
            )
        )
    return parts, top + height + _GAP


def _draw_gpu(gpu: PlannedGpu, rank: str, plan: Plan, left: int, top: int, width: int) -> str:
    total = gpu.memory_bytes or 0
    memory = plan.memory
    weights = min(1.0, memory.weights_bytes / total) if rank and total else 0.0
    taken = min(1.0, memory.budget_bytes / total) if rank and total else 0.0
    title = f"{gpu.name} {gpu.bdf}, {format_bytes(gpu.memory_bytes)}{', ' + rank if rank else ', not used'}"
    style = "gpu used" if rank else "gpu"
    inner, bar = width - 8, top + _BOX_HEIGHT - 9
    return (
        f"<g><title>{escape(title)}</title>"
        f'<rect class="{style}" x="{left}" y="{top}" width="{width}" height="{_BOX_HEIGHT}" rx="3"/>'
        + _text(left + 4, top + 13, gpu.label, "gpu-name")
        + _text(left + 4, top + 27, rank.rpartition(", ")[2] or "not used", "rank")
        + f'<rect class="memory" x="{left + 4}" y="{bar}" width="{inner}" height="5"/>'
        f'<rect class="taken" x="{left + 4}" y="{bar}" width="{inner * taken:.1f}" height="5"/>'
        f'<rect class="weights" x="{left + 4}" y="{bar}" width="{inner * weights:.1f}" height="5"/></g>'
    )


def _describe(plan: Plan, used: Sequence[Mapping[str, str]]) -> str:
    told = []
    for name, gpus in _group(plan.machine.gpus):
        inside = [gpu.label for gpu in gpus if gpu.label in used[0]]
        told.append(f"{name}: {', '.join(inside) + ' used' if inside else 'none used'} of {len(gpus)}")
    machines = f"{plan.machine.nodes} machines, each with " if plan.machine.nodes > 1 else ""
    return machines + "; ".join(told)


def _text(left: int, top: int, text: str, style: str) -> str:
    return f'<text class="{style}" x="{left}" y="{top}">{escape(text)}</text>'
