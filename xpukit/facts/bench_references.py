"""Reference values of serving benchmarks: `reference_perf/serving/*.csv`, one row a figure, with source and date.

Columns: hardware (a name: b200, arc-pro-b60), devices, tp, engine, engine_version, model, quantization, input_len,
output_len, requests, concurrency (empty: all at once), metric, value, unit, direction, kind, tolerance, source, date.
An empty cell says that the source does not tell.
"""

from __future__ import annotations

import math
from pathlib import Path

import msgspec

from xpukit.core.errors import BadFactsError
from xpukit.facts.bench_formats import load_bench_formats
from xpukit.facts.paths import shipped_dir
from xpukit.facts.reference_files import iterate_rows, read_reference_text

COLUMNS = (
    "hardware",
    "devices",
    "tp",
    "engine",
    "engine_version",
    "model",
    "quantization",
    "input_len",
    "output_len",
    "requests",
    "concurrency",
    "metric",
    "value",
    "unit",
    "direction",
    "kind",
    "tolerance",
    "source",
    "date",
)
_NUMBERS = ("devices", "tp", "input_len", "output_len", "requests", "concurrency")
_KINDS = ("measured", "published")


class ServingReference(msgspec.Struct, frozen=True, kw_only=True):
    """One figure of a public source. None and "": the source does not say; `concurrency` None: all at once."""

    hardware: str
    devices: int | None
    tp: int | None
    engine: str
    engine_version: str
    model: str
    quantization: str
    input_len: int
    output_len: int
    requests: int | None
    concurrency: int | None
    metric: str
    value: float
    unit: str
    higher_is_better: bool
    kind: str
    tolerance: float
    source: str
    date: str
    origin: str


def parse_serving_references(text: str, *, origin: str) -> tuple[ServingReference, ...]:
    """Rows of a file. Raises BadFactsError naming the line that breaks the schema."""
    return tuple(_parse_row(raw, where) for raw, where in iterate_rows(text, COLUMNS, origin=origin))


def _parse_row(raw: dict[str, str | None], where: str) -> ServingReference:
    cells = {column: (raw.get(column) or "").strip() for column in COLUMNS}
    try:
        counts = {name: int(cells[name]) if cells[name] else None for name in _NUMBERS}
        value, tolerance = float(cells["value"]), float(cells["tolerance"])
    except ValueError as err:
        raise BadFactsError(f"{where}: not a number: {err}", hint="correct the row or take it out") from err
    problems = [
        text
        for text, wrong in (
            ("value must be finite and positive", not (math.isfinite(value) and value > 0)),
            ("tolerance must lie in [0, 1)", not 0 <= tolerance < 1),
            (f"kind is one of {', '.join(_KINDS)}", cells["kind"] not in _KINDS),
            ("lengths are needed", not counts["input_len"] or not counts["output_len"]),
            (
                "hardware, engine, model, source and date are needed",
                not all(cells[name] for name in ("hardware", "engine", "model", "source", "date")),
            ),
            _compare_metric(cells),
        )
        if wrong
    ]
    if problems:
        raise BadFactsError(f"{where}: {'; '.join(problems)}", hint="correct the row or take it out")
    return ServingReference(
        hardware=cells["hardware"],
        devices=counts["devices"],
        tp=counts["tp"],
        engine=cells["engine"],
        engine_version=cells["engine_version"],
        model=cells["model"],
        quantization=cells["quantization"],
        input_len=counts["input_len"] or 0,
        output_len=counts["output_len"] or 0,
        requests=counts["requests"],
        concurrency=counts["concurrency"],
        metric=cells["metric"],
        value=value,
        unit=cells["unit"],
        higher_is_better=cells["direction"] == "higher",
        kind=cells["kind"],
        tolerance=tolerance,
        source=cells["source"],
        date=cells["date"],
        origin=where,
    )


def _compare_metric(cells: dict[str, str]) -> tuple[str, bool]:
    """What is wrong with metric, unit and direction, and whether something is."""
    try:
        metric = load_bench_formats().find_metric(cells["metric"])
    except KeyError:
        return f"no metric {cells['metric']!r}", True
    wanted = (metric.unit, metric.direction)
    return f"{metric.name} has unit and direction {wanted}", (cells["unit"], cells["direction"]) != wanted


def load_serving_references(directory: Path | None = None) -> tuple[ServingReference, ...]:
    """All shipped rows (or those of `directory`). Raises BadFactsError."""
    folder = directory or shipped_dir("reference_perf") / "serving"
    rows: list[ServingReference] = []
    for path in sorted(folder.glob("*.csv")):
        rows.extend(read_serving_references(path))
    return tuple(rows)


def read_serving_references(path: Path) -> tuple[ServingReference, ...]:
    """The rows of one file. Raises BadFactsError."""
    return parse_serving_references(read_reference_text(path), origin=path.name)
