"""What the checks of GPUs and their links share: which devices are meant, and how a finding of `probe` is explained."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from xpukit.core.finding import Evidence, Finding, Severity, Unchecked
from xpukit.core.machine import Device
from xpukit.doctor.check import Patient

SYS = "/sys/bus/pci/devices"
COMPUTE_DRIVERS = ("xe", "i915")
KERNEL_ARGUMENTS = "https://docs.kernel.org/admin-guide/kernel-parameters.html"
_DENIED = frozenset({"EACCES", "EPERM"})


def list_cards(patient: Patient) -> list[Device]:
    """Discrete GPUs (and those of which that is not known), without virtual functions."""
    return [
        device for device in patient.machine.devices if device.discrete is not False and not device.virtual_function
    ]


def list_serving_cards(patient: Patient) -> list[Device]:
    """Those of them that a compute driver has: what programs of this machine can use."""
    return [device for device in list_cards(patient) if device.driver in COMPUTE_DRIVERS]


def is_vm(patient: Patient) -> bool:
    """Whether this is a virtual machine, as far as probe can tell."""
    return bool(patient.machine.platform.get("vm"))


def is_container(patient: Patient) -> bool:
    """Whether we run in a container."""
    return bool(patient.machine.platform.get("container"))


def list_found(patient: Patient, *ids: str) -> list[Finding]:
    """The findings of probe with one of these ids."""
    return [found for found in patient.machine.findings if found.id in ids]


def find_device(patient: Patient, bdf: str) -> Device | None:
    """The device at an address."""
    return next((device for device in patient.machine.devices if device.bdf == bdf), None)


def explain(
    found: Finding,
    *,
    explanation: str,
    concerns: str = "",
    commands: Sequence[str] = (),
    links: Sequence[str] = (),
    remedy: Sequence[str] = (),
    evidence: Iterable[Evidence] = (),
    severity: Severity | None = None,
) -> Finding:
    """A finding of probe, told at length. It keeps its id, subject and summary; what is given is added to it."""
    return msgspec.structs.replace(
        found,
        severity=severity or found.severity,
        explanation=explanation,
        concerns=concerns or found.concerns,
        commands=(*found.commands, *commands),
        links=(*found.links, *(link for link in links if link not in found.links)),
        remedy=(*found.remedy, *(step for step in remedy if step not in found.remedy)),
        evidence=(*found.evidence, *evidence),
    )


def report_denied(check: str, path: str, error: str, gains: str) -> Iterable[Unchecked]:
    """The row for a file that only root may read; nothing for a file that is not there. `gains`: what it would tell."""
    if error in _DENIED:
        yield Unchecked(check=check, why=f"{path}: permission denied", remedy=f"run as root: it would tell {gains}")
    elif error == "UNRECORDED":
        yield Unchecked(
            check=check, why=f"{path}: not in this recording", remedy="record again with this version of xpukit"
        )
