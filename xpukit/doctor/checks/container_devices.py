"""Whether the GPUs reach the containers that serve models: nodes, the right ones, and /dev/dri/by-path."""

from __future__ import annotations

from collections.abc import Iterable

from xpukit.core.finding import Evidence, Finding, Unchecked
from xpukit.doctor.check import Check, Patient
from xpukit.doctor.container_inspect import Container
from xpukit.doctor.containers import list_serving, may_use_several, rewrite_run

_BY_PATH = "-v /dev/dri/by-path:/dev/dri/by-path"


def look(patient: Patient) -> Iterable[Finding | Unchecked]:
    """Each serving container."""
    for tool, container in list_serving(patient):
        if not container.has_gpu:
            yield from judge_missing(tool, container, patient)
            continue
        yield from judge_nodes(tool, container, patient)
        yield from judge_by_path(tool, container, patient)


def judge_missing(tool: str, container: Container, patient: Patient) -> Iterable[Finding]:
    """No GPU at all reaches the container."""
    none_here = not patient.machine.devices
    yield Finding(
        id="XPK-CONTAINER-NO-GPU",
        severity="warning" if none_here else "critical",
        summary=f"no GPU reaches container {container.name} ({container.engine})",
        evidence=(
            Evidence(
                source=f"{tool} inspect {container.name}: HostConfig.Devices, Privileged",
                value="no device below /dev/dri, not privileged",
            ),
        ),
        explanation="Devices of the host are not seen in a container unless they are handed to it; the engine says "
        "'No XPU devices are available' or computes on the processor."
        + (" This machine shows no Intel GPU either." if none_here else ""),
        remedy=(rewrite_run(container, "--device /dev/dri", _BY_PATH, "--group-add (number of the group render)"),),
        links=("https://github.com/open-edge-platform/geti-instant-learn/issues/583",),
        subject=container.name,
    )


def judge_nodes(tool: str, container: Container, patient: Patient) -> Iterable[Finding]:
    """Nodes handed over one by one, none of which belongs to an Intel GPU of this machine."""
    single = [node for node in container.nodes if node.startswith("/dev/dri/") and not node.endswith("by-path")]
    ours = {
        path
        for device in patient.machine.devices
        for node in (device.render_node, device.card_node)
        for path in (node, f"/dev/dri/{node.rpartition('/')[2]}")
        if node
    }
    by_path = {link for device in patient.machine.devices for link in device.by_path}
    if container.privileged or container.has_cdi_gpu or not single or not ours:
        return
    if "/dev/dri" in container.nodes or any(node in ours or node in by_path for node in single):
        return
    if any("/by-path/" in node for node in single):
        return
    yield Finding(
        id="XPK-CONTAINER-OTHER-GPU",
        severity="critical",
        summary=f"container {container.name} gets {', '.join(single)}, none of which is an Intel GPU of this machine",
        evidence=(
            Evidence(source=f"{tool} inspect {container.name}: HostConfig.Devices", value=" ".join(single)),
            Evidence(source="nodes of the Intel GPUs", value=" ".join(sorted(ours))),
        ),
        explanation="Numbers of cardN and renderDN change when a card is added, a driver loads earlier or a graphics "
        "chip of the board (BMC) takes card0.",
        remedy=(rewrite_run(container, *(f"--device {device.render_node}" for device in patient.machine.devices[:8])),),
        links=("https://docs.kernel.org/gpu/drm-uapi.html",),
        subject=container.name,
    )


def judge_by_path(tool: str, container: Container, patient: Patient) -> Iterable[Finding]:
    """/dev/dri/by-path is not handed over by --device: oneCCL looks devices up in it."""
    if container.has_by_path or container.has_cdi_gpu or not may_use_several(container, patient):
        return
    exchange = container.can_exchange_pidfd
    yield Finding(
        id="XPK-CONTAINER-NO-BY-PATH",
        severity="info" if exchange else "warning",
        summary=f"/dev/dri/by-path is not in container {container.name}",
        evidence=(
            Evidence(
                source=f"{tool} inspect {container.name}: Mounts, HostConfig.Devices",
                value=f"devices {' '.join(container.nodes) or 'all (privileged)'}; no mount of /dev/dri/by-path",
            ),
        ),
        explanation="--device /dev/dri hands over the nodes, not the links. oneCCL's exchange of buffers by DRM file "
        "descriptors opens that directory: 'opendir failed: could not open device directory'."
        + (" With pidfd, which this container may use, newer oneCCL does without." if exchange else ""),
        remedy=(rewrite_run(container, _BY_PATH),),
        links=("https://github.com/uxlfoundation/oneCCL/issues/217", "https://github.com/intel/ipex-llm/issues/12990"),
        subject=container.name,
        concerns="several GPUs in one container (oneCCL)",
    )


CHECK = Check(
    name="container_devices",
    summary="the GPUs reach the containers that serve models",
    ids=("XPK-CONTAINER-NO-GPU", "XPK-CONTAINER-OTHER-GPU", "XPK-CONTAINER-NO-BY-PATH"),
    look=look,
    concerns="containers of serving engines",
    order=541,
)
