"""Runs all checks over one machine. Never raises for what the machine says."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from xpukit.core.finding import Finding, Unchecked, sort_findings
from xpukit.core.machine import Machine
from xpukit.doctor.check import Check, Patient
from xpukit.doctor.registry import list_checks
from xpukit.facts.doctor_install_steps import load_install_steps
from xpukit.facts.doctor_probe_findings import load_probe_findings
from xpukit.host.door import Host


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """What `xpukit doctor` found (`xpukit.doctor/1`): findings worst first, and what could not be checked."""

    findings: tuple[Finding, ...] = ()
    unchecked: tuple[Unchecked, ...] = ()
    checks: tuple[str, ...] = ()


def examine_machine(host: Host, machine: Machine, *, checks: Sequence[Check] | None = None) -> Diagnosis:
    """The findings of `probe` and of all checks (or of `checks`), worst first."""
    patient = Patient(machine=machine, host=host)
    chosen = list_checks() if checks is None else tuple(checks)
    findings: dict[tuple[str, str], Finding] = {(found.id, found.subject): found for found in machine.findings}
    unchecked: list[Unchecked] = []
    for check in chosen:
        try:
            said = list(check.look(patient))
        except Exception as err:  # a defect of one check costs that check, and the report says so
            why = f"defect in xpukit: {type(err).__name__}: {err}"
            unchecked.append(
                Unchecked(check=check.name, why=why, remedy="please report it with a bundle (xpukit sysinfo)")
            )
            continue
        for item in said:
            if isinstance(item, Unchecked):
                unchecked.append(item)
            else:
                findings[(item.id, item.subject)] = item
    return Diagnosis(
        findings=sort_findings([_complete(found) for found in findings.values()]),
        unchecked=tuple(unchecked),
        checks=tuple(check.name for check in chosen),
    )


def _complete(found: Finding) -> Finding:
    """With what facts say of it: the step of `xpukit install`, and why it matters where only probe found it."""
    known = next((row for row in load_probe_findings() if row.covers(found.id)), None)
    if known is not None:
        found = msgspec.structs.replace(
            found,
            explanation=found.explanation or known.explanation,
            links=found.links or known.links,
            concerns=found.concerns or known.concerns,
        )
    step = load_install_steps().get(found.id, "")
    return msgspec.structs.replace(found, install_step=step) if step and not found.install_step else found
