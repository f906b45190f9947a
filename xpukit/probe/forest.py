"""The machine as nested boxes for drawings: sockets, NUMA nodes, host bridges, root ports, switches, cards."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from xpukit.core.machine import Device, Link, Machine, NumaNode, OtherDevice
from xpukit.core.units import format_bytes
from xpukit.probe.topology import count_outside_card, list_places, name_root

_GENERATIONS = {2.5: 1, 5.0: 2, 8.0: 3, 16.0: 4, 32.0: 5, 64.0: 6}
# More than this many CPU ranges are counted instead of listed.
_LONGEST_CPU_LIST = 28


class Leaf(msgspec.Struct, kw_only=True):
    """A card. `link` is how it is plugged in; `degraded` when that is below what both ends can do."""

    kind: str
    title: str
    detail: str
    link: str = ""
    degraded: bool = False


class Branch(msgspec.Struct, kw_only=True):
    """A host bridge ("root"), root port ("port") or switch, and what hangs below it."""

    kind: str
    name: str
    branches: list[Branch] = []
    leaves: list[Leaf] = []


class NodeBox(msgspec.Struct, kw_only=True):
    """A NUMA node; `node` None gathers the cards whose node is unknown."""

    node: int | None
    title: str
    detail: str
    roots: list[Branch] = []


class SocketBox(msgspec.Struct, kw_only=True):
    """A physical package; `socket` None gathers nodes that belong to no single one."""

    socket: int | None
    title: str
    nodes: list[NodeBox] = []


def describe_link(link: Link | None) -> str:
    """'PCIe 4.0 x8', or 'PCIe 4.0 x8 (could be 5.0 x8)' if it runs below that; '' when unknown."""
    if link is None:
        return ""
    now = _describe_speed(link.current_speed_gts, link.current_width)
    could = _describe_speed(link.max_speed_gts, link.max_width)
    return f"{now} (could be {could.removeprefix('PCIe ')})" if link.degraded and now and could else now


def _describe_speed(speed_gts: float | None, width: int | None) -> str:
    if speed_gts is None or width is None:
        return ""
    generation = _GENERATIONS.get(speed_gts)
    return f"PCIe {generation}.0 x{width}" if generation else f"{speed_gts:g} GT/s x{width}"


def build_forest(machine: Machine) -> tuple[SocketBox, ...]:
    """All boxes in order; every node of the machine and every GPU (and NIC and NVMe drive) is in exactly one."""
    boxes: dict[int | None, NodeBox] = {
        node.node: NodeBox(node=node.node, title=f"NUMA node {node.node}", detail=_describe_node(node))
        for node in machine.numa
    }
    others = [other for other in machine.others if other.kind in ("network", "nvme")]
    labels = {place.bdf: place.label for place in list_places((), others)}
    for device in machine.devices:
        path = device.path[: count_outside_card(device, machine.devices)]
        _hang(_find_box(boxes, device.numa_node), device.bdf, path, _make_gpu_leaf(device))
    for other in others:
        leaf = _make_other_leaf(other, labels[other.bdf])
        _hang(_find_box(boxes, other.numa_node), other.bdf, other.path, leaf)
    sockets = {node.node: node.socket for node in machine.numa}
    return _gather_sockets(boxes.values(), sockets)


def _gather_sockets(boxes: Iterable[NodeBox], sockets: dict[int, int | None]) -> tuple[SocketBox, ...]:
    gathered: dict[int | None, SocketBox] = {}
    for box in boxes:
        socket = sockets.get(box.node) if box.node is not None else None
        title = f"Socket {socket}" if socket is not None else ""
        gathered.setdefault(socket, SocketBox(socket=socket, title=title)).nodes.append(box)
    for found in gathered.values():
        found.nodes.sort(key=lambda box: (box.node is None, box.node or 0))
    return tuple(sorted(gathered.values(), key=lambda box: (box.socket is None, box.socket or 0)))


def _find_box(boxes: dict[int | None, NodeBox], node: int | None) -> NodeBox:
    if node not in boxes:
        title = f"NUMA node {node}" if node is not None else "NUMA node unknown"
        boxes[node] = NodeBox(node=node, title=title, detail="not among the machine's nodes" if node else "")
    return boxes[node]


def _hang(box: NodeBox, bdf: str, path: Sequence[str], leaf: Leaf) -> None:
    """Put a card below its bridges: the root port, then one entry per switch (its downstream port is left out)."""
    branch = _find_branch(box.roots, "root", name_root(bdf, tuple(path)))
    if path:
        branch = _find_branch(branch.branches, "port", path[0])
    for upstream in path[1::2]:
        branch = _find_branch(branch.branches, "switch", upstream)
    branch.leaves.append(leaf)


def _find_branch(branches: list[Branch], kind: str, name: str) -> Branch:
    for branch in branches:
        if branch.name == name:
            return branch
    made = Branch(kind=kind, name=name)
    branches.append(made)
    branches.sort(key=lambda branch: branch.name)
    return made


def _make_gpu_leaf(device: Device) -> Leaf:
    tiles = f"{device.tiles} tiles" if (device.tiles or 1) > 1 else ""
    memory = format_bytes(device.memory_bytes) if device.memory_bytes else ""
    details = (device.bdf, device.driver or "no driver", memory, tiles)
    return Leaf(
        kind="gpu",
        title=f"GPU{device.index} · {device.name}",
        detail=" · ".join(text for text in details if text),
        link=describe_link(device.link),
        degraded=bool(device.link and device.link.degraded),
    )


def _make_other_leaf(other: OtherDevice, label: str) -> Leaf:
    names = ", ".join(other.interfaces[1:] if other.kind == "network" else other.interfaces)
    details = (other.bdf, other.driver, names)
    return Leaf(kind=other.kind, title=label, detail=" · ".join(text for text in details if text))


def _describe_node(node: NumaNode) -> str:
    cpus = node.cpus if len(node.cpus) <= _LONGEST_CPU_LIST else f"{node.cpus[: _LONGEST_CPU_LIST - 1]}…"
    memory = format_bytes(node.memory_bytes) if node.memory_bytes is not None else "memory unknown"
    distances = " ".join(map(str, node.distances))
    parts = (f"CPUs {cpus}" if cpus else "no CPUs", memory, f"distances {distances}" if distances else "")
    return " · ".join(part for part in parts if part)
