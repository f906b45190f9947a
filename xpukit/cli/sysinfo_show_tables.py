"""What `xpukit sysinfo show BUNDLE` prints."""

from __future__ import annotations

from collections import Counter

from xpukit.cli.render import print_fields, print_table
from xpukit.core.units import format_bytes, format_seconds
from xpukit.sysinfo.collection import CollectorReport
from xpukit.sysinfo.opened import OpenedBundle

# What somebody else's machine said must not move the cursor or change colours.
CONTROLS = {code: "?" for code in (*range(32), 127, *range(128, 160)) if chr(code) not in "\n\t"}
# In a line of a list not begin another either.
_LINE_CONTROLS = {**CONTROLS, 9: " ", 10: " ", 13: " "}


def _clean(text: str) -> str:
    return text.translate(_LINE_CONTROLS)


def print_contents(opened: OpenedBundle, *, color: bool) -> None:
    """Where it comes from, its files, and a line a collector."""
    manifest = opened.manifest
    report = opened.report
    fields = (
        ("machine", manifest.host),
        ("made", f"{manifest.created} by xpukit {manifest.xpukit_version}"),
        ("with", " ".join(manifest.command)),
        ("complete", "yes" if manifest.complete else "no, it was cut short"),
        ("redacted", "" if report is None else "yes" if report.redacted else "no"),
        ("answers for", ", ".join(manifest.covers)),
        ("files", ", ".join(f"{name} {format_bytes(size)}" for name, size in opened.list_documents())),
    )
    print_fields(str(opened.path), tuple((name, _clean(value)) for name, value in fields), color=color)
    if report is None:
        kinds = Counter(question[0] for question in opened.questions)
        print(
            f"{len(opened.questions)} questions: "
            + ", ".join(f"{count} {_clean(kind)}" for kind, count in kinds.items())
        )
        return
    collection = report.collection
    rows = [_describe_report(one) for one in collection.reports]
    print_table(
        "", ("collector", "status", "answers", "failed", "size", "time", ""), rows, color=color, right=(2, 3, 4, 5)
    )
    print("--entries lists the questions, --failed those without an answer; WHAT prints one answer")


def _describe_report(report: CollectorReport) -> tuple[str, ...]:
    said = "; ".join(text for text in (report.detail, *report.notes) if text)
    return (
        _clean(report.name),
        report.status,
        str(len(report.entries)),
        str(len(report.failed)),
        format_bytes(report.size_bytes),
        format_seconds(report.seconds),
        _clean(said),
    )


def print_entries(opened: OpenedBundle, *, only_failed: bool) -> None:
    """A line a question, for grep: collector, status, size, question, detail."""
    if opened.report is None:
        print("a plain recording: it has no list of contents")
        return
    for report in opened.report.collection.reports:
        for entry in report.failed if only_failed else report.entries:
            detail = f"  ({entry.detail})" if entry.detail else ""
            print(_clean(f"{report.name}  {entry.status}  {entry.size_bytes}  {entry.what}{detail}"))
