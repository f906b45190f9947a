"""Tables on the terminal."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from xpukit.core.finding import Finding

# When the output is no terminal, lines are for grep, not for folding: wide enough for anything.
_PIPE_WIDTH = 100_000
# Blanks at a line's end, also before the codes that end its colour.
_TRAILING = re.compile(r" +((?:\x1b\[[0-9;]*m)*)$", re.MULTILINE)


def make_console(*, color: bool) -> Console:
    """A console on standard output."""
    from rich.console import Console

    return Console(
        file=sys.stdout,
        no_color=not color,
        force_terminal=color,
        color_system="auto" if color else None,
        width=None if sys.stdout.isatty() else _PIPE_WIDTH,
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=False,
    )


def print_table(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    color: bool,
    right: Sequence[int] = (),
    styles: Sequence[str] = (),
) -> None:
    """A titled table; `right` are the indices of right-aligned columns, `styles` one style a row ("" for none)."""
    from rich import box
    from rich.table import Table

    console = make_console(color=color)
    if title:
        console.print(title, style="bold" if color else None)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold" if color else "")
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index in right else "left", overflow="fold")
    for index, row in enumerate(rows):
        table.add_row(*row, style=styles[index] if color and index < len(styles) else "")
    _print_trimmed(console, table)
    console.print()


def _print_trimmed(console: Console, what: Any) -> None:
    """Without the blanks that fill up a table's last column."""
    with console.capture() as capture:
        console.print(what)
    sys.stdout.write(_TRAILING.sub(r"\1", capture.get()))


def print_fields(title: str, fields: Sequence[tuple[str, str]], *, color: bool) -> None:
    """Name and value, one a line; empty values are left out."""
    console = make_console(color=color)
    if title:
        console.print(title, style="bold" if color else None)
    width = max((len(name) for name, value in fields if value), default=0)
    for name, value in fields:
        if value:
            console.print(f"  {name:<{width}}  {value}")
    console.print()


_SEVERITY_STYLES = {"critical": "bold red", "warning": "yellow", "info": ""}


def print_findings(title: str, findings: Sequence[Finding], *, color: bool) -> None:
    """Each finding with its evidence and what to do; nothing when there is none."""
    if not findings:
        return
    console = make_console(color=color)
    console.print(title, style="bold" if color else None)
    for finding in findings:
        style = _SEVERITY_STYLES[finding.severity] if color else None
        console.print(f"  {finding.severity}: {finding.summary} [{finding.id}]", style=style)
        for evidence in finding.evidence:
            console.print(f"      {evidence.source}: {evidence.value}")
        for step in finding.remedy:
            console.print(f"      do: {step}")
    console.print()
