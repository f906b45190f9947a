"""The results of a run on the terminal."""

from __future__ import annotations

from xpukit.cli.render import make_console, print_findings, print_table
from xpukit.core.units import format_seconds
from xpukit.evaluate.result import Evaluation
from xpukit.evaluate.summary import (
    ROW_COLUMNS,
    count_verdicts,
    describe_cells,
    describe_other_users,
    group_by_benchmark,
    select_headlines,
)

_STYLES = {"fail": "bold red", "unknown": "magenta", "warn": "yellow", "pass": "green"}


def print_evaluation(evaluation: Evaluation, *, color: bool, verbose: int) -> None:
    """A table a benchmark; with -v every row, else headlines and whatever is not well."""
    rows = evaluation.results if verbose else select_headlines(evaluation)
    for benchmark, group in group_by_benchmark(rows).items():
        print_table(
            benchmark,
            ROW_COLUMNS,
            [describe_cells(row) for row in group],
            color=color,
            right=(2,),
            styles=[_STYLES.get(row.verdict, "") for row in group],
        )
    console = make_console(color=color)
    for text in describe_other_users(evaluation):
        console.print(f"another process used {text}", style=_STYLES["warn"] if color else None)
    print_findings("Explanations", evaluation.findings, color=color)
    counts = ", ".join(f"{count} {verdict}" for verdict, count in count_verdicts(evaluation.results).items())
    hidden = len(evaluation.results) - len(rows)
    more = f"; -v shows {hidden} more rows" if hidden else ""
    state = "" if evaluation.complete else " (incomplete)"
    console.print(
        f"verdict: {evaluation.verdict}{state} ({counts or 'no rows'}{more}) in {format_seconds(evaluation.seconds)}",
        style=_STYLES.get(evaluation.verdict, "") if color else None,
    )
