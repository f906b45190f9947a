"""Machines made from a name, to plan for hosts that are not here: `2x8xH200`, `8xB60`, `1x2xA100-80G`."""

from __future__ import annotations

import re

import msgspec

from xpukit.core.errors import UsageError
from xpukit.core.machine import Device, Link, Machine, NumaNode, Topology
from xpukit.facts.devices import lookup_device
from xpukit.facts.pcie import compute_line_rate_gbps
from xpukit.facts.platforms import PlatformGpu, find_gpu, find_layout
from xpukit.serve.devices import INTEL, NVIDIA
from xpukit.serve.topology_groups import FABRIC_KEY

_NAME = re.compile(r"\s*(?:(\d+)\s*[x×*]\s*)?(?:(\d+)\s*[x×*]\s*)?(\S.*?)\s*", re.IGNORECASE)
_MOST_NODES, _MOST_GPUS = 128, 16


class Platform(msgspec.Struct, frozen=True, kw_only=True):
    """`nodes` machines with `gpus_per_node` GPUs each. `machine` is one of them, made up: its NUMA nodes have no CPUs
    listed, so that nothing is pinned. `assumptions`: what is not in the name and was guessed.
    """

    name: str
    nodes: int
    gpus_per_node: int
    gpu: PlatformGpu
    machine: Machine
    assumptions: tuple[str, ...]


def parse_platform(text: str) -> Platform:
    """`[NODESx][GPUSx]GPU`: `H200` is one, `8xB60` one machine with eight, `2x8xH200` two machines with eight each.

    Raises UsageError for anything else, more than 128 machines, or more than 16 GPUs in one.
    """
    match = _NAME.fullmatch(text)
    if match is None:
        raise _refuse(text)
    first, second, name = match.groups()
    nodes = int(first) if second else 1
    gpus = int(second or first or 1)
    if not (1 <= nodes <= _MOST_NODES and 1 <= gpus <= _MOST_GPUS):
        raise UsageError(
            f"platform {text!r}: {nodes} machines with {gpus} GPUs",
            hint=f"1 to {_MOST_NODES} machines with 1 to {_MOST_GPUS} GPUs each",
        )
    gpu = find_gpu(name)
    canonical = f"{nodes}x{gpus}x{gpu.name}" if nodes > 1 else f"{gpus}x{gpu.name}"
    machine, assumptions = _make_machine(canonical, gpu, gpus)
    return Platform(name=canonical, nodes=nodes, gpus_per_node=gpus, gpu=gpu, machine=machine, assumptions=assumptions)


def _refuse(text: str) -> UsageError:
    return UsageError(f"not a platform: {text!r}", hint="for example 8xB60, or 2x8xH200 for two machines")


def _make_machine(name: str, gpu: PlatformGpu, count: int) -> tuple[Machine, tuple[str, ...]]:
    layout = find_layout(count)
    sockets = layout.sockets if layout else 1
    places = [number * sockets // count for number in range(count)]
    devices = tuple(_make_device(gpu, number, place) for number, place in enumerate(places))
    matrix = tuple(
        tuple("SELF" if one is other else "NODE" if one.numa_node == other.numa_node else "SYS" for other in devices)
        for one in devices
    )
    machine = Machine(
        devices=devices,
        numa=tuple(NumaNode(node=node, cpus="", memory_allowed=True, socket=node) for node in range(sockets)),
        topology=Topology(
            labels=tuple(f"GPU{device.index}" for device in devices),
            bdfs=tuple(device.bdf for device in devices),
            matrix=matrix,
        ),
        platform={"named": name},
        extra={FABRIC_KEY: gpu.fabric} if gpu.fabric and count > 1 else {},
    )
    return machine, tuple(_list_assumptions(gpu, count, sockets, layout.source if layout else ""))


def _list_assumptions(gpu: PlatformGpu, count: int, sockets: int, source: str) -> list[str]:
    found = [f"{gpu.full_name}: {gpu.memory_mib} MiB ({gpu.source})"]
    if gpu.fabric and count > 1:
        found.append(f"guess: all {count} GPUs are joined by {gpu.fabric}")
    if sockets > 1:
        found.append(f"{source}: {count // sockets} on each of {sockets} sockets here")
    elif count > 1:
        found.append(f"guess: all {count} GPUs are on one socket")
    found.append("guess: all memory is free, the links run at full speed, and the GPUs are numbered by PCI address")
    return found


def _make_device(gpu: PlatformGpu, number: int, place: int) -> Device:
    bus = 0x10 + 0x10 * number
    bdf = f"0000:{bus + 1:02x}:00.0" if bus < 0xF0 else f"0001:{bus - 0xF0 + 1:02x}:00.0"
    port = f"{bdf[:5]}{int(bdf[5:7], 16) - 1:02x}:01.0"
    intel = gpu.vendor == "intel"
    facts = lookup_device(INTEL, gpu.pci_id) if intel else None
    link = None
    if gpu.pcie_speed_gts and gpu.pcie_width:
        rate = compute_line_rate_gbps(gpu.pcie_speed_gts, gpu.pcie_width)
        link = Link(
            read_at=bdf,
            current_speed_gts=gpu.pcie_speed_gts,
            current_width=gpu.pcie_width,
            max_speed_gts=gpu.pcie_speed_gts,
            max_width=gpu.pcie_width,
            current_gbps=rate,
            limit_gbps=rate,
            degraded=False,
            note="by the card's specification",
        )
    return Device(
        index=number,
        bdf=bdf,
        vendor_id=INTEL if intel else NVIDIA,
        device_id=gpu.pci_id,
        name=gpu.full_name,
        known=True,
        family=facts.architecture if facts else "",
        codename=facts.codename if facts else "",
        discrete=True,
        driver=("i915" if gpu.tiles > 1 else "xe") if intel else "nvidia",
        render_node=f"/dev/dri/renderD{128 + number}" if intel else "",
        card_node=f"/dev/dri/card{number}" if intel else "",
        numa_node=place,
        numa_rule="by the platform's name",
        tiles=gpu.tiles,
        memory_bytes=gpu.memory_bytes,
        link=link,
        path=(port,),
        sources={"memory_bytes": gpu.source},
    )
