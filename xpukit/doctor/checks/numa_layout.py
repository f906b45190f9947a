"""Which NUMA node each GPU hangs on, and nodes without processors or memory."""

from __future__ import annotations

from collections.abc import Iterable

from xpukit.core.finding import Evidence, Finding, Unchecked
from xpukit.core.machine import Device, NumaNode
from xpukit.doctor.check import Check, Patient
from xpukit.doctor.hardware import SYS, explain, list_found, list_serving_cards

_NODES = "/sys/devices/system/node"
_NUMA_DOCS = "https://docs.kernel.org/admin-guide/mm/numa_memory_policy.html"


def look_at_nodes(patient: Patient) -> Iterable[Finding | Unchecked]:
    """Only what concerns GPUs that can be used."""
    cards = list_serving_cards(patient)
    nodes = patient.machine.numa
    for found in list_found(patient, "XPK-PROBE-NUMA-GUESSED"):
        yield explain(
            found,
            explanation="processes that feed a GPU should run on the processors beside it: copies from the other "
            "socket's memory cross the socket link. Without the firmware's word nobody places them right.",
            concerns="machines with several NUMA nodes",
            links=("https://docs.kernel.org/admin-guide/abi-testing.html",),
        )
    if not cards or len(nodes) < 2:
        return
    yield from _find_spread(cards, nodes)
    yield from _find_odd_nodes(cards, nodes)


def _find_spread(cards: list[Device], nodes: tuple[NumaNode, ...]) -> Iterable[Finding]:
    socket_of = {node.node: node.socket for node in nodes}
    groups: dict[int, list[Device]] = {}
    for device in cards:
        socket = socket_of.get(device.numa_node) if device.numa_node is not None else None
        if socket is not None:
            groups.setdefault(socket, []).append(device)
    if len(groups) < 2:
        return
    yield Finding(
        id="XPK-NUMA-GPUS-ACROSS-SOCKETS",
        severity="info",
        summary=f"the GPUs hang on {len(groups)} sockets: "
        + "; ".join(f"{len(devices)} on socket {socket}" for socket, devices in sorted(groups.items())),
        evidence=tuple(
            Evidence(source=f"{SYS}/{device.bdf}/numa_node", value=str(device.numa_node))
            for devices in groups.values()
            for device in devices
        ),
        explanation="collectives between GPUs of different sockets cross the link between the processors, which is "
        "slower than a switch or a root complex. A tensor-parallel group inside one socket avoids it. Cards that are "
        "joined by Xe Link (Max series) do not take that way; copies from the host do.",
        concerns="machines with two or more sockets",
        remedy=(
            *(
                f"a group on socket {socket}: ZE_AFFINITY_MASK={mask} numactl --cpunodebind={near} --membind={near}"
                for socket, devices in sorted(groups.items())
                if (mask := ",".join(device.affinity_mask for device in devices if device.affinity_mask))
                and (near := ",".join(sorted({str(device.numa_node) for device in devices})))
            ),
            "over all GPUs: tensor parallel inside a socket and pipeline or data parallel across",
        ),
        links=(_NUMA_DOCS,),
    )


def _find_odd_nodes(cards: list[Device], nodes: tuple[NumaNode, ...]) -> Iterable[Finding]:
    near = {device.numa_node: device for device in cards}
    for node in nodes:
        empty = node.memory_bytes == 0
        if node.cpus and not empty:
            continue
        if not node.cpus and empty:
            continue  # offline, or a placeholder of the firmware: nobody runs or allocates there
        device = near.get(node.node)
        if not node.cpus:
            yield Finding(
                id="XPK-NUMA-NODE-WITHOUT-CPUS",
                severity="warning" if device else "info",
                summary=f"NUMA node {node.node} has memory but no processors"
                + (f", and {device.bdf} hangs on it" if device else ""),
                evidence=(Evidence(source=f"{_NODES}/node{node.node}/cpulist", value="(empty)"),),
                explanation="high-bandwidth or CXL memory shown as a node of its own (or processors taken offline). "
                "Programs that bind by node fail on it, and buffers may land on memory of another speed.",
                concerns="Xeon Max in flat mode, CXL memory, sub-NUMA clustering",
                remedy=("bind processes to a node with processors: numactl --cpunodebind=NODE --preferred=NODE",),
                links=(_NUMA_DOCS,),
                subject=device.bdf if device else f"node{node.node}",
            )
        else:
            yield Finding(
                id="XPK-NUMA-NODE-WITHOUT-MEMORY",
                severity="warning",
                summary=f"NUMA node {node.node} has processors but no memory",
                evidence=(Evidence(source=f"{_NODES}/node{node.node}/meminfo", value="MemTotal: 0 kB"),),
                explanation="everything that runs there reaches its memory over the socket link. The memory "
                "channels of that processor are empty or failed."
                + (f" {device.bdf} hangs on this node." if device else ""),
                concerns="machines with several sockets",
                remedy=(
                    "put memory modules beside that processor, the same on all channels",
                    "see which modules the firmware found: sudo dmidecode -t memory",
                ),
                commands=("sudo dmidecode -t memory",),
                links=(_NUMA_DOCS,),
                subject=f"node{node.node}",
            )


CHECK = Check(
    name="numa_layout",
    summary="GPUs hang on known NUMA nodes that have processors and memory",
    ids=(
        "XPK-PROBE-NUMA-GUESSED",
        "XPK-NUMA-GPUS-ACROSS-SOCKETS",
        "XPK-NUMA-NODE-WITHOUT-CPUS",
        "XPK-NUMA-NODE-WITHOUT-MEMORY",
    ),
    look=look_at_nodes,
    concerns="machines with several NUMA nodes",
    order=220,
)
