"""A comparison in words: cells for tables, CSV, and one HTML page that needs nothing else."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xpukit.core.units import format_number
from xpukit.evaluate.compare_result import Change, Comparison, FleetMetric, HostRank, MissingRow, Outlier
from xpukit.evaluate.report_csv import format_params
from xpukit.evaluate.report_names import clean_text, format_param, show_unit

CHANGE_COLUMNS = ("metric", "device", "first", "now", "unit", "change", "sigmas", "status", "verdicts", "why")
OUTLIER_COLUMNS = ("host", "metric", "device", "value", "median", "unit", "off by", "sigmas", "why")
HOST_COLUMNS = ("rank", "host", "outliers", "wrong data", "missing", "of", "worst sigmas", "worst")
MISSING_COLUMNS = ("host", "metric", "device", "why")
METRIC_COLUMNS = ("metric", "device", "hosts", "values", "kept", "median", "MAD", "lowest", "highest", "unit", "judged")
CHANGE_FIELDS = (
    "run", "path", "benchmark", "metric", "devices", "params", "unit", "old", "new", "change_percent", "sigmas",
    "noisy", "status", "significant", "counts", "old_verdict", "new_verdict", "reason",
)  # fmt: skip
FLEET_FIELDS = (
    "kind", "run", "path", "host", "benchmark", "metric", "devices", "params", "unit", "value", "median",
    "change_percent", "sigmas", "worse", "counts", "reason",
)  # fmt: skip
_TEMPLATES = Path(__file__).parent / "templates"
# A page with ten thousand lines helps nobody; the rest is in the CSV and the JSON.
_MOST_LINES = 500
MARKS = {"pass": "✓", "fail": "✕", "unknown": "?"}
_CLASSES = {"worse": "fail", "missing": "unknown", "uncertain": "warn", "not-comparable": "unknown", "better": "pass"}


def write_csv(comparison: Comparison) -> str:
    """Every change, or of a fleet every outlier and missing row; numbers as they are."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    if comparison.mode == "runs":
        writer.writerow(CHANGE_FIELDS)
        for change in comparison.changes:
            writer.writerow(_fill(CHANGE_FIELDS, change, comparison))
    else:
        writer.writerow(FLEET_FIELDS)
        for outlier in comparison.outliers:
            writer.writerow(_fill(FLEET_FIELDS, outlier, comparison))
        for missing in comparison.missing:
            writer.writerow(_fill(FLEET_FIELDS, missing, comparison))
    return out.getvalue()


def _fill(fields: Sequence[str], item: Change | Outlier | MissingRow, comparison: Comparison) -> list[str]:
    special = {
        "path": comparison.runs[item.run].path,
        "devices": " ".join(item.devices),
        "params": format_params(item.params),
    }
    if isinstance(item, MissingRow):
        special["kind"] = "missing"
    cells = []
    for field in fields:
        value = special[field] if field in special else getattr(item, field, None)
        if isinstance(value, bool):
            cells.append(str(value).lower())
        elif isinstance(value, float):
            cells.append(f"{value:.6g}")
        else:
            cells.append("" if value is None else _defuse(str(value)))
    return cells


def _defuse(text: str) -> str:
    """A text that a spreadsheet would take for a formula gets an apostrophe before it."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def describe_metric(item: Change | Outlier | MissingRow | FleetMetric) -> str:
    """Benchmark, metric and parameters."""
    params = " ".join(format_param(name, value) for name, value in sorted(item.params.items()))
    return clean_text(f"{item.benchmark} {item.metric} {params}".strip())


def _number(value: float | None) -> str:
    return "-" if value is None else format_number(value)


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:+.1f} %"


def _sigmas(value: float | None) -> str:
    return "" if value is None else f"{value:+.1f}"


def describe_change(change: Change) -> tuple[str, ...]:
    """A change as the cells of CHANGE_COLUMNS."""
    verdicts = change.new_verdict
    if change.old_verdict != change.new_verdict:
        verdicts = f"{change.old_verdict or 'no row'} → {change.new_verdict or 'no row'}"
    return (
        describe_metric(change),
        clean_text(" ".join(change.devices)),
        _number(change.old),
        _number(change.new),
        show_unit(change.unit),
        _percent(change.change_percent),
        _sigmas(change.sigmas),
        change.status + (" (noisy)" if change.noisy and change.status != "same" else ""),
        verdicts,
        clean_text(change.reason),
    )


def describe_outlier(item: Outlier) -> tuple[str, ...]:
    """An outlier as the cells of OUTLIER_COLUMNS."""
    return (
        clean_text(item.host or f"run {item.run}"),
        describe_metric(item),
        clean_text(" ".join(item.devices)),
        format_number(item.value),
        _number(item.median),
        show_unit(item.unit),
        _percent(item.change_percent),
        _sigmas(item.sigmas),
        clean_text(item.reason),
    )


def describe_missing(item: MissingRow) -> tuple[str, ...]:
    """A missing row as the cells of MISSING_COLUMNS."""
    host = clean_text(item.host or f"run {item.run}")
    return host, describe_metric(item), clean_text(" ".join(item.devices)), clean_text(item.reason)


def describe_host(item: HostRank) -> tuple[str, ...]:
    """A host as the cells of HOST_COLUMNS."""
    return (
        str(item.rank),
        clean_text(item.host),
        str(item.outliers),
        str(item.wrong_data),
        str(item.missing),
        str(item.judged),
        "" if item.worst_sigmas is None else f"{item.worst_sigmas:.1f}",
        clean_text(item.worst),
    )


def describe_fleet_metric(item: FleetMetric) -> tuple[str, ...]:
    """A metric over the fleet as the cells of METRIC_COLUMNS."""
    return (
        describe_metric(item),
        clean_text(f"{item.device} {item.place}".strip()),
        str(item.hosts),
        str(item.n),
        str(item.kept),
        format_number(item.median),
        format_number(item.mad),
        format_number(item.min),
        format_number(item.max),
        show_unit(item.unit),
        "yes" if item.judged else item.reason,
    )


def list_verdict_changes(comparison: Comparison) -> list[Change]:
    """Rows whose verdict is another one than in the first run."""
    return [
        change
        for change in comparison.changes
        if change.old_verdict and change.new_verdict and change.old_verdict != change.new_verdict
    ]


def describe_run(number: int, comparison: Comparison) -> tuple[str, ...]:
    """Number, place, host, time, suite, devices, verdict, problem."""
    run = comparison.runs[number]
    devices = ", ".join(f"{run.devices.count(name)} x {name}" for name in dict.fromkeys(run.devices))
    cells = (str(number), run.path, run.host, run.created, run.suite, devices, run.verdict, run.problem)
    return tuple(clean_text(cell) for cell in cells)


def summarize(comparison: Comparison) -> str:
    """'fail: 3 worse, 1 missing, 96 same'."""
    counts = ", ".join(f"{count} {name}" for name, count in comparison.counts.items() if count)
    return f"{comparison.verdict}: {counts or 'nothing to compare'}"


def write_html(comparison: Comparison) -> str:
    """The page. The same input gives the same bytes; it holds no script and forbids the network.

    Raises ModuleNotFoundError where jinja2 is not installed (extra `report`).
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=StrictUndefined,
    )  # fmt: skip
    page: str = environment.get_template("compare.html.j2").render(
        comparison=comparison,
        mark=MARKS[comparison.verdict],
        summary=summarize(comparison),
        tables=_make_tables(comparison),
        style=Markup((_TEMPLATES / "page.css.j2").read_text(encoding="utf-8")),
    )
    return clean_text(page) + "\n"


def _make_tables(comparison: Comparison) -> list[dict[str, Any]]:
    shown = [item for item in range(len(comparison.runs)) if comparison.mode == "runs" or comparison.runs[item].problem]
    runs_title = "Runs" if comparison.mode == "runs" else "Runs that could not be read"
    runs = [("", describe_run(number, comparison)) for number in shown]
    tables = [_table(runs_title, ("run", "path", "host", "created", "suite", "devices", "verdict", "problem"), runs)]
    if comparison.mode == "runs":
        for number in range(1, len(comparison.runs)):
            own = [change for change in comparison.changes if change.run == number]
            told = [change for change in own if change.status != "same"]
            rest = [change for change in own if change.status == "same"]
            for title, changes in ((f"Run {number}: changes", told), (f"Run {number}: the same", rest)):
                rows = [(_CLASSES.get(change.status, ""), describe_change(change)) for change in changes]
                tables.append(_table(title, CHANGE_COLUMNS, rows, folded=title.endswith("same")))
    else:
        bad = [host for host in comparison.hosts if host.outliers or host.missing]
        tables.append(_table("Worst hosts", HOST_COLUMNS, [("fail", describe_host(host)) for host in bad]))
        worse = [("fail", describe_outlier(item)) for item in comparison.outliers if item.worse]
        better = [("", describe_outlier(item)) for item in comparison.outliers if not item.worse]
        missing = [("unknown", describe_missing(item)) for item in comparison.missing]
        metrics = [("", describe_fleet_metric(item)) for item in comparison.metrics]
        tables += [
            _table("Outliers", OUTLIER_COLUMNS, worse),
            _table("Missing rows", MISSING_COLUMNS, missing),
            _table("Better than the others", OUTLIER_COLUMNS, better, folded=True),
            _table("Metrics over all hosts", METRIC_COLUMNS, metrics, folded=True),
        ]
    return [table for table in tables if table["rows"]]


def _table(
    title: str, columns: Sequence[str], rows: Sequence[tuple[str, tuple[str, ...]]], *, folded: bool = False
) -> dict[str, Any]:
    return {
        "title": title,
        "columns": columns,
        "rows": rows[:_MOST_LINES],
        "more": max(0, len(rows) - _MOST_LINES),
        "count": len(rows),
        "folded": folded,
    }
