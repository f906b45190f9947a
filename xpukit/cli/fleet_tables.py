"""A fleet on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xpukit.cli.session import Session

if TYPE_CHECKING:
    from xpukit.operate.fleet.result import FleetReport

_STYLES = {"lost": "bold red", "failed": "bold red", "missing": "yellow"}
# Of a large fleet only what needs a look; -v shows all.
_MOST_ROWS = 40


def print_fleet(session: Session, report: FleetReport) -> None:
    """A row a host; counts below."""
    from xpukit.cli.render import make_console, print_table

    records = report.hosts
    if len(records) > _MOST_ROWS and not session.verbose:
        records = tuple(record for record in records if record.status != "done" or record.rc)
    rows = [
        (
            record.host,
            record.status,
            "" if record.rc is None else str(record.rc),
            record.verdict,
            f"{record.seconds:.1f}" if record.seconds else "",
            record.why,
        )
        for record in records
    ]
    columns = ("host", "status", "exit", "verdict", "seconds", "why")
    styles = [_STYLES.get(record.status, "") for record in records]
    if rows:
        print_table(report.command, columns, rows, color=session.color, right=(2, 4), styles=styles)
    counts = ", ".join(f"{count} {status}" for status, count in sorted(report.counts.items()))
    make_console(color=session.color).print(f"{len(report.hosts)} hosts: {counts}")
