"""A diagnosis on the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from xpukit.cli.render import make_console, print_table
from xpukit.core.finding import SEVERITY_ORDER, Finding
from xpukit.doctor.check import Check
from xpukit.doctor.fix_script import flatten
from xpukit.doctor.report import Report

_STYLES = {"critical": "bold red", "warning": "yellow", "info": "cyan"}
# A value longer than this is a log or a dump: the terminal shows its beginning, JSON and the bundle the whole.
_MOST_VALUE = 300


def print_report(report: Report, hostname: str, *, color: bool, brief: bool) -> None:
    """Findings worst first, what could not be checked, and the count in one line."""
    console = make_console(color=color)
    for alike in fold_findings(report.findings):
        finding = alike[0]
        more = f" and {len(alike) - 1} more" if len(alike) > 1 else ""
        subject = f" {flatten(finding.subject)}{more}" if finding.subject else ""
        head = f"{finding.severity:<8} {finding.id}{subject}: {flatten(finding.summary)}"
        console.print(head, style=_STYLES[finding.severity] if color else None)
        if not brief:
            if more:
                console.print(f"    {'also:':<10}{' '.join(flatten(other.subject) for other in alike[1:])}")
            for name, text in _describe(finding):
                console.print(f"    {name + ':':<10}{text}")
            console.print()
    if report.unchecked:
        if not brief:
            console.print("Could not be checked", style="bold" if color else None)
        for item in report.unchecked:
            remedy = f" (would help: {flatten(item.remedy)})" if item.remedy and not brief else ""
            console.print(f"{'unchecked' if brief else ' '} {item.check}: {flatten(item.why)}{remedy}")
        if not brief:
            console.print()
    worst = report.findings[0].severity if report.findings else ""
    console.print(summarize(report, hostname), style=_STYLES.get(worst) if color else None)


def fold_findings(findings: Sequence[Finding]) -> list[list[Finding]]:
    """Findings that say the same of several subjects (eight cards with one old firmware) stand together."""
    folded: dict[tuple[str, ...], list[Finding]] = {}
    for number, finding in enumerate(findings):
        said = finding.summary.replace(finding.subject, "") if finding.subject else f"#{number}"
        folded.setdefault((finding.severity, finding.id, said), []).append(finding)
    return list(folded.values())


def _describe(finding: Finding) -> list[tuple[str, str]]:
    """What stands below a finding's headline: evidence, why, remedy, commands, links."""
    rows = [("evidence", f"{flatten(item.source)}: {_shorten(item.value)}") for item in finding.evidence]
    if finding.explanation:
        rows.append(("why", flatten(finding.explanation)))
    if finding.concerns:
        rows.append(("concerns", flatten(finding.concerns)))
    rows += [("do", flatten(step)) for step in finding.remedy]
    # Where the remedy has the command in its words, it needs no second line.
    said = "\n".join(finding.remedy)
    rows += [("command", flatten(command)) for command in finding.commands if command not in said]
    rows += [("see", flatten(link)) for link in finding.links]
    return rows


def _shorten(value: str) -> str:
    text = flatten(value)
    return text if len(text) <= _MOST_VALUE else f"{text[:_MOST_VALUE]} ... ({len(text)} characters)"


def summarize(report: Report, hostname: str) -> str:
    """'desktop: 1 critical, 2 warning; 1 not checked; 1 accepted (XPK-…); 31 checks'."""
    counts = Counter[str](finding.severity for finding in report.findings)
    said = ", ".join(f"{counts[severity]} {severity}" for severity in SEVERITY_ORDER if counts[severity])
    parts = [said or "nothing found"]
    if report.unchecked:
        parts.append(f"{len(report.unchecked)} not checked")
    if report.ignored:
        names = ", ".join(dict.fromkeys(finding.id for finding in report.ignored))
        parts.append(f"{len(report.ignored)} accepted ({names})")
    parts.append(f"{len(report.checks)} check{'s' if len(report.checks) != 1 else ''}")
    return f"{hostname or 'this machine'}: " + "; ".join(parts)


def print_checks(checks: Sequence[Check], *, color: bool) -> None:
    """The checks there are, what each is about and the ids it can give."""
    rows = [(one.name, one.summary, one.concerns, " ".join(one.ids)) for one in checks]
    print_table("", ("check", "looks at", "concerns", "findings"), rows, color=color)
