"""The comparison of two bundles on the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from xpukit.cli.render import make_console, print_table
from xpukit.doctor.fix_script import flatten
from xpukit.sysinfo.diff_result import AREAS, Difference, SideInfo, SysinfoDiff

_TITLES = {
    "stack": "Stack",
    "settings": "Settings",
    "devices": "Devices and links",
    "findings": "Findings",
    "hardware": "Hardware",
}
_STYLES = {"added": "green", "removed": "red", "changed": "yellow", "unread": "dim"}
_MOST_ROWS = 40
_MOST_ANSWERS = 15
_MOST_CHARS = 120


def print_diff(result: SysinfoDiff, *, color: bool, verbose: int) -> None:
    """A table for each area that differs, the answers that differ, and the verdict in one line; -v shows all."""
    console = make_console(color=color)
    for name, side in (("A", result.a), ("B", result.b)):
        console.print(f"{name}: {describe_side(side)}")
    console.print()
    for area in AREAS:
        rows = merge_devices([one for one in result.differences if one.area == area])
        shown = rows if verbose else rows[:_MOST_ROWS]
        if rows:
            more = f" ({len(shown)} of {len(rows)}; -v or --json for all)" if len(shown) < len(rows) else ""
            print_table(
                _TITLES[area] + more,
                ("", "what", "of", "A", "B"),
                [_describe_row(one, subjects, verbose=verbose) for one, subjects in shown],
                color=color,
                styles=[_STYLES[one.kind] for one, _ in shown],
            )
    _print_answers(result, color=color, verbose=verbose)
    for note in result.notes:
        console.print(f"note: {note}")
    console.print(summarize_diff(result))


def describe_side(side: SideInfo) -> str:
    """'desktop at 2026-11-21T00:00:00Z (a.tar.zst)'."""
    where = side.source or "this machine, now"
    return f"{flatten(side.host) or 'unnamed host'} at {side.created} ({where})"


def merge_devices(differences: Sequence[Difference]) -> list[tuple[Difference, list[str]]]:
    """The same change of several devices as one row with all their addresses."""
    merged: dict[tuple[str, str, str, str], tuple[Difference, list[str]]] = {}
    for one in differences:
        entry = merged.setdefault((one.kind, one.what, one.old, one.new), (one, []))
        if one.subject:
            entry[1].append(one.subject)
    return list(merged.values())


def _describe_row(one: Difference, subjects: Sequence[str], *, verbose: int) -> tuple[str, ...]:
    many = len(subjects) > 2 and not verbose
    of = f"{subjects[0]} and {len(subjects) - 1} more" if many else ", ".join(subjects)
    sign = {"added": "+", "removed": "-", "changed": "~", "unread": "?"}[one.kind]
    absent = "(not read)" if one.kind == "unread" else ""
    return (sign, flatten(one.what), flatten(of), _cut(one.old or absent, verbose), _cut(one.new or absent, verbose))


def _cut(text: str, verbose: int) -> str:
    plain = flatten(text)
    return plain if verbose or len(plain) <= _MOST_CHARS else f"{plain[:_MOST_CHARS]} ..."


def _print_answers(result: SysinfoDiff, *, color: bool, verbose: int) -> None:
    if not result.answers:
        return
    console = make_console(color=color)
    shown = result.answers if verbose else result.answers[:_MOST_ANSWERS]
    more = f" ({len(shown)} of {len(result.answers)}; -v or --json for all)" if len(shown) < len(result.answers) else ""
    console.print(f"Other answers that differ{more}", style="bold" if color else None)
    for one in shown:
        console.print(f"  {_cut(one.question, verbose)}: {one.lines_a} lines only in A, {one.lines_b} only in B")
        if verbose:
            for line in one.sample:
                console.print(f"      {flatten(line)}")
    console.print()


def summarize_diff(result: SysinfoDiff) -> str:
    """'12 differences; 3 of 240 other answers differ'."""
    unread = sum(one.kind == "unread" for one in result.differences)
    parts = [
        f"{len(result.differences) - unread or 'no'} difference{'s' if len(result.differences) - unread != 1 else ''}"
    ]
    if unread:
        parts.append(f"{unread} read on one side only")
    if result.answers_compared:
        parts.append(f"{len(result.answers)} of {result.answers_compared} other answers differ")
    # A machine that is looked at now is not asked what the bundle was: that says nothing of it.
    if (result.only_in_a or result.only_in_b) and not (result.a.live or result.b.live):
        parts.append(f"asked on one side only: {result.only_in_a} in A, {result.only_in_b} in B")
    return "; ".join(parts)
