"""Rows about errors that were counted while a run measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from xpukit.core.measurement import Verdict
from xpukit.evaluate.error_counters import Counts
from xpukit.evaluate.result import Result
from xpukit.facts.error_counters import load_error_counters

BENCHMARK, METRIC, UNIT = "health", "errors", "count"
_WORST: tuple[Verdict, ...] = ("pass", "warn", "fail")


def judge_errors(
    before: Counts, after: Counts, cards: Iterable[str], problems: Mapping[str, str], *, engine: str = "probe"
) -> tuple[Result, ...]:
    """For each card a row with all that was counted during the run, and one for each counter that grew.

    A counter that began again (driver loaded anew, card reset) counts from zero. A card that counts nothing that can
    be read is `not-applicable`, with the reason from `problems`.
    """
    rows: list[Result] = []
    for card in cards:
        names = [name for name in load_error_counters() if name in before.get(card, {}) and name in after.get(card, {})]
        if not names:
            reason = problems.get(card) or "neither xpu-smi nor the kernel shows counts of errors for it"
            rows.append(_make(card, {}, engine=engine, verdict="not-applicable", reason=reason))
            continue
        grown = [row for name in names if (row := _judge(card, name, before[card][name], after[card][name], engine))]
        worst: Verdict = max((row.verdict for row in grown), key=_WORST.index, default="pass")
        total = sum(row.value or 0.0 for row in grown)
        told = "; ".join(row.reason for row in grown)
        rows.append(
            _make(card, {}, engine=engine, value=total, verdict=worst, reason=told, note=f"counted: {', '.join(names)}")
        )
        rows += grown
    return tuple(rows)


def _judge(card: str, name: str, before: int, after: int, engine: str) -> Result | None:
    facts = load_error_counters()[name]
    if after == before:
        return None
    began_again = after < before
    grown = after if began_again else after - before
    how = f"the counter began again, now {after}" if began_again else f"{before} before, {after} after"
    reason = f"{grown} {facts.summary} during the run ({how})"
    verdict: Verdict = facts.growth if grown else "warn"
    return _make(card, {"counter": name}, engine=engine, value=float(grown), verdict=verdict, reason=reason)


def _make(
    card: str,
    params: dict[str, str | int | float],
    *,
    engine: str,
    verdict: Verdict,
    value: float | None = None,
    reason: str = "",
    note: str = "",
) -> Result:
    return Result(
        benchmark=BENCHMARK, metric=METRIC, devices=(card,), params=params, value=value, unit=UNIT, engine=engine,
        n=0 if value is None else 1, median=value, higher_is_better=False, verdict=verdict, reason=reason, note=note,
    )  # fmt: skip
