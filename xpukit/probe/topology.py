"""The matrix of how devices reach each other: a pure join of their bridges and NUMA nodes.

The symbols are those of `nvidia-smi topo -m` and `xpu-smi topology -m` (2.x); TILE is xpu-smi's MDF. Where the two
differ we follow the number of switches: xpu-smi 2.x calls everything below one switch PIX, however many more switches
lie between, and two functions directly below one root port PXB (it counts common ancestors: 3 or more, 2, 1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from xpukit.core.machine import Device, NumaNode, OtherDevice, Topology
from xpukit.host.door import Host
from xpukit.probe.question import Question

LEGEND = {
    "SELF": "the device itself",
    "TILE": "another tile of the same device",
    "PIX": "through one PCIe switch, or within one slot (the cards' own switches do not count)",
    "PXB": "through several PCIe switches below one root port, not through the host bridge",
    "PHB": "through the PCIe host bridge: same root complex, other root port",
    "NODE": "through the interconnect between PCIe host bridges within one NUMA node",
    "SYS": "through the interconnect between NUMA nodes (UPI, xGMI)",
    "?": "cannot be told: the NUMA node of one is unknown",
}


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where one row of the matrix sits. `card` counts those bridges of `path` that are not on the card itself."""

    label: str
    device: int
    bdf: str
    path: tuple[str, ...]
    card: int
    numa_node: int | None


def name_root(bdf: str, path: tuple[str, ...]) -> str:
    """The root bus ("0000:16") that a function hangs from; a root complex has one."""
    return (path[0] if path else bdf).rpartition(":")[0]


def find_relation(one: Place, other: Place, *, single_node: bool) -> tuple[str, str]:
    """(symbol, BDF of the common bridge or "") for two rows.

    `single_node`: the machine has one NUMA node, so that an unknown node is that one.
    """
    if one.device == other.device:
        return ("SELF" if one.label == other.label else "TILE"), ""
    shared = _count_shared(one.path, other.path)
    if shared:
        # Below the common bridge lies one downstream port, then the card. Each further switch adds two.
        further = max(one.card, other.card) - shared
        return ("PIX" if further <= 1 else "PXB"), one.path[shared - 1]
    if name_root(one.bdf, one.path) == name_root(other.bdf, other.path):
        return "PHB", ""
    if one.numa_node is None or other.numa_node is None:
        return ("NODE" if single_node else "?"), ""
    return ("NODE" if one.numa_node == other.numa_node else "SYS"), ""


def _count_shared(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    count = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        count += 1
    return count


def count_outside_card(device: Device, gpus: Sequence[Device]) -> int:
    """How many bridges of a GPU's path are not on its card.

    The card begins at its own upstream port, which the link question names. Without it the two innermost bridges
    are taken for the card's switch, as on every Intel discrete GPU, unless another card hangs below them too.
    """
    path = device.path
    if device.link is not None and device.link.read_at in path:
        return path.index(device.link.read_at)
    if len(path) < 3 or (device.link is not None and device.link.read_at == device.bdf):
        return len(path)
    # Another card below the same switch hangs from another of its downstream ports; functions of one card do not.
    shared = any(path[-2] in gpu.path and path[-1] not in gpu.path for gpu in gpus)
    return len(path) if shared else len(path) - 2


def list_places(devices: Sequence[Device], others: Sequence[OtherDevice]) -> tuple[Place, ...]:
    """The rows: each GPU or each of its tiles, then NICs and NVMe drives."""
    places: list[Place] = []
    for position, device in enumerate(devices):
        tiles = device.tiles or 1
        labels = [f"GPU{device.index}/{t}" for t in range(tiles)] if tiles > 1 else [f"GPU{device.index}"]
        places.extend(
            Place(
                label=label,
                device=position,
                bdf=device.bdf,
                path=device.path,
                card=count_outside_card(device, devices),
                numa_node=device.numa_node,
            )
            for label in labels
        )
    counts: dict[str, int] = {}
    for position, other in enumerate(others):
        prefix = {"network": "NIC", "nvme": "NVME"}.get(other.kind)
        if prefix is None:
            continue
        number = counts.get(prefix, 0)
        counts[prefix] = number + 1
        name = f" ({other.interfaces[0]})" if other.kind == "network" and other.interfaces else ""
        places.append(
            Place(
                label=f"{prefix}{number}{name}",
                device=len(devices) + position,
                bdf=other.bdf,
                path=other.path,
                card=len(other.path),
                numa_node=other.numa_node,
            )
        )
    return tuple(places)


def join_topology(devices: Sequence[Device], others: Sequence[OtherDevice], nodes: Sequence[NumaNode]) -> Topology:
    """The matrix over GPUs (by tile) and those of `others` that are NICs or NVMe drives.

    `common["i,j"]` (i < j, row numbers) names the bridge that PIX and PXB pairs have in common, the nearest one.
    """
    places = list_places(devices, others)
    single_node = len([node for node in nodes if node.cpus] or nodes) == 1
    found = [[find_relation(one, other, single_node=single_node) for other in places] for one in places]
    symbols = {symbol for row in found for symbol, _ in row}
    return Topology(
        labels=tuple(place.label for place in places),
        bdfs=tuple(place.bdf for place in places),
        matrix=tuple(tuple(symbol for symbol, _ in row) for row in found),
        common={
            f"{i},{j}": found[i][j][1] for i in range(len(places)) for j in range(i + 1, len(places)) if found[i][j][1]
        },
        legend={key: text for key, text in LEGEND.items() if key != "?" or key in symbols},
    )


def _read_machine(host: Host, devices: tuple[Device, ...], so_far: Mapping[str, Any]) -> dict[str, Any]:
    others = tuple(sorted(so_far.get("others", ()), key=lambda other: other.bdf))
    return {"topology": join_topology(devices, others, so_far.get("numa", ()))}


QUESTION = Question(
    name="topology",
    scope="machine",
    order=900,
    summary="how GPUs (and with --all NICs and NVMe drives) reach each other",
    read_machine=_read_machine,
)
