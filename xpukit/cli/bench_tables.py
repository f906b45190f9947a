"""Benchmarks on the terminal."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from xpukit.cli.render import print_table
from xpukit.cli.session import Session
from xpukit.core.units import format_number

if TYPE_CHECKING:
    from xpukit.operate.bench.report import BenchReport

_STYLES = {"fail": "red", "warn": "yellow", "unknown": "magenta", "pass": "", "no-baseline": ""}
_EVERY_S = 5.0


def print_report(report: BenchReport, *, color: bool) -> None:
    """Points, comparisons that did not pass, and what the results say of themselves."""
    from xpukit.operate.bench.page import (
        COLUMNS,
        PREDICTION_COLUMNS,
        count_requests,
        list_notes,
        list_prediction_sources,
        list_predictions,
        show_figure,
    )
    from xpukit.operate.bench.result import describe_load

    rows = [
        (
            point.name,
            describe_load(point.runs[0]) if point.runs else "-",
            count_requests(point),
            *(show_figure(point, metric) for _, metric in COLUMNS),
            point.verdict,
            point.reason,
        )
        for point in report.points
    ]
    titles = ("point", "load", "answered", *(title for title, _ in COLUMNS), "verdict", "why")
    right = tuple(range(2, 3 + len(COLUMNS)))
    styles = [_STYLES[point.verdict] for point in report.points]
    print_table("", titles, rows, color=color, right=right, styles=styles)
    _print_one_batch(report, color=color)
    bad = [(point, one) for point in report.points for one in point.comparisons if one.verdict in ("warn", "fail")]
    if bad:
        cells = [
            (
                point.name,
                one.metric,
                format_number(one.value),
                format_number(one.expected),
                one.unit,
                f"{one.ratio:.2f}",
                one.verdict,
                f"{one.against}: {one.source}",
            )
            for point, one in bad
        ]
        head = ("point", "metric", "measured", "expected", "unit", "ratio", "verdict", "against")
        print_table("Worse than expected", head, cells, color=color, right=(2, 3, 5))
    if predicted := list_predictions(report):
        print_table("Predicted and measured", PREDICTION_COLUMNS, predicted, color=color, right=(2, 3, 5))
        for source in list_prediction_sources(report):
            print(f"note: predicted from the speed of the device, {source}")
    for note in (*report.notes, *list_notes(report)):
        print(f"note: {note}")
    print(f"verdict: {report.verdict}" + (" (interrupted)" if report.interrupted else ""))


def _print_one_batch(report: BenchReport, *, color: bool) -> None:
    """SGLang's benchmark without a server has other figures."""
    rows = []
    for point in report.points:
        for run in point.runs:
            if (one := run.one_batch) is not None:
                values = (one.prefill_s, one.prefill_throughput, one.decode_median_s, one.decode_median_throughput)
                shown = ["-" if value is None else format_number(value) for value in (*values, run.total_throughput)]
                rows.append((point.name, str(one.batch or "-"), *shown))
    if rows:
        head = ("point", "batch", "prefill s", "tok/s", "decode s", "tok/s", "all tok/s")
        print_table("One batch", head, rows, color=color, right=(1, 2, 3, 4, 5, 6))


class ProgressLine:
    """Says every few seconds how far a load is."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._last = time.monotonic()

    def __call__(self, done: int, total: int, failed: int) -> None:
        now = time.monotonic()
        if now - self._last >= _EVERY_S:
            self._last = now
            self._session.say(f"  {done} of {total} answered" + (f", {failed} failed" if failed else ""))
