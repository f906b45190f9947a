"""What the kernel said about the GPUs and the links to them since this machine started."""

from __future__ import annotations

from collections.abc import Iterable

from xpukit.core.finding import Finding, Unchecked
from xpukit.doctor.check import Check, Patient
from xpukit.doctor.log_findings import explain_output, list_ids, make_finding
from xpukit.facts.known_errors import SourceKind
from xpukit.facts.sysinfo import load_inquiry
from xpukit.host.answers import Ran

_KINDS: tuple[SourceKind, ...] = ("kernel",)
_TIMEOUT_S = 20.0
_LIMIT_BYTES = 1 << 20
# The same questions as the bundle's: what one has recorded answers here.
_DMESG = ["dmesg"]
# Other devices have PCIe errors, too; only those of a GPU or of a port above one concern us.
_ANY_DEVICE = frozenset(
    {"XPK-LOG-AER-CORRECTED", "XPK-LOG-AER-UNCORRECTED", "XPK-LOG-PCIE-INACCESSIBLE", "XPK-LOG-DMAR-FAULT"}
)


def look_at_kernel_log(patient: Patient) -> Iterable[Finding | Unchecked]:
    """dmesg, or the journal where dmesg is closed to this user."""
    if not patient.machine.devices:
        return
    ran = patient.host.run(_DMESG, timeout_s=_TIMEOUT_S, limit_bytes=_LIMIT_BYTES)
    where = "dmesg"
    if not ran.ok or not ran.out.strip():
        refused = ran
        ran = patient.host.run(list_journal_argv(), timeout_s=_TIMEOUT_S, limit_bytes=_LIMIT_BYTES)
        where = "journalctl -k"
        if not ran.ok or not _says_something(ran):
            yield _report_unread(refused)
            return
    ours = {device.bdf for device in patient.machine.devices}
    ours |= {key.partition("/")[0] for device in patient.machine.devices for key in device.aer}
    for match in explain_output(where, ran.out, _KINDS).matches:
        named = match.values.get("device", ())
        concerned = [bdf for bdf in named if _is_among(bdf, ours)]
        if match.severity == "info" or (named and not concerned and match.id in _ANY_DEVICE):
            continue
        yield make_finding(match, subject=", ".join(concerned or named), where=where)


def list_journal_argv() -> list[str]:
    """This boot's kernel messages about the GPU stack, asked the way the bundle's collector asks."""
    pattern = "|".join(load_inquiry("kernel_log").words("patterns"))
    return ["journalctl", "-k", "-b", "0", "--no-pager", "-o", "short-precise", "--grep", pattern]


def _is_among(bdf: str, ours: set[str]) -> bool:
    # The IOMMU leaves the domain out.
    return bdf in ours or f"0000:{bdf}" in ours


def _says_something(ran: Ran) -> bool:
    return any(line and not line.startswith(b"-- ") for line in ran.out.splitlines())


def _report_unread(ran: Ran) -> Unchecked:
    if ran.failure == "UNRECORDED":
        return Unchecked(check="kernel_log", why="the recording holds no kernel log", remedy="make a new bundle")
    return Unchecked(
        check="kernel_log",
        why=f"the kernel's log cannot be read: {ran.describe_failure()}",
        remedy="run xpukit doctor with sudo, or add the user to the groups adm and systemd-journal",
    )


CHECK = Check(
    name="kernel_log",
    summary="known errors in the kernel's log: resets, wedged GPUs, firmware, BAR, PCIe errors",
    ids=list_ids(_KINDS),
    look=look_at_kernel_log,
    concerns="machines with an Intel GPU",
    order=880,
)
