"""What differs between two machines, or one before and after."""

from __future__ import annotations

from xpukit.facts.diff_rules import DiffRules, load_diff_rules
from xpukit.sysinfo.diff_answers import compare_answers, name_question
from xpukit.sysinfo.diff_machine import (
    compare_devices,
    compare_findings,
    compare_hardware,
    compare_stack,
    list_package_names,
)
from xpukit.sysinfo.diff_result import AREAS, Side, SysinfoDiff
from xpukit.sysinfo.diff_settings import compare_packages, compare_settings


def compare_sides(a: Side, b: Side, rules: DiffRules | None = None) -> SysinfoDiff:
    """All differences, most important first. Nothing is a difference that only one side was asked."""
    rules = rules or load_diff_rules()
    found = [
        *compare_stack(a.machine, b.machine),
        *compare_packages(a, b, rules, list_package_names(a.machine, b.machine)),
        *compare_settings(a, b, rules),
        *compare_devices(a.machine, b.machine),
        *compare_findings(a, b),
        *compare_hardware(a.machine, b.machine),
    ]
    answers, compared = compare_answers(a.answers, b.answers, rules)
    counts = [
        sum(question not in other.answers and not rules.skips(name_question(question)) for question in side.answers)
        for side, other in ((a, b), (b, a))
    ]
    return SysinfoDiff(
        same=not answers and all(one.kind == "unread" for one in found),
        a=a.info,
        b=b.info,
        differences=tuple(sorted(found, key=lambda one: (AREAS.index(one.area), one.kind == "unread"))),
        answers=answers,
        answers_compared=compared,
        only_in_a=counts[0],
        only_in_b=counts[1],
        notes=tuple(_list_notes(a, b)),
    )


def _list_notes(a: Side, b: Side) -> list[str]:
    notes: list[str] = []
    for name, side in (("A", a), ("B", b)):
        if not side.info.complete:
            notes.append(f"{name} was cut short: some of its answers may be missing")
    if a.info.xpukit_version != b.info.xpukit_version:
        notes.append(
            f"A was made by xpukit {a.info.xpukit_version}, B by {b.info.xpukit_version}: they may ask differently"
        )
    live = next((name for name, side in (("A", a), ("B", b)) if side.info.live), "")
    if live:
        notes.append(f"{live} is this machine now: commands of the bundle were not run again, files were read again")
    return notes
