"""The processors' clock governor."""

from __future__ import annotations

from collections.abc import Iterable

from xpukit.core.finding import Evidence, Finding, Unchecked
from xpukit.doctor.check import Check, Patient

_PATH = "/sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
# Drivers under which "powersave" is the usual governor and still raises clocks under load.
_SELF_GOVERNING = ("intel_pstate", "amd-pstate-epp", "amd_pstate_epp")


def look(patient: Patient) -> Iterable[Finding | Unchecked]:
    """A governor other than performance on a machine with GPUs."""
    cpu = patient.machine.cpu
    if not patient.machine.devices or not cpu.governor or cpu.governor == "performance":
        return
    mild = cpu.frequency_driver in _SELF_GOVERNING or "powersave" not in cpu.governor
    yield Finding(
        id="XPK-CPU-GOVERNOR",
        severity="info" if mild else "warning",
        summary=f"the processors' clock governor is {cpu.governor}, not performance",
        evidence=(
            Evidence(source=_PATH, value=cpu.governor),
            *((Evidence(source="scaling_driver", value=cpu.frequency_driver),) if cpu.frequency_driver else ()),
        ),
        explanation="Small transfers, kernel launches and collectives wait for one processor core each; a core that "
        "clocks down between them makes latencies longer and measurements uneven.",
        remedy=("set the governor to performance; it lasts until the next boot",),
        commands=("echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor >/dev/null",),
        links=("https://docs.kernel.org/admin-guide/pm/cpufreq.html",),
    )


CHECK = Check(
    name="governor",
    summary="the processors' clock governor",
    ids=("XPK-CPU-GOVERNOR",),
    look=look,
    concerns="machines with an Intel GPU",
    order=510,
)
