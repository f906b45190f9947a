"""Turns what logs of this machine said into findings."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterator

from xpukit.core.finding import Evidence, Finding, Severity
from xpukit.doctor.log_report import LogMatch, LogReport
from xpukit.doctor.log_scan import scan_logs
from xpukit.doctor.signatures import Signatures
from xpukit.facts.known_errors import SourceKind, load_known_errors

_LINK = "https://github.com/{repository}/issues/{number}"


def list_ids(kinds: Collection[SourceKind]) -> tuple[str, ...]:
    """The ids that logs of these kinds can give."""
    return tuple(row.id for row in load_known_errors() if row.patterns and row.source_kind in kinds)


def explain_output(source: str, data: bytes, kinds: Collection[SourceKind]) -> LogReport:
    """Scan a command's output for the entries of these kinds."""
    rows = (row for row in load_known_errors() if row.source_kind in kinds)
    return scan_logs([(source, io.BytesIO(data))], signatures=Signatures(rows))


def make_findings(report: LogReport, *, subject: str, where: str) -> Iterator[Finding]:
    """A finding for each match that is more than information."""
    for match in report.matches:
        if match.severity != "info":
            yield make_finding(match, subject=subject, where=where)


def make_finding(match: LogMatch, *, subject: str, where: str, severity: Severity | None = None) -> Finding:
    """One match as a finding: its lines are the evidence."""
    times = f" ({match.count} times)" if match.count > 1 else ""
    evidence = tuple(Evidence(source=f"{where}, line {place.line}", value=place.text) for place in match.places)
    captured = tuple(
        Evidence(source=name, value=", ".join(values)) for name, values in match.values.items() if name != "device"
    )
    return Finding(
        id=match.id,
        severity=severity or match.severity,
        summary=f"{match.title}{times}",
        evidence=(*evidence, *captured),
        explanation=match.cause,
        concerns=" ".join(part for part in (match.product, match.versions) if part),
        remedy=match.remedy,
        commands=match.commands,
        links=tuple(make_link(reference) for reference in match.references),
        subject=subject,
    )


def make_link(reference: str) -> str:
    """A thread's address, or the reference as it is."""
    repository, mark, number = reference.partition("#")
    if mark and number.isdigit() and repository.count("/") == 1 and " " not in repository:
        return _LINK.format(repository=repository, number=number)
    return reference
