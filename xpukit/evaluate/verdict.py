"""From measurements to verdicts. Pure: the same input gives the same rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from xpukit.core.measurement import YES_NO, Measurement, MetricKey, Promise, Skip, Verdict
from xpukit.evaluate.reference import Limits, ReferenceBook
from xpukit.evaluate.result import KnownLimit, ReferenceUsed, Result
from xpukit.evaluate.statistics import is_noisy, summarize_samples
from xpukit.facts.suites import JudgeSettings


def judge_measurement(
    measurement: Measurement,
    *,
    engine: str,
    reference: ReferenceUsed | None,
    limit: tuple[float, str] | None,
    settings: JudgeSettings,
) -> Result:
    """One row. Wrong data fails whatever its speed; a number above a known limit is `unknown`, not a pass."""
    key = measurement.key
    spread = summarize_samples(measurement.samples)
    row = Result(
        benchmark=key.benchmark,
        metric=key.metric,
        devices=key.devices,
        params=dict(key.params),
        value=None,
        unit=measurement.unit,
        engine=engine,
        verified=measurement.verified,
        verify_detail=measurement.verify_detail,
        higher_is_better=measurement.higher_is_better,
        note=measurement.note,
    )
    if spread is None:
        return msgspec.structs.replace(row, verdict="unknown", reason="no finite sample was taken")
    ratio: float | None = None
    if reference is not None and reference.value > 0 and spread.median > 0:
        ratio = spread.median / reference.value if measurement.higher_is_better else reference.value / spread.median
    noisy = measurement.unit != YES_NO and is_noisy(spread, noisy_above=settings.noisy_above)
    known = KnownLimit(value=limit[0], source=limit[1], share=spread.median / limit[0]) if limit else None
    row = msgspec.structs.replace(
        row,
        value=spread.median,
        n=spread.n,
        median=spread.median,
        mad=spread.mad,
        min=spread.min,
        max=spread.max,
        noisy=noisy,
        reference=reference,
        limit=known,
        ratio=ratio,
    )
    verdict, reason = _decide(row, settings)
    return msgspec.structs.replace(row, verdict=verdict, reason=reason)


def _decide(row: Result, settings: JudgeSettings) -> tuple[Verdict, str]:
    if row.verified is False:
        return "fail", f"the data is wrong: {row.verify_detail}"
    if row.limit is not None and row.limit.share > settings.impossible_above:
        return "unknown", f"{row.limit.share:.0%} of what is possible ({row.limit.source}): not believed"
    if row.reference is None or row.ratio is None:
        return "no-baseline", "no reference for this device and metric"
    floor = 1 - row.reference.tolerance
    if row.ratio >= floor:
        return "pass", ""
    shortfall = f"{row.ratio:.0%} of the reference, {floor:.0%} expected"
    if row.noisy:
        return "warn", f"{shortfall}; too noisy to fail (MAD {row.mad or 0:.3g} of {row.value or 0:.3g})"
    if row.ratio >= 1 - 2 * row.reference.tolerance:
        return "warn", shortfall
    return "fail", shortfall


def judge_missing(promise: Promise, reason: str, *, engine: str) -> Result:
    """The row of a promised metric that did not come."""
    return _make_empty(promise.key, promise.unit, engine, "unknown", reason)


def judge_skip(skip: Skip, *, engine: str) -> Result:
    """The row of a metric that cannot apply to this machine."""
    return _make_empty(skip.key, skip.unit, engine, "not-applicable", skip.reason)


def _make_empty(key: MetricKey, unit: str, engine: str, verdict: Verdict, reason: str) -> Result:
    return Result(
        benchmark=key.benchmark,
        metric=key.metric,
        devices=key.devices,
        params=dict(key.params),
        value=None,
        unit=unit,
        engine=engine,
        verdict=verdict,
        reason=reason,
    )


def judge_all(
    measurements: Sequence[tuple[str, Measurement]],
    missing: Sequence[tuple[str, Promise, str]],
    skips: Sequence[tuple[str, Skip]],
    *,
    book: ReferenceBook,
    limits: Limits,
    settings: JudgeSettings,
) -> tuple[Result, ...]:
    """All rows of a run, in order of benchmark, devices, metric and parameters."""
    ceilings = book.with_ceilings([measurement for _, measurement in measurements], settings.ceiling_tolerance)
    rows = [
        judge_measurement(
            measurement,
            engine=engine,
            reference=ceilings.find(measurement.key),
            limit=limits.find(measurement.key),
            settings=settings,
        )
        for engine, measurement in measurements
    ]
    rows += [judge_missing(promise, reason, engine=engine) for engine, promise, reason in missing]
    rows += [judge_skip(skip, engine=engine) for engine, skip in skips]
    return tuple(sorted(rows, key=_row_order))


def _row_order(row: Result) -> tuple[object, ...]:
    # Numbers sort as numbers, and before text: sizes appear in order.
    params = tuple(
        (name, (0, float(value), "") if isinstance(value, int | float) else (1, 0.0, str(value)))
        for name, value in sorted(row.params.items())
    )
    return (row.benchmark, row.devices, row.metric, params)


def judge_run(results: Iterable[Result], *, strict: bool) -> Verdict:
    """The verdict of a whole run: the worst that counts. `no-baseline` counts only with `strict`."""
    seen = {result.verdict for result in results}
    if "fail" in seen:
        return "fail"
    if "unknown" in seen or not seen or (strict and "no-baseline" in seen):
        return "unknown"
    for verdict in ("warn", "pass", "no-baseline"):
        if verdict in seen:
            return verdict
    return "not-applicable"
