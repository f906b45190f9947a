"""CSV: every row, tidy."""

from __future__ import annotations

import csv
import io

from xpukit.core.measurement import Param
from xpukit.core.units import format_bytes
from xpukit.evaluate.result import Evaluation, Result

TIDY_COLUMNS = (
    "benchmark",
    "metric",
    "devices",
    "params",
    "value",
    "unit",
    "n",
    "mad",
    "min",
    "max",
    "noisy",
    "verified",
    "reference",
    "reference_kind",
    "reference_source",
    "ratio",
    "limit",
    "limit_source",
    "limit_share",
    "verdict",
    "reason",
    "engine",
)


def format_params(params: dict[str, Param]) -> str:
    """'bytes=4096;op=copy'."""
    return ";".join(f"{name}={value}" for name, value in sorted(params.items()))


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def write_tidy(evaluation: Evaluation) -> str:
    """One line per result, nothing left out."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(TIDY_COLUMNS)
    for row in evaluation.results:
        writer.writerow(
            (
                row.benchmark,
                row.metric,
                " ".join(row.devices),
                format_params(row.params),
                _number(row.value),
                row.unit,
                row.n,
                _number(row.mad),
                _number(row.min),
                _number(row.max),
                str(row.noisy).lower(),
                "" if row.verified is None else str(row.verified).lower(),
                _number(row.reference.value) if row.reference else "",
                row.reference.kind if row.reference else "",
                row.reference.source if row.reference else "",
                _number(row.ratio),
                _number(row.limit.value) if row.limit else "",
                row.limit.source if row.limit else "",
                _number(row.limit.share) if row.limit else "",
                row.verdict,
                row.reason,
                row.engine,
            )
        )
    return out.getvalue()


def label_row(row: Result) -> str:
    """A row's parameters in words, for tables: sizes in powers of two."""
    parts = []
    for name, value in sorted(row.params.items()):
        if name == "bytes" and isinstance(value, int):
            parts.append(format_bytes(value))
        elif name == "shape" and all(side in row.params for side in "mnk"):
            parts.append(f"{value} {row.params['m']}x{row.params['n']}x{row.params['k']}")
        elif name in ("m", "n", "k") and "shape" in row.params:
            continue
        else:
            parts.append(str(value) if isinstance(value, str) else f"{name}={value}")
    return " ".join(parts)
