"""`summary.md` of a support bundle: what an issue needs, ready to paste into one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from xpukit.core.finding import Finding, Unchecked
from xpukit.core.machine import Machine
from xpukit.sysinfo.collection import Collection, CollectorReport
from xpukit.sysinfo.summary_tables import list_gpu_rows, list_link_rows, list_other_software, list_stack_rows
from xpukit.sysinfo.summary_text import as_block, as_code, as_html, as_row, as_text

# GitHub takes 65,536 characters; the rest is for what the writer of the issue says.
LIMIT_CHARS = 60_000
# What every part may have at least, however long the others are.
_SHARE_CHARS = 3_000
_COLLECTOR_ENTRIES = 5


class Diagnosed(Protocol):
    """What a diagnosis of `doctor` has."""

    @property
    def findings(self) -> tuple[Finding, ...]: ...

    @property
    def unchecked(self) -> tuple[Unchecked, ...]: ...


def build_summary(
    machine: Machine,
    diagnosis: Diagnosed,
    collection: Collection | None = None,
    *,
    images: Sequence[str] = (),
    bundle: str = "",
    limit_chars: int = LIMIT_CHARS,
) -> str:
    """Markdown of at most `limit_chars` characters; the same input, the same text. Below 4,000 tables are cut hard.

    `images` are the container images of the machine as 'name:tag', in the order to show them; `bundle` is the
    archive's name.
    """
    share = min(_SHARE_CHARS, limit_chars // 6)
    tail = _describe_opening(bundle)
    left = limit_chars - len(tail) - 3 * share
    head = _fit_lines(_describe_machine(machine, images), max(left - share, share), "rows")
    left -= len(head)
    findings = _fit_findings(diagnosis.findings, max(left, share))
    left += share - len(findings)
    unchecked = _fit_lines(_describe_unchecked(diagnosis.unchecked), max(left, share), "lines")
    left += share - len(unchecked)
    missing = _fit_lines(_describe_collection(collection), max(left, share), "lines")
    return "\n".join(part for part in (head, findings, unchecked, missing, tail) if part)


def _describe_machine(machine: Machine, images: Sequence[str]) -> list[str]:
    lines = ["### Machine", "", as_row(("part", "version")), "| --- | --- |"]
    lines += [as_row(row) for row in list_stack_rows(machine, images)]
    lines += ["", f"### GPUs ({len(machine.devices)})", ""]
    if machine.devices:
        lines += [as_row(("#", "address", "device", "driver", "memory", "BAR", "NUMA node", "render node"))]
        lines += ["| --: | --- | --- | --- | --- | --- | --- | --- |"]
        lines += [as_row(row) for row in list_gpu_rows(machine)]
        lines += ["", as_row(("GPU", "link now", "link possible", "limited by", "note"))]
        lines += ["| --- | --- | --- | --- | --- |"]
        lines += [as_row(row) for row in list_link_rows(machine)]
    else:
        lines.append("No Intel GPU on the PCI bus.")
    others = list_other_software(machine)
    if others:
        lines += ["", "<details><summary>Other software</summary>", ""]
        lines += [as_row(("part", "version")), "| --- | --- |", *(as_row(row) for row in others), "", "</details>"]
    return [*lines, ""]


def _fit_findings(findings: Sequence[Finding], limit_chars: int) -> str:
    """Worst first: whole while there is room, then one line each, then their number."""
    lines = [f"### Findings ({len(findings)})", ""]
    if not findings:
        return "\n".join((*lines, "None.", ""))
    left = limit_chars - len(lines[0]) - 80
    for done, finding in enumerate(findings):
        fold, brief = _describe_finding(finding), _name_finding(finding)
        chosen = next((text for text in (fold, f"- {brief}") if len(text) + 1 <= left), None)
        if chosen is None:
            lines.append(f"- and {len(findings) - done} more: `findings.json` in the bundle")
            break
        lines.append(chosen)
        left -= len(chosen) + 1
    return "\n".join((*lines, ""))


def _name_finding(finding: Finding) -> str:
    subject = f" ({as_code(finding.subject)})" if finding.subject else ""
    return f"**{finding.severity}** `{finding.id}`{subject} {as_text(finding.summary)}"


def _describe_finding(finding: Finding) -> str:
    subject = f" <code>{as_html(finding.subject)}</code>" if finding.subject else ""
    head = f"<b>{finding.severity}</b> <code>{finding.id}</code>{subject} {as_html(finding.summary)}"
    lines = [f"<details><summary>{head}</summary>", ""]
    if finding.explanation:
        lines += [as_text(finding.explanation, 1000), ""]
    lines += [f"- {as_code(item.source)}: {as_code(item.value) or '(empty)'}" for item in finding.evidence]
    lines += [f"- do: {as_text(step)}" for step in finding.remedy]
    # As code, so that the issues linked to do not get a reference from each report.
    lines += [f"- see: {as_code(link)}" for link in finding.links]
    if finding.commands:
        lines += ["", as_block(finding.commands, "sh")]
    return "\n".join((*lines, "", "</details>", ""))


def _describe_unchecked(unchecked: Sequence[Unchecked]) -> list[str]:
    if not unchecked:
        return []
    lines = [f"### Could not be checked ({len(unchecked)})", ""]
    for item in unchecked:
        remedy = f" (would help: {as_text(item.remedy)})" if item.remedy else ""
        lines.append(f"- `{item.check}`: {as_text(item.why)}{remedy}")
    return [*lines, ""]


def _describe_collection(collection: Collection | None) -> list[str]:
    """What is not in the bundle though this machine may have it, and why."""
    if collection is None:
        return []
    wanting = [report for report in collection.reports if report.status != "ok"]
    lines = ["### Collected", ""]
    who = "as root" if collection.root else "as an ordinary user"
    cut = "" if collection.complete else "; cut short, the bundle is incomplete"
    lines.append(
        f"Preset `{collection.preset}`, {who}: {collection.entry_count} answers, "
        f"{collection.failed_count} not had{cut}."
    )
    if wanting:
        lines += ["", "Not collected, or not all of it:", ""]
        lines += [line for report in wanting for line in _describe_report(report)]
    adding = [report for report in collection.reports if report.root_adds]
    if adding and not collection.root:
        lines += ["", "Root would add:", ""]
        lines += [f"- `{report.name}`: {as_text(report.root_adds)}" for report in adding]
    return [*lines, ""]


def _describe_report(report: CollectorReport) -> list[str]:
    detail = f": {as_text(report.detail)}" if report.detail else ""
    lines = [f"- `{report.name}` {report.status}{detail}"]
    for entry in report.failed[:_COLLECTOR_ENTRIES]:
        why = f" ({as_text(entry.detail, 120)})" if entry.detail else ""
        lines.append(f"  - {as_code(entry.what, 160)} {entry.status}{why}")
    if len(report.failed) > _COLLECTOR_ENTRIES:
        lines.append(f"  - and {len(report.failed) - _COLLECTOR_ENTRIES} more")
    return lines


def _describe_opening(bundle: str) -> str:
    name = bundle or "BUNDLE"
    commands = (
        f"xpukit --from {name} probe      # the machine as it was",
        f"xpukit --from {name} doctor     # findings with evidence",
        f"xpukit sysinfo diff {name} OTHER",
    )
    return "\n".join(("### Opening the bundle", "", as_block(commands, "sh"), ""))


def _fit_lines(lines: Sequence[str], limit_chars: int, what: str) -> str:
    """Whole lines up to the limit, and how many were left out. An open fold is closed."""
    kept: list[str] = []
    left = limit_chars - 100
    for done, line in enumerate(lines):
        if len(line) + 1 > left:
            if sum(one.startswith("<details>") for one in kept) > kept.count("</details>"):
                kept += ["", "</details>"]
            return "\n".join((*kept, "", f"({len(lines) - done} more {what}: in the bundle)", ""))
        kept.append(line)
        left -= len(line) + 1
    return "\n".join(kept)
