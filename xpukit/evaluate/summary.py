"""What of a run's many rows a person wants to see first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from xpukit.core.units import format_number
from xpukit.evaluate.report_csv import label_row
from xpukit.evaluate.result import Evaluation, Result

ROW_COLUMNS = ("metric", "device", "value", "unit", "spread", "data", "reference", "share", "verdict")
_RANK = "rank"
VERDICT_ORDER = ("fail", "unknown", "warn", "pass", "no-baseline", "not-applicable")
# Points of curves, and figures that another row says too (busbw is algbw on the scale of the hardware).
_DETAILS = {("memory", "bandwidth"), ("transfer", "bandwidth"), ("p2p", "bandwidth"), ("collectives", "algbw")}


def count_verdicts(results: Iterable[Result]) -> dict[str, int]:
    """How many rows of each verdict, worst first, only those that occur."""
    rows = list(results)
    return {verdict: count for verdict in VERDICT_ORDER if (count := sum(1 for row in rows if row.verdict == verdict))}


def is_ceiling(row: Result) -> bool:
    """Whether the row is a yardstick that the run made for itself, not a result."""
    return row.benchmark.endswith("_ceiling")


def select_headlines(evaluation: Evaluation) -> tuple[Result, ...]:
    """Rows for the terminal: no yardsticks and no points of curves, but every row that is not well."""
    return tuple(
        row
        for row in evaluation.results
        if row.verdict in ("fail", "unknown", "warn")
        or (not is_ceiling(row) and (row.benchmark, row.metric) not in _DETAILS)
    )


def group_by_benchmark(rows: Sequence[Result]) -> dict[str, list[Result]]:
    """Rows by benchmark, in order of appearance."""
    groups: dict[str, list[Result]] = {}
    for row in rows:
        groups.setdefault(row.benchmark, []).append(row)
    return groups


def describe_row(row: Result) -> str:
    """Metric and parameters in words."""
    return f"{row.metric} {label_row(row)}".strip()


def describe_reference(row: Result) -> str:
    """'29.1 (measured-here)' or ''."""
    if row.reference is None:
        return ""
    scaled = ", scaled" if row.reference.unscaled is not None else ""
    return f"{format_number(row.reference.value)} ({row.reference.kind}{scaled})"


def describe_spread(row: Result) -> str:
    """'±1.2 % n=20', with a mark when noisy."""
    if row.value is None or not row.n:
        return ""
    if row.mad is None or row.value == 0 or row.n == 1:
        return f"n={row.n}"
    return f"±{100 * row.mad / abs(row.value):.1f} % n={row.n}" + (" noisy" if row.noisy else "")


def describe_share(row: Result) -> str:
    """'87 % of reference', else '64 % of limit', else ''."""
    if row.ratio is not None:
        return f"{row.ratio:.0%} of reference"
    if row.limit is not None:
        return f"{row.limit.share:.0%} of limit"
    return ""


def describe_cells(row: Result) -> tuple[str, ...]:
    """A row as the cells of ROW_COLUMNS."""
    data = "" if row.verified is None else "verified" if row.verified else "WRONG"
    # The value of a rank stands for a word, which the note says.
    told = row.reason if row.verdict != "no-baseline" else ""
    told = told or (row.note if row.unit == _RANK else "")
    verdict = f"{row.verdict}: {told}" if told else row.verdict
    return (
        describe_row(row),
        " ".join(row.devices),
        "-" if row.value is None else format_number(row.value),
        row.unit,
        describe_spread(row),
        data,
        describe_reference(row),
        describe_share(row),
        verdict,
    )


def describe_other_users(evaluation: Evaluation) -> tuple[str, ...]:
    """'0000:18:00.0: python3 (4711): busy, 21.0 GiB (fdinfo)' for each process that was seen on a measured device."""
    users = evaluation.conditions.get("other_users", {})
    return tuple(f"{bdf}: {text}" for bdf, words in sorted(users.items()) for text in words)
