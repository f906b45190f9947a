"""Whether a container's processors are those near its GPUs."""

from __future__ import annotations

from collections.abc import Iterable

from xpukit.core.finding import Evidence, Finding, Unchecked
from xpukit.core.machine import Device
from xpukit.core.units import parse_cpu_list
from xpukit.doctor.check import Check, Patient
from xpukit.doctor.container_inspect import Container
from xpukit.doctor.containers import list_serving, rewrite_run


def look(patient: Patient) -> Iterable[Finding | Unchecked]:
    """Containers pinned to processors of another NUMA node than all their GPUs."""
    if len(patient.machine.numa) < 2:
        return
    for tool, container in list_serving(patient):
        pinned = _parse(container.cpus)
        devices = list_devices(container, patient)
        nodes = {device.numa_node for device in devices}
        if not pinned or not devices or None in nodes:
            continue
        near = {cpu for node in patient.machine.numa if node.node in nodes and node.cpus for cpu in _parse(node.cpus)}
        if not near or pinned & near:
            continue
        cpus = ",".join(node.cpus for node in patient.machine.numa if node.node in nodes and node.cpus)
        yield Finding(
            id="XPK-CONTAINER-CPUS-REMOTE",
            severity="info",
            summary=f"container {container.name} is pinned to processors that are not near its GPUs",
            evidence=(
                Evidence(source=f"{tool} inspect {container.name}: HostConfig.CpusetCpus", value=container.cpus),
                Evidence(source="processors near its GPUs", value=cpus),
            ),
            explanation="Every transfer and launch then crosses the link between sockets.",
            remedy=(rewrite_run(container, f"--cpuset-cpus {cpus}"),),
            links=("https://github.com/intel/llm-scaler/blob/main/vllm/README.md",),
            subject=container.name,
        )


def list_devices(container: Container, patient: Patient) -> tuple[Device, ...]:
    """The GPUs that the container was given."""
    devices = patient.machine.devices
    single = {node.rpartition("/")[2] for node in container.nodes if "renderD" in node}
    if container.privileged or container.has_cdi_gpu or not single or "/dev/dri" in container.nodes:
        return devices if container.has_gpu else ()
    return tuple(device for device in devices if device.render_node.rpartition("/")[2] in single)


def _parse(text: str) -> set[int]:
    try:
        return set(parse_cpu_list(text))
    except ValueError:
        return set()


CHECK = Check(
    name="container_cpus",
    summary="a container's processors are near its GPUs",
    ids=("XPK-CONTAINER-CPUS-REMOTE",),
    look=look,
    concerns="containers of serving engines on machines with several NUMA nodes",
    order=545,
)
