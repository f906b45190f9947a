"""Tables and closing words of `xpukit sysinfo`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from xpukit.cli.render import print_table
from xpukit.cli.session import Session
from xpukit.core.units import format_bytes, format_seconds
from xpukit.sysinfo.collection import Estimate, SysinfoReport, estimate_bundle
from xpukit.sysinfo.collector import Collector

_SHOWN_FAILURES = 6
_SHOWN_CHARS = 100


def print_collectors(collectors: Sequence[Collector], chosen: Sequence[Collector], *, color: bool) -> None:
    """All collectors; a star marks those that would run."""
    rows = [
        (
            "*" if collector in chosen else "",
            collector.name,
            collector.preset,
            collector.summary,
            collector.root_adds,
        )
        for collector in collectors
    ]
    print_table("", ("", "collector", "preset", "what", "root adds"), rows, color=color)
    print("* would run now; a preset has the collectors of the smaller ones too")


def print_estimates(estimates: Sequence[Estimate], timeout_s: float, *, color: bool) -> None:
    """What each collector would ask, and the sum."""
    rows = [
        (
            estimate.name,
            str(estimate.commands),
            str(estimate.files),
            format_bytes(estimate.size_bytes),
            f"{estimate.at_most_s:.0f} s",
            estimate.detail,
        )
        for estimate in estimates
    ]
    print_table("", ("collector", "commands", "files", "size", "at most", ""), rows, color=color, right=(1, 2, 3, 4))
    commands = sum(estimate.commands for estimate in estimates)
    files = sum(estimate.files for estimate in estimates)
    whole = estimate_bundle(estimates)
    print(
        f"together {commands} commands, {files} files; with what probe and doctor ask about "
        f"{format_bytes(whole.unpacked_bytes)} unpacked, {format_bytes(whole.archive_bytes)} packed (a guess); "
        f"{timeout_s:.0f} s at most"
    )
    print("what a collector asks only after an answer is not counted; nothing was run or read")


def print_outcome(session: Session, report: SysinfoReport, *, map_path: Path | None) -> None:
    """Where the bundle is, what is in it and what is not, on standard error."""
    collection = report.collection
    packed = format_bytes(report.archive_bytes)
    session.say(
        f"{report.path}: {packed} ({format_bytes(report.unpacked_bytes)} unpacked), "
        f"{collection.entry_count} answers in {format_seconds(collection.seconds)}"
    )
    if collection.interrupted:
        session.warn("interrupted: the bundle holds what was collected until then")
    # Several may ask the same; it failed once.
    failed = {entry.what: (room.name, entry) for room in reversed(collection.reports) for entry in room.failed}
    if failed:
        session.say(f"{len(failed)} questions without an answer:")
        for name, entry in list(failed.values())[:_SHOWN_FAILURES]:
            what = entry.what if len(entry.what) <= _SHOWN_CHARS else entry.what[:_SHOWN_CHARS] + "…"
            session.say(f"  {name}: {what}: {(entry.detail or entry.status)[:_SHOWN_CHARS]}")
        if len(failed) > _SHOWN_FAILURES:
            session.say(f"  and {len(failed) - _SHOWN_FAILURES} more: xpukit sysinfo show {report.path} --failed")
    for room in collection.reports:
        if room.status in ("crashed", "timeout"):
            session.warn(f"{room.name}: {room.detail}")
    for problem in report.problems:
        session.warn(problem)
    _print_redactions(session, report, map_path)
    _print_root(session, report)


def _print_redactions(session: Session, report: SysinfoReport, map_path: Path | None) -> None:
    if not report.redacted:
        session.warn("nothing was redacted: names, addresses, serial numbers and secrets are in it; do not post it")
        return
    total = sum(report.redactions.values())
    most = sorted(report.redactions.items(), key=lambda item: (-item[1], item[0]))
    said = ", ".join(f"{name} {count}" for name, count in most)
    session.say(f"redacted {total} times" + (f" ({said})" if said else "") + "; the finished archive was scanned again")
    if map_path is not None:
        session.say(f"which name became which stays on this host: {map_path}")


def _print_root(session: Session, report: SysinfoReport) -> None:
    adds = [(room.name, room.root_adds) for room in report.collection.collectors if room.root_adds]
    if adds and not report.collection.root:
        session.say("as root the bundle would also have:")
        for name, what in adds:
            session.say(f"  {name}: {what}")
