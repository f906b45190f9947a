"""Whether a container's user may open the render nodes that it was given."""

from __future__ import annotations

from collections.abc import Iterable

from xpukit.core.finding import Evidence, Finding, Unchecked
from xpukit.doctor.check import Check, Patient
from xpukit.doctor.containers import list_serving, rewrite_run


def look(patient: Patient) -> Iterable[Finding | Unchecked]:
    """Containers whose user is not root, and not in the group that owns the nodes on the host."""
    owners = read_owners(patient)
    for tool, container in list_serving(patient):
        user = container.user.partition(":")[0]
        if not container.nodes or container.privileged or container.keeps_groups or user in ("", "0", "root"):
            continue
        own_group = container.user.partition(":")[2]
        held = {*container.groups, own_group} - {""}
        lacking = [(number, name) for number, name in owners if number not in held and (name not in held or name == "")]
        if not owners or not lacking:
            continue
        number, name = lacking[0]
        yield Finding(
            id="XPK-CONTAINER-NO-GROUP",
            severity="warning",
            summary=f"container {container.name} runs as {container.user}, which may not open the render nodes",
            evidence=(
                Evidence(
                    source=f"{tool} inspect {container.name}: Config.User, HostConfig.GroupAdd",
                    value=f"user {container.user}; groups {' '.join(container.groups) or 'none added'}",
                ),
                Evidence(source="/dev/dri/renderD*", value=f"group {name or number} ({number}) on the host"),
            ),
            explanation="Only the number of a group counts across the border of a container; a group render inside "
            "the image mostly has another number than the host's.",
            remedy=(rewrite_run(container, f"--group-add {number}"),),
            links=("https://github.com/open-edge-platform/geti-instant-learn/issues/583",),
            subject=container.name,
        )


def read_owners(patient: Patient) -> tuple[tuple[str, str], ...]:
    """(number, name) of the groups that own the render nodes; nodes that anybody may write are left out."""
    found: dict[str, str] = {}
    for device in patient.machine.devices:
        stat = patient.host.stat(device.render_node) if device.render_node else None
        if stat is not None and not stat.error and stat.gid > 0 and not stat.mode & 0o006:
            found[str(stat.gid)] = stat.group
    return tuple(sorted(found.items()))


CHECK = Check(
    name="container_groups",
    summary="a container's user may open the render nodes",
    ids=("XPK-CONTAINER-NO-GROUP",),
    look=look,
    concerns="containers of serving engines whose user is not root",
    order=544,
)
