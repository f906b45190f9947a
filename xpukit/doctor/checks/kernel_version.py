"""The running kernel against those that somebody tested with these GPUs."""

from __future__ import annotations

from collections.abc import Iterable

from xpukit.core.finding import Evidence, Finding, Unchecked
from xpukit.doctor.check import Check, Patient
from xpukit.facts.stack_versions import VersionFacts, is_kernel_older, list_versions


def look(patient: Patient) -> Iterable[Finding | Unchecked]:
    """A kernel that is none of the tested ones. Not a fault: an untested kernel mostly works."""
    release = patient.find_software("kernel")
    rows: dict[str, VersionFacts] = {}
    for device in patient.machine.devices:
        for row in list_versions(device.vendor_id, device.device_id, "kernel"):
            if row.kind == "tested":
                rows.setdefault(row.version, row)
    if not release or not rows or any(is_tested(release, row) for row in rows.values()):
        return
    if any(is_kernel_older(release, row.version, row.flavour) for row in rows.values()):
        return  # the check of the driver says so, as a warning
    names = [describe(row) for row in rows.values()]
    first = next(iter(rows.values()))
    yield Finding(
        id="XPK-KERNEL-UNTESTED",
        severity="info",
        summary=f"kernel {release} is not one that was tested with these GPUs: {', '.join(names)}",
        evidence=(
            Evidence(source="/proc/sys/kernel/osrelease", value=release),
            *(
                Evidence(source=f"{row.source}, {row.date}", value=f"{describe(row)}: {row.note}")
                for row in rows.values()
            ),
        ),
        explanation="An untested kernel mostly works. It is the first thing to rule out when results differ from "
        "published ones or from another machine's.",
        remedy=("keep it while all is well; to rule it out, boot a tested one and compare: xpukit sysinfo diff",),
        links=tuple(dict.fromkeys(row.link for row in rows.values() if row.link)),
        concerns=f"{first.note}" if len(rows) == 1 else "",
    )


def describe(row: VersionFacts) -> str:
    """'6.14.0-1011-intel'."""
    return f"{row.version}-{row.flavour}" if row.flavour else row.version


def is_tested(release: str, row: VersionFacts) -> bool:
    """Whether this is the tested kernel itself (its build included, as far as the row names one)."""
    return release == describe(row) or (not row.flavour and release.startswith(row.version))


CHECK = Check(
    name="kernel_version",
    summary="the running kernel against the tested ones",
    ids=("XPK-KERNEL-UNTESTED",),
    look=look,
    concerns="GPUs for which a tested kernel is known",
    order=512,
)
