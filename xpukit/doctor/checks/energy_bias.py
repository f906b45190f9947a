"""The processors' energy settings: performance bias (EPB) and preference (EPP)."""

from __future__ import annotations

from collections.abc import Iterable

from xpukit.core.finding import Evidence, Finding, Unchecked
from xpukit.doctor.check import Check, Patient

_EPB = "/sys/devices/system/cpu/cpu*/power/energy_perf_bias"
_EPP = "/sys/devices/system/cpu/cpu*/cpufreq/energy_performance_preference"
# EPB counts from 0 (performance) over 6 (normal) to 15 (power saving); above normal it saves.
_NORMAL_BIAS = 6


def look(patient: Patient) -> Iterable[Finding | Unchecked]:
    """An energy setting other than performance on a machine with GPUs."""
    cpu = patient.machine.cpu
    if not patient.machine.devices:
        return
    bias, preference = cpu.energy_bias or 0, cpu.energy_preference
    slow_preference = bool(preference) and preference not in ("performance", "0")
    if not bias and not slow_preference:
        return
    saving = bias > _NORMAL_BIAS or any(word in preference.split() for word in ("power", "balance_power"))
    commands = []
    if bias:
        commands.append(f"echo 0 | sudo tee {_EPB} >/dev/null")
    if slow_preference:
        commands.append(f"echo performance | sudo tee {_EPP} >/dev/null")
    said = [f"bias {bias}"] if bias else []
    said += [f"preference {preference}"] if slow_preference else []
    yield Finding(
        id="XPK-CPU-ENERGY-BIAS",
        severity="warning" if saving else "info",
        summary=f"the processors are set to save energy: {', '.join(said)}",
        evidence=(
            *((Evidence(source=_EPB, value=str(bias)),) if bias else ()),
            *((Evidence(source=_EPP, value=preference),) if slow_preference else ()),
        ),
        explanation="With a bias towards saving, cores raise their clocks late; that costs latency in the host's part "
        "of serving. 0 is performance, 6 is the usual balance, 15 saves most.",
        remedy=("set it to performance; it lasts until the next boot. Some firmware overrides it: see the BIOS setup",),
        commands=tuple(commands),
        links=("https://docs.kernel.org/admin-guide/pm/intel_epb.html",),
    )


CHECK = Check(
    name="energy_bias",
    summary="the processors' energy bias and preference",
    ids=("XPK-CPU-ENERGY-BIAS",),
    look=look,
    concerns="machines with an Intel GPU",
    order=511,
)
