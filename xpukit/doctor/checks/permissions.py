"""May this user open the device nodes, and will that last?"""

from __future__ import annotations

from collections.abc import Iterable

from xpukit.core.finding import Evidence, Finding, Unchecked
from xpukit.doctor.check import Check, Patient
from xpukit.doctor.hardware import COMPUTE_DRIVERS, explain, find_device, list_found

_GROUPS = ("render", "video")
_DOCS = "https://dgpu-docs.intel.com/driver/installation.html"


def look_at_permissions(patient: Patient) -> Iterable[Finding | Unchecked]:
    """Explains denied and missing nodes; finds a user who got in by a seat's access list only, and open nodes."""
    denied = list_found(patient, "XPK-PROBE-NODE-DENIED")
    for found in denied:
        device = find_device(patient, found.subject)
        group = device.extra.get("node_access", {}).get("render", {}).get("group", "") if device else ""
        yield explain(
            found,
            explanation="Level Zero, OpenCL and PyTorch open the render node as the user who runs them. A user outside "
            "of its group gets no GPU, and most engines say only that none was found.",
            concerns="ordinary users, services and containers",
            commands=(f'sudo usermod -aG {group} "$USER"',) if group in _GROUPS else (),
            links=(_DOCS,),
        )
    for found in list_found(patient, "XPK-PROBE-NODE-MISSING"):
        yield explain(
            found,
            explanation="a container sees only the nodes that it was started with; the GPU is there, its node is not.",
            concerns="containers",
            remedy=("docker run --device /dev/dri -v /dev/dri/by-path:/dev/dri/by-path …",),
        )
    if not denied:
        yield from _find_borrowed_access(patient)
    yield from _find_open_nodes(patient)


def _find_borrowed_access(patient: Patient) -> Iterable[Finding]:
    """logind opens the nodes to whoever sits at the screen: the same user has no access over SSH or in a service."""
    devices = [device for device in patient.machine.devices if device.driver in COMPUTE_DRIVERS and device.render_node]
    groups = {
        str(access.get("group"))
        for device in devices
        if (access := device.extra.get("node_access", {}).get("render", {})) and access.get("mode", "")[-1:] == "0"
    }
    if not groups:
        return
    who = patient.host.identity()
    lacking = sorted(group for group in groups if group in _GROUPS and group not in who.groups)
    if who.error or who.uid == 0 or not lacking:
        return
    yield Finding(
        id="XPK-USER-NOT-IN-GROUP",
        severity="warning",
        summary=f"user {who.username} may open the GPUs now without being in the group {', '.join(lacking)}: "
        "an access list of this login session lets them in",
        evidence=(
            Evidence(source="groups of this user", value=", ".join(who.groups) or "none"),
            *(Evidence(source=device.render_node, value=f"group {lacking[0]}") for device in devices[:2]),
        ),
        explanation="the login manager opens device nodes to the user at the screen. Over SSH, in a service or after "
        "logging out, the same user is denied: a server that ran by hand does not start at boot.",
        concerns="ordinary users on machines with a desktop",
        remedy=("join the group and log in again",),
        commands=tuple(f'sudo usermod -aG {group} "$USER"' for group in lacking),
        links=(_DOCS,),
    )


def _find_open_nodes(patient: Patient) -> Iterable[Finding]:
    for device in patient.machine.devices:
        access = device.extra.get("node_access", {}).get("render", {})
        mode = str(access.get("mode", ""))
        if mode[-1:] in ("6", "7") and device.discrete is not False:
            yield Finding(
                id="XPK-NODE-OPEN-TO-ALL",
                severity="info",
                summary=f"{device.render_node} may be opened by every user of this machine (mode {mode})",
                evidence=(Evidence(source=device.render_node, value=f"mode {mode}"),),
                explanation="any program of any user can take GPU memory from the serving engine. Some distributions "
                "ship it so.",
                concerns="machines with several users",
                links=(_DOCS,),
                remedy=('a udev rule with GROUP="render", MODE="0660" for renderD* closes it',),
                subject=device.bdf,
            )


CHECK = Check(
    name="permissions",
    summary="this user may open the render nodes, also in a service",
    ids=("XPK-PROBE-NODE-DENIED", "XPK-PROBE-NODE-MISSING", "XPK-USER-NOT-IN-GROUP", "XPK-NODE-OPEN-TO-ALL"),
    look=look_at_permissions,
    concerns="any Intel GPU",
    order=130,
)
