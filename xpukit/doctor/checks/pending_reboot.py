"""A newer kernel or driver is installed than the one that runs."""

from __future__ import annotations

import re
from collections.abc import Iterable

from xpukit.core.finding import Evidence, Finding, Unchecked
from xpukit.doctor.check import Check, Patient

_MARKS = ("/run/reboot-required", "/var/run/reboot-required")


def look(patient: Patient) -> Iterable[Finding | Unchecked]:
    """The distribution's own mark, else a newer kernel of the running one's flavour in /boot."""
    if not patient.machine.devices or patient.machine.platform.get("container"):
        return
    release = patient.find_software("kernel")
    mark = next((path for path in _MARKS if patient.host.exists(path)), "")
    packages = patient.host.read(f"{mark}.pkgs").text.split() if mark else []
    newer = find_newer(release, patient.host.list("/boot").names)
    if not mark and not newer:
        return
    kernels = sorted({name for name in packages if re.match(r"linux-|intel-|xpu-|libze|linux-firmware", name)})
    what = f"kernel {newer} is installed, {release} runs" if newer else "the system asks for a restart"
    yield Finding(
        id="XPK-PENDING-REBOOT",
        severity="warning" if newer or kernels else "info",
        summary=f"a restart is pending: {what}",
        evidence=(
            *((Evidence(source=mark, value=" ".join(kernels[:8]) or "present"),) if mark else ()),
            *((Evidence(source="/boot", value=f"vmlinuz-{newer}"),) if newer else ()),
            Evidence(source="/proc/sys/kernel/osrelease", value=release),
        ),
        explanation="Kernel driver and firmware of the GPUs stay those of the running kernel until then, while the "
        "libraries may be newer already; modules built for the new kernel cannot be loaded.",
        # No command: in the middle of --fix's script it would cut off what comes after it.
        remedy=("restart when nobody needs the machine: sudo systemctl reboot",),
        links=("https://www.freedesktop.org/software/systemd/man/latest/systemctl.html",),
    )


def find_newer(release: str, names: Iterable[str]) -> str:
    """The newest installed kernel of the same flavour that comes after the running one, "" when none does."""
    flavour = re.sub(r"^[\d.+~-]+", "", release)
    if not release:
        return ""
    installed = [name.removeprefix("vmlinuz-") for name in names if name.startswith("vmlinuz-")]
    same = [name for name in installed if re.sub(r"^[\d.+~-]+", "", name) == flavour and name[:1].isdigit()]
    newest = max(same, key=_order, default="")
    return newest if newest and _order(newest) > _order(release) else ""


def _order(release: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d{1,9}", release))


CHECK = Check(
    name="pending_reboot",
    summary="the running kernel is the installed one",
    ids=("XPK-PENDING-REBOOT",),
    look=look,
    concerns="machines with an Intel GPU",
    order=554,
)
