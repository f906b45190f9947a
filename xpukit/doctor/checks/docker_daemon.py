"""Whether Docker and podman answer this user: what could not be asked is said once, for all container checks."""

from __future__ import annotations

from collections.abc import Iterable

from xpukit.core.finding import Evidence, Finding, Unchecked
from xpukit.doctor.check import Check, Patient
from xpukit.doctor.containers import list_ps_argv, look_at_containers


def look(patient: Patient) -> Iterable[Finding | Unchecked]:
    """A client without a daemon, or one that refuses this user. Not installed: nothing to say."""
    view = look_at_containers(patient)
    for tool in view.unrecorded:
        if patient.machine.devices and patient.find_software("Docker client") and tool == "docker":
            yield Unchecked(
                check="docker_daemon",
                why="containers: this recording holds no list of them",
                remedy="make a bundle with this version: xpukit sysinfo",
            )
    for tool, why in view.failures.items():
        if not patient.machine.devices:
            continue
        evidence = (Evidence(source=" ".join(list_ps_argv(tool)), value=why),)
        if why == "denied":
            yield Finding(
                id="XPK-DOCKER-DENIED",
                severity="warning",
                summary=f"{tool} is installed, but this user may not use its daemon",
                evidence=evidence,
                explanation="Serving containers can then be started with sudo only, and the checks of containers "
                "see nothing. Membership in the group docker is as good as root on this machine.",
                remedy=("add this user to the group docker, then log in again",),
                commands=('sudo usermod -aG docker "$USER"',),
                links=("https://docs.docker.com/engine/install/linux-postinstall/",),
                subject=tool,
            )
            yield Unchecked(check="docker_daemon", why="containers: permission denied", remedy="sudo xpukit doctor")
        elif why == "not running":
            # No daemon, no containers: nothing is left unchecked.
            yield Finding(
                id="XPK-DOCKER-NOT-RUNNING",
                severity="info",
                summary=f"{tool} is installed, but its daemon does not run",
                evidence=evidence,
                explanation="No container can be started until it does.",
                remedy=("start it, and let it start at boot",),
                commands=("sudo systemctl enable --now docker",),
                links=("https://docs.docker.com/engine/daemon/start/",),
                subject=tool,
            )
        else:
            yield Unchecked(check="docker_daemon", why=f"containers: {why}", remedy=f"see: {tool} info")


CHECK = Check(
    name="docker_daemon",
    summary="Docker or podman answers this user",
    ids=("XPK-DOCKER-DENIED", "XPK-DOCKER-NOT-RUNNING"),
    look=look,
    concerns="machines with Docker or podman and an Intel GPU",
    order=540,
)
