"""NUMA nodes with their CPUs, memory and distances, and which node each GPU belongs to."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from xpukit.core.machine import Device, NumaNode, Unread
from xpukit.core.units import format_cpu_list
from xpukit.host.door import Host
from xpukit.probe.allowance import Allowance, parse_cpus, read_allowance
from xpukit.probe.cpu import assign_sockets, read_online, read_packages
from xpukit.probe.question import PciFunction, Question, describe_unread

NODE_ROOT = "/sys/devices/system/node"
_ADDRESS = re.compile(r"^[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$")
_MEMINFO = re.compile(r"^(?:Node\s+\d+\s+)?(\w+):\s+(\d+)\s*kB$", re.MULTILINE)


def parse_meminfo(text: str) -> dict[str, int]:
    """Bytes by name, of /proc/meminfo or a node's meminfo."""
    return {name: int(kib) * 1024 for name, kib in _MEMINFO.findall(text)}


def parse_distances(text: str) -> tuple[int, ...]:
    """A node's row of distances, one for each online node in order; empty when it is not one."""
    words = text.split()
    return tuple(int(word) for word in words) if all(word.isdecimal() for word in words) else ()


def read_node_numbers(host: Host) -> tuple[int, ...]:
    """Online nodes (numbers may have gaps); empty for a kernel without NUMA."""
    names = host.list(NODE_ROOT).names
    there = {int(name[4:]) for name in names if name.startswith("node") and name[4:].isdecimal()}
    online = parse_cpus(host.read(f"{NODE_ROOT}/online").text)
    return tuple(sorted((there & set(online or ())) or there))


def read_nodes(host: Host) -> tuple[tuple[NumaNode, ...], tuple[Unread, ...]]:
    """All online nodes, and what could not be read of them."""
    online, _ = read_online(host)
    numbers = read_node_numbers(host)
    allowance = read_allowance(host, online, numbers or None)
    if not numbers:
        return _make_only_node(host, online or (), allowance)
    unread: list[Unread] = []
    nodes: list[NumaNode] = []
    taken: set[int] = set()
    for number in numbers:
        node = _read_node(host, number, set(online) if online else None, taken, allowance, unread)
        taken.update(parse_cpus(node.cpus) or ())
        nodes.append(node)
    for node in nodes:
        if node.distances and len(node.distances) != len(nodes):
            why = f"{len(node.distances)} distances for {len(nodes)} nodes"
            unread.append(Unread(what=f"distances of NUMA node {node.node}", why=why))
    packages = read_packages(host, online) if online else None
    sockets = assign_sockets(tuple(nodes), packages)
    return (
        tuple(msgspec.structs.replace(node, socket=sockets[node.node]) for node in nodes),
        tuple(unread),
    )


def _read_node(
    host: Host,
    number: int,
    online: set[int] | None,
    taken: set[int],
    allowance: Allowance,
    unread: list[Unread],
) -> NumaNode:
    """One node. A CPU that an earlier node claims, or that is offline, is left out: a CPU is in one node."""
    root = f"{NODE_ROOT}/node{number}"
    cpu_answer = host.read(f"{root}/cpulist")
    said = parse_cpus(cpu_answer.text)
    if cpu_answer.error or said is None:
        unread.append(describe_unread(f"CPUs of NUMA node {number}", cpu_answer.error or "not a CPU list"))
    cpus = {cpu for cpu in said or () if cpu not in taken and (online is None or cpu in online)}
    memory_answer = host.read(f"{root}/meminfo")
    memory = parse_meminfo(memory_answer.text)
    if "MemTotal" not in memory:
        unread.append(describe_unread(f"memory of NUMA node {number}", memory_answer.error or "no MemTotal in it"))
    distance_answer = host.read(f"{root}/distance")
    distances = parse_distances(distance_answer.text)
    if not distances:
        unread.append(describe_unread(f"distances of NUMA node {number}", distance_answer.error or "not numbers"))
    return NumaNode(
        node=number,
        cpus=format_cpu_list(tuple(cpus)),
        memory_bytes=memory.get("MemTotal"),
        distances=distances,
        allowed_cpus=format_cpu_list(tuple(cpus & set(allowance.cpus)) if allowance.cpus is not None else ()),
        memory_allowed=number in allowance.memory_nodes if allowance.memory_nodes is not None else None,
    )


def _make_only_node(
    host: Host, online: tuple[int, ...], allowance: Allowance
) -> tuple[tuple[NumaNode, ...], tuple[Unread, ...]]:
    """What a kernel without NUMA amounts to: one node 0 with everything."""
    why = f"no nodes in {NODE_ROOT}: the kernel has no NUMA support, or it is hidden here"
    unread = (Unread(what="NUMA nodes", why=f"{why}; taken as one node 0 with all online CPUs"),)
    if not online:
        return (), (Unread(what="NUMA nodes", why=why),)
    memory = parse_meminfo(host.read("/proc/meminfo").text)
    packages = read_packages(host, online)
    node = NumaNode(
        node=0,
        cpus=format_cpu_list(online),
        memory_bytes=memory.get("MemTotal"),
        distances=(10,),
        allowed_cpus=format_cpu_list(allowance.cpus or ()),
        memory_allowed=True,
    )
    return (msgspec.structs.replace(node, socket=assign_sockets((node,), packages)[0]),), unread


def assign_numa_node(
    firmware_node: int | None,
    ancestors: Sequence[tuple[str, int | None]],
    local_cpus: str,
    nodes: Iterable[NumaNode],
) -> tuple[int | None, str]:
    """(node, rule) of a PCI device: what the firmware says of it (None and -1: nothing), else of its nearest
    bridge (`ancestors`, nearest first), else the one node that all its local CPUs are in, else None.

    The rule is "device", "ancestor BDF", "local_cpulist" or "none: why".
    """
    if firmware_node is not None and firmware_node >= 0:
        return firmware_node, "device"
    for bdf, node in ancestors:
        if node is not None and node >= 0:
            return node, f"ancestor {bdf}"
    cpus = set(parse_cpus(local_cpus) or ())
    if not cpus:
        return None, "none: neither it nor a bridge above it has a node, and no local CPUs are given"
    with_cpus = {node.node: set(parse_cpus(node.cpus) or ()) for node in nodes}
    found = sorted(number for number, its_cpus in with_cpus.items() if its_cpus & cpus)
    if len(found) == 1:
        return found[0], "local_cpulist"
    which = f"are in nodes {format_cpu_list(found)}" if found else "are in no node"
    return None, f"none: neither it nor a bridge above it has a node, and its local CPUs {local_cpus} {which}"


def list_ancestor_dirs(sys_path: str) -> tuple[tuple[str, str], ...]:
    """(BDF, sysfs directory) of the PCI functions above a device's own directory, nearest first."""
    parts = sys_path.split("/")
    found = [
        (part, "/".join(parts[: position + 1])) for position, part in enumerate(parts[:-1]) if _ADDRESS.match(part)
    ]
    return tuple(reversed(found))


def read_node_of(host: Host, sys_dir: str) -> int | None:
    """A PCI function's `numa_node`; None when the firmware does not say (-1) or the file cannot be read."""
    text = host.read(f"{sys_dir}/numa_node").text
    return int(text) if text.isdecimal() else None


def locate_function(
    host: Host, sys_dir: str, nodes: Iterable[NumaNode], known: int | None = None
) -> tuple[int | None, str, str]:
    """(node, rule, local CPUs) of a PCI function by what sysfs says; `known` is its own node from elsewhere."""
    own = read_node_of(host, sys_dir)
    own = known if own is None else own
    local_cpus = host.read(f"{sys_dir}/local_cpulist").text
    # Bridges are asked only when the device does not say.
    above = list_ancestor_dirs(sys_dir) if own is None else ()
    ancestors = [(bdf, read_node_of(host, directory)) for bdf, directory in above]
    node, rule = assign_numa_node(own, ancestors, local_cpus, nodes)
    return node, rule, local_cpus


def assign_nodes(
    host: Host, devices: tuple[Device, ...], functions: Iterable[PciFunction], nodes: tuple[NumaNode, ...]
) -> tuple[Device, ...]:
    """The devices with `numa_node`, `numa_rule` and `local_cpus` filled in."""
    sys_paths = {function.bdf: function.sys_path for function in functions}
    placed = []
    for device in devices:
        sys_dir = sys_paths.get(device.bdf, f"/sys/bus/pci/devices/{device.bdf}")
        node, rule, local_cpus = locate_function(host, sys_dir, nodes, device.numa_node)
        local_cpus = local_cpus or device.local_cpus
        placed.append(msgspec.structs.replace(device, numa_node=node, numa_rule=rule, local_cpus=local_cpus))
    return tuple(placed)


def _read_machine(host: Host, devices: tuple[Device, ...], so_far: Mapping[str, Any]) -> dict[str, Any]:
    nodes, unread = read_nodes(host)
    known = [node.memory_bytes for node in nodes if node.memory_bytes is not None]
    return {
        "numa": nodes,
        "memory_bytes": host.memory().total_bytes or sum(known) or None,
        "devices": assign_nodes(host, devices, so_far.get("functions", ()), nodes),
        "unread": unread,
    }


QUESTION = Question(
    name="numa",
    scope="machine",
    order=10,
    summary="NUMA nodes, their CPUs, memory and distances, and each GPU's node",
    read_machine=_read_machine,
)
