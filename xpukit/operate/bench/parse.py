"""Any text that may hold results of serving benchmarks."""

from __future__ import annotations

import msgspec

from xpukit.core.json_document import BAD_JSON
from xpukit.operate.bench.parse_document import parse_documents
from xpukit.operate.bench.parse_one_batch import parse_one_batch
from xpukit.operate.bench.parse_table import parse_tables
from xpukit.operate.bench.report import REPORT_SCHEMA, BenchReport
from xpukit.operate.bench.result import BenchResult


def parse_bench(text: str, *, origin: str = "") -> tuple[BenchResult, ...]:
    """Every result in a log, a saved document or a report of ours. Never raises; empty where there is none.

    A log that holds both a table and the document of the same run gives the table's result once.
    """
    if report := read_report(text):
        return tuple(run for point in report.points for run in point.runs)
    tables = parse_tables(text, origin=origin)
    documents = parse_documents(text, origin=origin) if "{" in text else ()
    seen = {(one.completed, one.output_tokens) for one in tables if one.completed is not None}
    documents = tuple(one for one in documents if (one.completed, one.output_tokens) not in seen)
    found = (*tables, *documents)
    batches = () if any(one.one_batch for one in found) else parse_one_batch(text, origin=origin)
    return (*found, *batches)


def read_report(text: str) -> BenchReport | None:
    """A report of ours (`xpukit.bench/1`); None where the text is none."""
    if REPORT_SCHEMA not in text[:2000]:
        return None
    try:
        return msgspec.json.decode(text.encode("utf-8", "replace"), type=BenchReport)
    except BAD_JSON:
        return None
