"""Shared memory and memory limits of the containers that serve models."""

from __future__ import annotations

from collections.abc import Iterable

from xpukit.core.finding import Evidence, Finding, Unchecked
from xpukit.core.units import format_bytes
from xpukit.doctor.check import Check, Patient
from xpukit.doctor.container_inspect import Container
from xpukit.doctor.containers import list_serving, may_use_several, rewrite_run
from xpukit.facts.doctor_limits import find_limit


def look(patient: Patient) -> Iterable[Finding | Unchecked]:
    """Each serving container."""
    for tool, container in list_serving(patient):
        yield from judge_shm(tool, container, patient)
        yield from judge_limit(tool, container, patient)
        if container.oom_killed:
            yield Finding(
                id="XPK-CONTAINER-OOM-KILLED",
                severity="warning",
                summary=f"the kernel killed container {container.name} for want of memory",
                evidence=(Evidence(source=f"{tool} inspect {container.name}: State.OOMKilled", value="true"),),
                explanation="It used more main memory than its limit or the machine had. Known causes: a server "
                "started without oneAPI's environment in images that need it, weights quantized while loading, "
                "a small memory limit.",
                remedy=(
                    "see XPK-SETVARS-MISSING and XPK-CONTAINER-MEMORY-LIMIT, if they are in this list",
                    "look at: dmesg | grep -i 'out of memory'",
                ),
                links=("https://github.com/intel/llm-scaler/blob/main/vllm/KNOWN_ISSUES.md",),
                subject=container.name,
            )


def judge_shm(tool: str, container: Container, patient: Patient) -> Iterable[Finding]:
    """/dev/shm of its own, and small (64 MiB unless somebody said otherwise)."""
    limit, wanted = find_limit("shm_bytes"), find_limit("shm_wanted_bytes")
    if container.shm_bytes is None or container.shm_bytes >= limit.value:
        return
    size = f"{int(wanted.value) >> 30}g"
    yield Finding(
        id="XPK-CONTAINER-SHM-SMALL",
        severity="warning" if may_use_several(container, patient) else "info",
        summary=f"/dev/shm of container {container.name} holds {format_bytes(container.shm_bytes)} only",
        evidence=(
            Evidence(
                source=f"{tool} inspect {container.name}: HostConfig.ShmSize, IpcMode",
                value=f"{container.shm_bytes} bytes, not shared with the host",
            ),
        ),
        explanation="The processes of a server pass tensors and messages to each other through /dev/shm. When it is "
        "full they die with 'Bus error' or wait for ever ('No available shared memory broadcast block').",
        remedy=(f"{rewrite_run(container, f'--shm-size {size}')}, or with --ipc host",),
        links=(wanted.link, "https://github.com/vllm-project/vllm/pull/1125"),
        subject=container.name,
    )


def judge_limit(tool: str, container: Container, patient: Patient) -> Iterable[Finding]:
    """A memory limit below what weights need on their way to the GPUs."""
    limit = container.memory_bytes
    if limit is None:
        return
    floor = find_limit("container_memory_bytes")
    gpus = [device.memory_bytes for device in patient.machine.devices if device.memory_bytes and device.discrete]
    count = min(container.gpus or len(gpus), len(gpus))
    wanted = sum(sorted((size for size in gpus), reverse=True)[:count])
    small = limit < floor.value or (container.shm_bytes or 0) > limit
    if not small and limit >= wanted:
        return
    against = f"its GPUs have {format_bytes(wanted)}" if wanted else f"servers are given {format_bytes(floor.value)}"
    yield Finding(
        id="XPK-CONTAINER-MEMORY-LIMIT",
        severity="warning" if small else "info",
        summary=f"container {container.name} may use {format_bytes(limit)} of main memory; {against}",
        evidence=(Evidence(source=f"{tool} inspect {container.name}: HostConfig.Memory", value=f"{limit} bytes"),),
        explanation="Weights pass through main memory: all at once when they are quantized while loading or kept "
        "there (offload), and /dev/shm counts too. At the limit the kernel kills the server.",
        remedy=(rewrite_run(container, f"--memory {max(int(floor.value) * 2, wanted) >> 30}g, or without a limit"),),
        links=(floor.link,),
        subject=container.name,
    )


CHECK = Check(
    name="container_memory",
    summary="shared memory and memory limits of serving containers",
    ids=("XPK-CONTAINER-SHM-SMALL", "XPK-CONTAINER-MEMORY-LIMIT", "XPK-CONTAINER-OOM-KILLED"),
    look=look,
    concerns="containers of serving engines",
    order=542,
)
