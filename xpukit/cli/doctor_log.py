"""`xpukit doctor --log`: explain a log."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, BinaryIO

from xpukit.cli.session import Session
from xpukit.core.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from xpukit.doctor.log_report import LogMatch, LogReport, Place

_STYLES = {"critical": "bold red", "warning": "yellow", "info": ""}
_UNEXPLAINED_SHOWN = 12


def explain_log(session: Session, sources: list[str]) -> int:
    """Read the logs ("-" is standard input), say what is known of their errors. Raises UsageError for a log that
    cannot be opened; the exit code is the report's."""
    from xpukit.core.json_document import build_document
    from xpukit.doctor.log_report import SCHEMA
    from xpukit.doctor.log_scan import scan_logs

    with ExitStack() as files:
        report = scan_logs([(_name(source), _open(source, sources, files)) for source in sources])
    if session.json:
        session.print_json(build_document(SCHEMA, "", report))
    else:
        print_report(session, report)
    for source in report.sources:
        if source.complaint:
            piped = "-" in sources and not source.bytes
            hint = " (docker logs writes to standard error too: add 2>&1)" if piped else ""
            session.warn(f"{source.name}: {source.complaint}{hint}")
    return report.exit_code


def _name(source: str) -> str:
    return "standard input" if source == "-" else source


def _open(source: str, sources: Sequence[str], files: ExitStack) -> BinaryIO:
    if source == "-":
        if list(sources).count("-") > 1:
            raise UsageError("--log - was given twice", hint="standard input can be read once")
        return sys.stdin.buffer
    try:
        return files.enter_context(open(source, "rb"))
    except OSError as err:
        raise UsageError(
            f"--log {source}: {err.strerror or err}", hint="name a readable file, or - for standard input"
        ) from err


def print_report(session: Session, report: LogReport) -> None:
    """Known errors worst first, then what looks like an error and is none that we know."""
    from xpukit.cli.render import make_console

    console = make_console(color=session.color)
    color = session.color
    for match in report.matches:
        _print_match(console, match, color=color, verbose=session.verbose)
    lines = sum(source.lines for source in report.sources)
    read = f"{lines} line{'s' * (lines != 1)} read"
    if not report.matches:
        console.print(f"No known error in it ({read}).")
        if not report.unexplained:
            console.print("No line looks like an error either.")
    if report.unexplained:
        _print_unexplained(console, report, verbose=session.verbose)
    if report.matches:
        console.print(f"{read}; {_count(report)}")


def _print_match(console: Console, match: LogMatch, *, color: bool, verbose: int) -> None:
    role = " (follows from another error)" if match.symptom else ""
    console.print(
        f"{match.severity}: {match.title} [{match.id}]{role}", style=_STYLES[match.severity] if color else None
    )
    for place in match.places[: None if verbose else 1]:
        _print_place(console, place, verbose=verbose)
    if match.count > 1:
        console.print(f"    {match.count} times, last in line {match.last_line}")
    for name, values in match.values.items():
        console.print(f"    {name.replace('_', ' ')}: {', '.join(values)}")
    console.print(f"    means: {match.cause}")
    for step, text in enumerate(match.remedy):
        console.print(f"    {'try first' if not step else 'then'}: {text}")
    for command in match.commands:
        console.print(f"      $ {command}")
    concerns = ", ".join(part for part in (match.product, match.versions) if part)
    said = f", said of {concerns}" if concerns else ""
    seen = f" ({', '.join(match.references)}; {match.date})" if match.references else f" ({match.date})"
    console.print(f"    status: {match.status}{said}{seen}")
    console.print()


def _print_place(console: Console, place: Place, *, verbose: int) -> None:
    where = f"{place.line}" if place.line == place.last_line else f"{place.line}-{place.last_line}"
    if verbose:
        for line in place.before:
            console.print(f"      | {line}")
    console.print(f"    {place.source}:{where}: {place.text}")
    if verbose:
        for line in place.after:
            console.print(f"      | {line}")


def _print_unexplained(console: Console, report: LogReport, *, verbose: int) -> None:
    console.print("Not in our list, but they look like errors:")
    shown = report.unexplained if verbose else report.unexplained[:_UNEXPLAINED_SHOWN]
    for odd in shown:
        times = f" ({odd.count} times, last in line {odd.last_line})" if odd.count > 1 else ""
        kind = " (end of a traceback)" if odd.traceback else ""
        console.print(f"    {odd.source}:{odd.line}:{kind} {odd.text[:300]}{times}")
    more = len(report.unexplained) - len(shown)
    if more:
        console.print(f"    and {more} more kinds of lines (-v shows them)")
    if report.unexplained_dropped:
        console.print(f"    and {report.unexplained_dropped} more lines that were not kept")
    console.print()


def _count(report: LogReport) -> str:
    kinds = [match.severity for match in report.matches]
    said = [f"{kinds.count(kind)} {kind}" for kind in ("critical", "warning", "info") if kind in kinds]
    if report.unexplained:
        said.append(f"{len(report.unexplained)} not in our list")
    return ", ".join(said)
