"""The document that `xpukit doctor` prints (`xpukit.doctor/1`), and what findings mean for its exit code."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from xpukit.core.errors import ExitCode, UsageError
from xpukit.core.finding import Finding, Unchecked
from xpukit.doctor.examine import Diagnosis


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Findings worst first, what could not be checked, which checks looked, and findings the user accepted.

    `checks` has "probe" for what `xpukit probe` itself concludes.
    """

    findings: tuple[Finding, ...] = ()
    unchecked: tuple[Unchecked, ...] = ()
    checks: tuple[str, ...] = ()
    ignored: tuple[Finding, ...] = ()


class Acceptance(msgspec.Struct, frozen=True, kw_only=True):
    """A finding that the user accepts: its id, everywhere or (`subject`) for one device, container or file."""

    id: str
    subject: str = ""

    def covers(self, finding: Finding) -> bool:
        return self.id == finding.id and self.subject in ("", finding.subject)


def parse_acceptance(text: str) -> Acceptance:
    """'XPK-ID' or 'XPK-ID@SUBJECT'. Raises UsageError."""
    name, _, subject = text.strip().partition("@")
    if not name.upper().startswith("XPK-") or len(name) < 5:
        raise UsageError(f"{text!r} is no finding's id", hint="ids look like XPK-PROBE-NO-GPU: xpukit doctor --brief")
    return Acceptance(id=name.upper(), subject=subject)


def build_report(diagnosis: Diagnosis, accepted: Sequence[Acceptance] = ()) -> Report:
    """A diagnosis, with accepted findings set aside."""
    ignored = tuple(one for one in diagnosis.findings if any(item.covers(one) for item in accepted))
    return Report(
        findings=tuple(one for one in diagnosis.findings if one not in ignored),
        unchecked=diagnosis.unchecked,
        checks=diagnosis.checks,
        ignored=ignored,
    )


def judge_report(report: Report) -> ExitCode:
    """1 with a critical finding, else 3 when something could not be checked, else 0."""
    if any(one.severity == "critical" for one in report.findings):
        return ExitCode.JUDGED_FAILING
    return ExitCode.COULD_NOT_JUDGE if report.unchecked else ExitCode.OK
