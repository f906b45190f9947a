"""What the containers that serve models may do: too little for oneCCL, or more than they need."""

from __future__ import annotations

from collections.abc import Iterable

from xpukit.core.finding import Evidence, Finding, Unchecked
from xpukit.doctor.check import Check, Patient
from xpukit.doctor.containers import list_serving, may_use_several, rewrite_run

_LINK = "https://github.com/uxlfoundation/oneCCL/issues/217"


def look(patient: Patient) -> Iterable[Finding | Unchecked]:
    """Each serving container."""
    for tool, container in list_serving(patient):
        source = f"{tool} inspect {container.name}: HostConfig.Privileged, CapAdd, SecurityOpt"
        if container.privileged:
            yield Finding(
                id="XPK-CONTAINER-PRIVILEGED",
                severity="info",
                summary=f"container {container.name} is privileged, which serving on GPUs does not need",
                evidence=(Evidence(source=source, value="privileged"),),
                explanation="A privileged container is as good as root on the host, and it sees every GPU whatever "
                "--device says. Guides use it for convenience.",
                remedy=(
                    rewrite_run(
                        container,
                        "--device /dev/dri",
                        "-v /dev/dri/by-path:/dev/dri/by-path",
                        "--cap-add SYS_PTRACE",
                        "--group-add (number of the group render)",
                    ).replace(" again with", " again without --privileged, with"),
                ),
                links=("https://docs.docker.com/engine/containers/run/#runtime-privilege-and-linux-capabilities",),
                subject=container.name,
            )
        elif container.has_gpu and not container.has_ptrace and may_use_several(container, patient):
            yield Finding(
                id="XPK-CONTAINER-NO-PTRACE",
                severity="warning",
                summary=f"container {container.name} lacks SYS_PTRACE, with which oneCCL passes GPU buffers between "
                "processes",
                evidence=(Evidence(source=source, value="no SYS_PTRACE, default seccomp profile"),),
                explanation="oneCCL hands a buffer to another process with pidfd_getfd. Docker's default profile "
                "forbids it; oneCCL then says 'pidfd is not supported, fallbacks to drmfd exchange mode' and may "
                "hang for ever, always when each process sees another GPU (ZE_AFFINITY_MASK).",
                remedy=(f"{rewrite_run(container, '--cap-add SYS_PTRACE')}, or --security-opt seccomp=unconfined",),
                links=(_LINK, "https://github.com/uxlfoundation/oneCCL/issues/213"),
                subject=container.name,
                concerns="several GPUs in one container (oneCCL 2021.15 and newer)",
            )


CHECK = Check(
    name="container_privileges",
    summary="what serving containers may do",
    ids=("XPK-CONTAINER-PRIVILEGED", "XPK-CONTAINER-NO-PTRACE"),
    look=look,
    concerns="containers of serving engines",
    order=543,
)
