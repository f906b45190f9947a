"""References on the terminal."""

from __future__ import annotations

from xpukit.cli.render import make_console, print_table
from xpukit.core.units import format_number
from xpukit.evaluate.baseline_result import Candidate, Recording, ShownBaseline, ShownMetric
from xpukit.evaluate.baseline_show import name_device
from xpukit.evaluate.report_csv import format_params

_COLUMNS = ("metric", "reference", "unit", "least", "kind", "row", "layer", "why", "source")
_RECORD_COLUMNS = ("metric", "reference", "unit", "tolerance", "because of", "runs", "spread", "removed")


def print_baseline(shown: ShownBaseline, *, color: bool, verbose: int) -> None:
    """A table a device: the winning row of each metric, and below it the rows it goes before."""
    for device in dict.fromkeys(metric.device for metric in shown.metrics):
        own = [metric for metric in shown.metrics if metric.device == device]
        rows: list[tuple[str, ...]] = []
        styles: list[str] = []
        for metric in own:
            rows.append(_describe(metric, metric.winner, verbose=verbose))
            styles.append("")
            for loser in metric.losers:
                rows.append(_describe(metric, loser, verbose=verbose, lost=True))
                styles.append("dim")
        title = f"{device} {own[0].device_name}: {len(own)} metrics"
        print_table(title, _COLUMNS, rows, color=color, right=(1, 3), styles=styles)
    console = make_console(color=color)
    for device in shown.without:
        console.print(f"{device} {name_device(device)}: no reference rows; it is measured and reported as no-baseline")
    console.print(f"layers, the last wins: {', '.join(shown.layers)}; then measured before published before spec")


def _describe(metric: ShownMetric, row: Candidate, *, verbose: int, lost: bool = False) -> tuple[str, ...]:
    what = f"{metric.benchmark} {metric.metric} {format_params(metric.params)}".strip()
    if lost:
        what = f"  not: {format_params(row.params)}" if row.params != metric.params else "  not:"
    source = row.source if verbose or len(row.source) <= 60 else row.source[:59] + "…"
    return (
        what,
        format_number(row.value),
        row.unit,
        f"-{row.tolerance:.0%}",
        row.kind,
        row.origin,
        row.layer,
        row.why,
        f"{source} ({row.date})",
    )


def print_recording(recording: Recording, *, color: bool) -> None:
    """What was recorded."""
    rows = [
        (
            f"{metric.device} {metric.benchmark} {metric.metric} {format_params(metric.params)}".strip(),
            format_number(metric.value),
            metric.unit,
            f"{metric.tolerance:.0%}",
            metric.tolerance_reason,
            f"{metric.kept} of {metric.runs}",
            f"{format_number(metric.min)}-{format_number(metric.max)}",
            ", ".join(f"{item.run} ({format_number(item.value)})" for item in metric.removed),
        )
        for metric in recording.metrics
    ]
    print_table(f"Recorded on {recording.date}", _RECORD_COLUMNS, rows, color=color, right=(1, 3, 5))
    console = make_console(color=color)
    console.print(f"source: {recording.source}")
    console.print(f"rule: {recording.rule}")
