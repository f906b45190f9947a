"""What NICs, NVMe drives and other vendors' cards are called here, and their NUMA node (by the rule for GPUs)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from xpukit.core.machine import Device, NumaNode, OtherDevice
from xpukit.host.door import Host
from xpukit.probe.numa import locate_function
from xpukit.probe.question import PciFunction, Question

# Where the names are, by kind: the RDMA device first, it is what communication libraries are told.
_NAME_DIRECTORIES = {"network": ("infiniband", "net"), "nvme": ("nvme",)}


def list_interfaces(host: Host, sys_dir: str, kind: str) -> tuple[str, ...]:
    """Names that the system gave it: RDMA devices, then network interfaces; or NVMe controllers."""
    directories = _NAME_DIRECTORIES.get(kind, ())
    names = tuple(name for directory in directories for name in host.list(f"{sys_dir}/{directory}").names)
    if names or kind != "network":
        return names
    below = [name for name in host.list(sys_dir).names if name.startswith("virtio")]
    return tuple(name for virtio in below for name in host.list(f"{sys_dir}/{virtio}/net").names)


def describe_neighbours(
    host: Host, others: Iterable[OtherDevice], functions: Iterable[PciFunction], nodes: tuple[NumaNode, ...]
) -> tuple[OtherDevice, ...]:
    """`others` with their interfaces' names and NUMA nodes filled in."""
    sys_paths = {function.bdf: function.sys_path for function in functions}
    found = []
    for other in others:
        sys_dir = sys_paths.get(other.bdf, f"/sys/bus/pci/devices/{other.bdf}")
        node, _, _ = locate_function(host, sys_dir, nodes)
        found.append(
            msgspec.structs.replace(
                other,
                interfaces=list_interfaces(host, sys_dir, other.kind),
                numa_node=node if node is not None else other.numa_node,
            )
        )
    return tuple(found)


def _read_machine(host: Host, devices: tuple[Device, ...], so_far: Mapping[str, Any]) -> dict[str, Any]:
    others, functions = so_far.get("others", ()), so_far.get("functions", ())
    return {"others": describe_neighbours(host, others, functions, so_far.get("numa", ()))}


QUESTION = Question(
    name="neighbours",
    scope="machine",
    order=30,
    summary="names and NUMA nodes of other vendors' cards, and with --all of NICs and NVMe drives",
    read_machine=_read_machine,
)
