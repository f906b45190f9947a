"""A comparison on the terminal."""

from __future__ import annotations

from xpukit.cli.render import make_console, print_table
from xpukit.evaluate.compare_report import (
    CHANGE_COLUMNS,
    HOST_COLUMNS,
    METRIC_COLUMNS,
    MISSING_COLUMNS,
    OUTLIER_COLUMNS,
    describe_change,
    describe_fleet_metric,
    describe_host,
    describe_missing,
    describe_outlier,
    describe_run,
    list_verdict_changes,
    summarize,
)
from xpukit.evaluate.compare_result import Change, Comparison

_STYLES = {"worse": "bold red", "missing": "magenta", "uncertain": "yellow", "better": "green"}
_VERDICT_STYLES = {"fail": "bold red", "unknown": "magenta", "pass": "green"}
# What fits a screen; -v shows all.
_MOST_LINES = 20


def print_comparison(comparison: Comparison, *, color: bool, verbose: int) -> None:
    """Tables of what changed or stands out, and the verdict in one line."""
    console = make_console(color=color)
    if comparison.mode == "runs":
        _print_runs(comparison, color=color, verbose=verbose)
    else:
        _print_fleet(comparison, color=color, verbose=verbose)
    for note in comparison.notes:
        console.print(f"note: {note}")
    for item in comparison.combined:
        console.print(f"{item.host or f'run {item.run}'}: {item.name} ({', '.join(item.violated)})")
    threshold = f"beyond {comparison.sigmas:g} sigmas and {comparison.min_change:.0%}"
    console.print(
        f"{summarize(comparison)} ({threshold})", style=_VERDICT_STYLES[comparison.verdict] if color else None
    )


def _print_runs(comparison: Comparison, *, color: bool, verbose: int) -> None:
    columns = ("run", "path", "host", "created", "suite", "devices", "verdict", "problem")
    rows = [describe_run(number, comparison) for number in range(len(comparison.runs))]
    print_table("Runs", columns, rows, color=color)
    flipped = {id(change) for change in list_verdict_changes(comparison) if change.new is not None}
    for number in range(1, len(comparison.runs)):
        changes = [
            change
            for change in comparison.changes
            if change.run == number and (verbose or _is_telling(change) or id(change) in flipped)
        ]
        if changes:
            print_table(
                f"Run {number} against run 0",
                CHANGE_COLUMNS,
                [describe_change(change) for change in changes],
                color=color,
                right=(2, 3, 5, 6),
                styles=[_STYLES.get(change.status, "") for change in changes],
            )


def _is_telling(change: Change) -> bool:
    """Not the same, and not left out on purpose."""
    return change.status not in ("same", "new") and (change.status != "missing" or change.counts)


def _print_fleet(comparison: Comparison, *, color: bool, verbose: int) -> None:
    most = None if verbose else _MOST_LINES
    unread = [describe_run(number, comparison) for number, run in enumerate(comparison.runs) if run.problem]
    bad = [describe_host(host) for host in comparison.hosts if host.outliers or host.missing]
    outliers = [describe_outlier(item) for item in comparison.outliers if item.worse]
    better = [describe_outlier(item) for item in comparison.outliers if not item.worse]
    missing = [describe_missing(item) for item in comparison.missing]
    tables: list[tuple[str, tuple[str, ...], list[tuple[str, ...]], tuple[int, ...]]] = [
        ("Could not be read", ("run", "path", "host", "created", "suite", "devices", "verdict", "problem"), unread, ()),
        ("Worst hosts", HOST_COLUMNS, bad, (0, 2, 3, 4, 5, 6)),
        ("Outliers", OUTLIER_COLUMNS, outliers, (3, 4, 6, 7)),
        ("Missing rows", MISSING_COLUMNS, missing, ()),
        ("Better than the others", OUTLIER_COLUMNS, better, (3, 4, 6, 7)),
    ]
    if verbose:
        metrics = [describe_fleet_metric(item) for item in comparison.metrics]
        tables.append(("Metrics over all hosts", METRIC_COLUMNS, metrics, (2, 3, 4, 5, 6, 7, 8)))
    for title, columns, rows, right in tables:
        if rows:
            shown = rows[:most]
            more = f" ({len(shown)} of {len(rows)}; -v, --csv or --json for all)" if len(shown) < len(rows) else ""
            print_table(title + more, columns, shown, color=color, right=right)
