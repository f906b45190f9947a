"""Whether a pair of GPUs is of a known platform shape (facts p2p/shapes.toml)."""

from __future__ import annotations

from xpukit.core.machine import Machine
from xpukit.evaluate.p2p_path import PairPath
from xpukit.facts.p2p import Shape, load_shapes


def fits_devices(shape: Shape, path: PairPath) -> bool:
    """Whether the two are different cards, both of the one kind that the shape is known for."""
    ids = {f"{device.vendor_id}:{device.device_id}".lower().replace("0x", "") for device in path.ends}
    return len(path.ends) == 2 and len(ids) == 1 and ids <= set(shape.devices)


def is_dual_card(machine: Machine, path: PairPath) -> bool:
    """Two GPUs of one card, alone in one slot: below one switch, or on two root ports that the slot was split into."""
    if machine.platform.get("vm") or not fits_devices(load_shapes()["dual-card-x16"], path):
        return False
    return share_slot(machine, path)


def has_own_root_ports(machine: Machine, path: PairPath) -> bool:
    """Two cards on root ports of one root complex, where traffic turns round in the processor."""
    shape = load_shapes()["root-ports"]
    return not machine.platform.get("vm") and fits_devices(shape, path) and path.across == "root-ports"


def share_slot(machine: Machine, path: PairPath) -> bool:
    """One switch with these two GPUs only, or two root ports that are functions of one (a split slot)."""
    if path.common:
        below = {device.bdf for device in machine.devices if path.common in device.path and not device.virtual_function}
        return below == {path.src.bdf, path.dst.bdf}
    roots = [device.path[0].rpartition(".")[0] for device in path.ends if device.path]
    return len(roots) == 2 and roots[0] == roots[1]
