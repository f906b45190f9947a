"""A readiness check on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xpukit.cli.session import Session

if TYPE_CHECKING:
    from xpukit.operate.ready.result import CheckReport, Row

# A line of evidence on the terminal; -v and --json show what is kept.
_SHOWN_CHARS = 300
_STYLES = {"fail": "bold red", "warn": "yellow", "unknown": "yellow", "not-applicable": "dim", "pass": ""}


def tell_row(session: Session, row: Row) -> None:
    """Progress, on standard error: a check of a slow engine takes minutes."""
    if session.verbose:
        session.say(f"{row.name}: {row.verdict} ({row.seconds:.1f} s)")


def print_report(session: Session, report: CheckReport) -> None:
    """All rows; of those that did not pass, what was asked and what came back."""
    from xpukit.cli.render import make_console, print_fields, print_table

    limit = f"{report.context_tokens} tokens" if report.context_tokens else "not stated"
    fields = (("endpoint", report.url), ("model", report.model), ("context limit", limit), ("level", report.level))
    print_fields("", fields, color=session.color)
    rows = [(row.name, row.verdict, str(row.requests or ""), f"{row.seconds:.1f}", row.why) for row in report.rows]
    styles = [_STYLES.get(row.verdict, "") for row in report.rows]
    columns = ("check", "verdict", "requests", "seconds", "why")
    print_table("", columns, rows, color=session.color, right=(2, 3), styles=styles)
    console = make_console(color=session.color)
    for row in report.rows:
        if row.verdict not in ("fail", "warn", "unknown") or not (row.request or row.remedy):
            continue
        console.print(f"{row.name}: {row.verdict}")
        if row.request:
            shown = None if session.verbose else _SHOWN_CHARS
            console.print(f"    asked:  {_one_line(row.request, shown)}")
            console.print(f"    answer: {_one_line(row.response, shown) or '(nothing)'}")
        if row.remedy:
            console.print(f"    try:    {row.remedy}")
        console.print()
    for note in report.notes:
        console.print(f"note: {note}")
    counts = [f"{sum(row.verdict == kind for row in report.rows)} {kind}" for kind in _STYLES]
    counted = ", ".join(count for count in counts if not count.startswith("0 "))
    words = {"fail": "not ready", "unknown": "could not be judged", "warn": "ready, with warnings", "pass": "ready"}
    verdict = "could not be judged" if report.exit_code == 3 else words[report.verdict]
    console.print(f"{verdict}: {counted} in {report.seconds:.1f} s")


def _one_line(text: str, limit: int | None) -> str:
    """In one line; where it is long its beginning and its end: requests end in the question."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    if limit is None or len(line) <= limit:
        return line
    return f"{line[: limit // 2]} … {line[-limit // 2 :]}"
