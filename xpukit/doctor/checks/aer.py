"""PCIe errors that the ports between root and GPU counted since the machine started."""

from __future__ import annotations

from collections.abc import Iterable

from xpukit.core.finding import Evidence, Finding, Severity, Unchecked
from xpukit.doctor.check import Check, Patient
from xpukit.doctor.hardware import SYS, list_cards

_KINDS: dict[str, tuple[str, Severity, str]] = {
    "correctable": ("XPK-AER-CORRECTABLE", "info", "correctable"),
    "nonfatal": ("XPK-AER-NONFATAL", "warning", "uncorrectable"),
    "fatal": ("XPK-AER-FATAL", "critical", "fatal"),
}
_WHY: dict[str, str] = {
    "correctable": "the link sends such a packet again by itself, so no data is lost. A few since the start are usual; "
    "a number that grows under load means a bad seat, riser or slot, and costs bandwidth.",
    "nonfatal": "a transaction was lost. The driver may have seen a time-out or read all ones: engine resets and lost "
    "devices follow.",
    "fatal": "the link itself failed and was reset. The GPU was lost at that moment, with everything that ran on it.",
}
# The link gave up sending a packet again and trained anew (REPLAY_NUM rollover): more than noise.
_RETRAINED = "Rollover"
_DOCS = "https://docs.kernel.org/PCI/pcieaer-howto.html"


def look_at_errors(patient: Patient) -> Iterable[Finding | Unchecked]:
    """One finding for each port and kind; a port above several GPUs is told once."""
    counted: dict[tuple[str, str], dict[str, int]] = {}
    below: dict[str, list[str]] = {}
    for device in list_cards(patient):
        for key, count in device.aer.items():
            bdf, _, rest = key.partition("/")
            kind, _, name = rest.partition("/")
            if name and kind in _KINDS:
                counted.setdefault((bdf, kind), {})[name] = count
                if device.bdf not in below.setdefault(bdf, []):
                    below[bdf].append(device.bdf)
    for (bdf, kind), names in sorted(counted.items()):
        yield _report_port(bdf, kind, names, below[bdf])


def _report_port(bdf: str, kind: str, names: dict[str, int], gpus: list[str]) -> Finding:
    identifier, severity, word = _KINDS[kind]
    if kind == "correctable" and _RETRAINED in names:
        severity = "warning"
    count = sum(names.values())
    where = "" if gpus == [bdf] else f" on the way to {', '.join(gpus)}"
    path = f"{SYS}/{bdf}/aer_dev_{kind}"
    return Finding(
        id=identifier,
        severity=severity,
        summary=f"{bdf}{where} counted {count} {word} PCIe error{'s' * (count != 1)} since the machine started",
        evidence=tuple(Evidence(source=path, value=f"{name} {number}") for name, number in sorted(names.items())),
        explanation=_WHY[kind],
        concerns="discrete GPUs; a port counts what it saw, its partner on the link may be the cause",
        remedy=(
            "read it again under load: does it grow?",
            "seat card and riser again, clean the contacts, try another slot; then limit the slot to a lower link "
            "speed in the BIOS to see whether the errors stop",
            "what the kernel said: sudo dmesg | grep -iE 'aer|pcieport'",
        ),
        commands=(f"cat {path}",),
        links=(_DOCS,),
        subject=bdf,
    )


CHECK = Check(
    name="aer",
    summary="no PCIe errors between root and GPU",
    ids=tuple(identifier for identifier, _, _ in _KINDS.values()),
    look=look_at_errors,
    concerns="discrete GPUs",
    order=230,
)
