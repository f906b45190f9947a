"""From measurements to verdicts. Pure: the same input gives the same rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from xpukit.core.measurement import STATES, Measurement, MetricKey, Promise, Skip, Verdict
from xpukit.evaluate.link_way import Way
from xpukit.evaluate.reference import Limits, ReferenceBook
from xpukit.evaluate.result import KnownLimit, ReferenceUsed, Result
from xpukit.evaluate.statistics import is_noisy, summarize_samples
from xpukit.facts.metrics import load_metrics
from xpukit.facts.suites import JudgeSettings


def judge_measurement(
    measurement: Measurement,
    *,
    engine: str,
    reference: ReferenceUsed | None,
    limit: tuple[float, str] | None,
    settings: JudgeSettings,
    way: Way | None = None,
    disturbed: str = "",
) -> Result:
    """One row. Wrong data fails whatever its speed; a number above a known limit is `unknown`, not a pass.

    `way`: the links that it went over; `disturbed`: who else used its devices, which a shortfall cannot fail then.
    """
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
        link=str(way.hop.now) if way is not None and way.hop is not None else "",
        disturbed=disturbed,
    )
    if spread is None:
        return msgspec.structs.replace(row, verdict="unknown", reason="no finite sample was taken")
    ratio: float | None = None
    if reference is not None and reference.value > 0 and spread.median > 0:
        ratio = spread.median / reference.value if measurement.higher_is_better else reference.value / spread.median
    noisy = measurement.unit not in STATES and is_noisy(spread, noisy_above=settings.noisy_above)
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
    if verdict in ("fail", "warn") and row.verified is not False and way is not None and way.hop is not None:
        # A narrow link is what is wrong first, and what the copy lacks beyond it second.
        hop = way.hop
        reason = f"{hop.describe()}; {reason}" if hop.is_limited and hop.describe() not in reason else reason
    return msgspec.structs.replace(row, verdict=verdict, reason=reason)


def _decide(row: Result, settings: JudgeSettings) -> tuple[Verdict, str]:
    if row.verified is False:
        return "fail", f"the data is wrong: {row.verify_detail}"
    if row.limit is not None and row.limit.share > settings.impossible_above:
        return "unknown", f"{row.limit.share:.0%} of what is possible ({row.limit.source}): not believed"
    facts = load_metrics().get((row.benchmark, row.metric))
    if facts is not None and facts.expected is not None and row.value is not None:
        verdict: Verdict = "pass" if row.value >= facts.expected else "warn" if row.value > 0 else "fail"
        return verdict, "" if verdict == "pass" else row.note or "not what it must be"
    if row.reference is None or row.ratio is None:
        return "no-baseline", "no reference for this device and metric"
    floor = 1 - row.reference.tolerance
    if row.ratio >= floor:
        return "pass", ""
    scaled = " scaled to this link" if row.reference.unscaled is not None else ""
    shortfall = f"{row.ratio:.0%} of the reference{scaled}, {floor:.0%} expected"
    if row.noisy:
        return "warn", f"{shortfall}; too noisy to fail (MAD {row.mad or 0:.3g} of {row.value or 0:.3g})"
    if row.disturbed:
        return "warn", f"{shortfall}; cannot fail: the device was used by {row.disturbed} too"
    if row.reference.warn_only:
        return "warn", f"{shortfall}; cannot fail: {row.reference.warn_only}"
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
    disturbed: Mapping[MetricKey, str] | None = None,
) -> tuple[Result, ...]:
    """All rows of a run, in order of benchmark, devices, metric and parameters.

    `disturbed`: by metric, the other processes that used its devices when it was measured.
    """
    ceilings = book.with_ceilings([measurement for _, measurement in measurements], settings.ceiling_tolerance)
    rows = [
        judge_measurement(
            measurement,
            engine=engine,
            reference=ceilings.find(measurement.key),
            limit=_find_limit(measurement.key, limits, book),
            settings=settings,
            way=book.find_way(measurement.key),
            disturbed=(disturbed or {}).get(measurement.key, ""),
        )
        for engine, measurement in measurements
    ]
    rows += [judge_missing(promise, reason, engine=engine) for engine, promise, reason in missing]
    rows += [judge_skip(skip, engine=engine) for engine, skip in skips]
    return sort_rows(rows)


def sort_rows(rows: Iterable[Result]) -> tuple[Result, ...]:
    """Rows in the order in which they are published."""
    return tuple(sorted(rows, key=_row_order))


def _find_limit(key: MetricKey, limits: Limits, book: ReferenceBook) -> tuple[float, str] | None:
    """The links that the copies really cross bound them; without knowing these, the devices' own limits do."""
    facts = load_metrics().get((key.benchmark, key.metric))
    way = book.find_way(key)
    if way is not None and way.fabric:
        return None
    if facts is None or facts.bound != "link" or way is None or way.hop is None:
        return limits.find(key)
    hop = way.hop
    ways = 2 if dict(key.params).get("direction") == "bi" else 1
    return hop.now.gbps * ways, f"PCIe {hop.now} at {hop.upper} to {hop.lower}" + (", both ways" if ways == 2 else "")


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
