"""GPUs grouped by what they share: a card, a fabric, a switch, a root port, a root complex, a NUMA node, a socket.

A group of one level is a set of GPUs that reach each other without leaving that level. It is made from the probe's
matrix (and Level Zero's fabric ports), so that it says no more than the probe does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from xpukit.core.machine import Device, Machine

Level = Literal["card", "fabric", "switch", "port", "root", "node", "socket", "machine"]
LEVELS: tuple[Level, ...] = ("card", "fabric", "switch", "port", "root", "node", "socket", "machine")
"""From near to far."""

LEVEL_TEXT: dict[Level, str] = {
    "card": "on one card",
    "fabric": "joined by the cards' own fabric",
    "switch": "below one PCIe switch",
    "port": "below one root port, through several switches",
    "root": "in one PCIe root complex",
    "node": "in one NUMA node",
    "socket": "in one socket",
    "machine": "across sockets",
}
# The matrix's symbols that stay within a level.
_WITHIN: dict[Level, frozenset[str]] = {
    "card": frozenset({"SELF", "TILE"}),
    "switch": frozenset({"SELF", "TILE", "PIX"}),
    "port": frozenset({"SELF", "TILE", "PIX", "PXB"}),
    "root": frozenset({"SELF", "TILE", "PIX", "PXB", "PHB"}),
    "node": frozenset({"SELF", "TILE", "PIX", "PXB", "PHB", "NODE"}),
}
FABRIC_KEY = "fabric"
"""In `Machine.extra`: the name of a fabric that joins all GPUs of a named platform."""


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """GPUs (by `Device.index`, in order) that share what `level` says; `name` is the thing shared."""

    level: Level
    name: str
    devices: tuple[int, ...]


def find_groups(machine: Machine) -> tuple[Group, ...]:
    """All groups of all levels, near to far; each GPU is in exactly one group of each level."""
    devices = machine.devices
    relations = _read_matrix(machine)
    sockets = {node.node: node.socket for node in machine.numa}
    fabric = _find_fabric(machine)
    found: list[Group] = []
    for level in LEVELS:
        joined = _make_test(level, relations, fabric, sockets, machine)
        found += [
            Group(level=level, name=_name_group(level, members, machine), devices=tuple(gpu.index for gpu in members))
            for members in _join(devices, joined)
        ]
    return tuple(found)


def find_level(groups: Iterable[Group], devices: Iterable[int]) -> Level:
    """The nearest level with a group that holds all these GPUs; "machine" when none does."""
    wanted = set(devices)
    levels = {group.level for group in groups if wanted <= set(group.devices)}
    return next((level for level in LEVELS if level in levels), "machine")


def find_common(groups: Iterable[Group], devices: Iterable[int]) -> Group | None:
    """The nearest group that holds all these GPUs."""
    wanted = set(devices)
    holding = [group for group in groups if wanted <= set(group.devices)]
    return min(holding, key=lambda group: LEVELS.index(group.level), default=None)


def cost_of(level: Level) -> int:
    """0 for the nearest level, more for each one further."""
    return LEVELS.index(level)


def _make_test(
    level: Level,
    relations: Mapping[tuple[str, str], str],
    fabric: Mapping[str, frozenset[str]],
    sockets: Mapping[int, int | None],
    machine: Machine,
) -> Callable[[Device, Device], bool]:
    def on_card(one: Device, other: Device) -> bool:
        # Functions of one card (SR-IOV) share its memory and its link.
        return (one.physical_function or one.bdf) == (other.physical_function or other.bdf)

    def in_fabric(one: Device, other: Device) -> bool:
        return on_card(one, other) or other.bdf in fabric.get(one.bdf, frozenset())

    def by_matrix(one: Device, other: Device) -> bool:
        return on_card(one, other) or relations.get((one.bdf, other.bdf)) in _WITHIN[level]

    def in_socket(one: Device, other: Device) -> bool:
        if relations.get((one.bdf, other.bdf)) in _WITHIN["node"] or on_card(one, other):
            return True
        if one.numa_node is None or other.numa_node is None:
            return False
        first, second = sockets.get(one.numa_node), sockets.get(other.numa_node)
        return one.numa_node == other.numa_node or (first is not None and first == second)

    if level == "card":
        return on_card
    if level == "fabric":
        return in_fabric
    if level == "socket":
        return in_socket
    if level == "machine":
        return lambda one, other: True
    return by_matrix


def _read_matrix(machine: Machine) -> dict[tuple[str, str], str]:
    """The symbol of each pair of BDFs. Where tiles have rows, any tile's row speaks for its card."""
    topology = machine.topology
    found: dict[tuple[str, str], str] = {}
    for row, one in zip(topology.matrix, topology.bdfs, strict=False):
        for symbol, other in zip(row, topology.bdfs, strict=False):
            found.setdefault((one, other), symbol)
    return found


def _find_fabric(machine: Machine) -> dict[str, frozenset[str]]:
    """The GPUs that each GPU has a working fabric port to, by BDF.

    A port is named "fabric:attach:port" after its own card's fabric id, and `remote_port` after the other one's.
    """
    if machine.extra.get(FABRIC_KEY):
        everyone = frozenset(gpu.bdf for gpu in machine.devices)
        return dict.fromkeys(everyone, everyone)
    owners: dict[str, str] = {}
    remotes: dict[str, set[str]] = {}
    for seen in machine.level_zero.get("devices", ()):
        bdf = seen.get("bdf")
        for port in _list_ports(seen) if bdf else ():
            owners.setdefault(str(port.get("port") or "").partition(":")[0], bdf)
            remote = str(port.get("remote_port") or "").partition(":")[0]
            if remote and port.get("status") in ("healthy", "degraded"):
                remotes.setdefault(bdf, set()).add(remote)
    return {
        bdf: frozenset(owners[remote] for remote in ids if remote in owners and owners[remote] != bdf)
        for bdf, ids in remotes.items()
    }


def _list_ports(seen: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    sysman = seen.get("sysman") or {}
    ports: Sequence[Mapping[str, Any]] = sysman.get("fabric_ports") or ()
    return ports


def _join(devices: Sequence[Device], joined: Callable[[Device, Device], bool]) -> list[list[Device]]:
    """Sets of devices connected by `joined`, each in the order of `devices`."""
    sets: list[list[Device]] = []
    for device in devices:
        touching = [one for one in sets if any(joined(device, member) or joined(member, device) for member in one)]
        merged = [*(member for one in touching for member in one), device]
        sets = [one for one in sets if one not in touching] + [merged]
    order = {device.bdf: position for position, device in enumerate(devices)}
    for members in sets:
        members.sort(key=lambda member: order[member.bdf])
    return sorted(sets, key=lambda members: order[members[0].bdf])


def _name_group(level: Level, members: Sequence[Device], machine: Machine) -> str:
    first = members[0]
    if level == "card" or (len(members) == 1 and level in ("fabric", "switch", "port")):
        return first.physical_function or first.bdf
    if level == "fabric":
        return str(machine.extra.get(FABRIC_KEY) or "Xe Link")
    if level in ("switch", "port"):
        shared = _find_shared(members)
        return f"switch {shared[-1]}" if shared and level == "switch" else f"port {(shared or first.path or ('?',))[0]}"
    if level == "root":
        return f"root {(first.path[0] if first.path else first.bdf).rpartition(':')[0]}"
    if level == "node":
        return f"node {'?' if first.numa_node is None else first.numa_node}"
    if level == "socket":
        socket = next((node.socket for node in machine.numa if node.node == first.numa_node), None)
        return f"socket {'?' if socket is None else socket}"
    return "machine"


def _find_shared(members: Sequence[Device]) -> tuple[str, ...]:
    shared = members[0].path
    for member in members[1:]:
        count = 0
        for left, right in zip(shared, member.path, strict=False):
            if left != right:
                break
            count += 1
        shared = shared[:count]
    return shared
