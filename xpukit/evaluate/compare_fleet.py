"""Many runs: per metric the hosts that stand out, and the hosts that stand out most.

Values of one metric are pooled over all devices of the same class (PCI id, or CPU model) and the same suite; what
involves several devices or a NUMA node is pooled by the devices' positions, since pairs differ by topology. The pool is
screened by robust z with iterative removal (`outliers.py`).
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from xpukit.core.measurement import STATES, Param
from xpukit.evaluate.compare_fleet_hosts import Tally, count_findings, rank_hosts
from xpukit.evaluate.compare_fleet_table import Column, FleetTable, Place, RowId, read_fleet
from xpukit.evaluate.compare_inputs import FoundRun
from xpukit.evaluate.compare_result import Comparison, FleetMetric, Kind, MissingRow, Outlier
from xpukit.evaluate.compare_rules import RuleBook, Settings
from xpukit.evaluate.outliers import Screened, choose_sigmas, screen_values

METHOD = (
    "robust z = (value - median)/(1.4826·b(n)·MAD) over all devices of the same class and suite; values beyond the "
    "threshold are removed and median and MAD taken again from the rest, until nothing more goes or half is gone; the "
    "divisor is never less than min_change·median/threshold"
)
_BY_PLACE = ("host_node",)


class _Pool(NamedTuple):
    """What is judged together."""

    key: int
    classes: tuple[str, ...]
    positions: tuple[int, ...]
    suite: str
    unit: str
    engine: str
    higher_is_better: bool


def compare_fleet(found: Sequence[FoundRun], rules: RuleBook) -> Comparison:
    """Find outlier hosts per metric, missing rows, and rank the hosts."""
    table = read_fleet(found)
    pools = _make_pools(table)
    threshold = rules.sigmas or choose_sigmas(sum(len(column.values) for column in table.columns.values()))
    metrics: list[FleetMetric] = []
    tally = Tally(len(table.inputs))
    for pool, rows in pools.items():
        metric, outliers = _judge_pool(table, pool, rows, rules, threshold, tally)
        if metric is not None:
            metrics.append(metric)
            tally.outliers.extend(outliers)
    tally.outliers.extend(_list_wrong(table, rules, threshold))
    tally.missing.extend(_list_missing(table, rules, threshold))
    combined = rules.combine([(item.run, item.host, item.rules) for item in tally.outliers if item.worse])
    hosts = rank_hosts(table.inputs, tally, table.name_run)
    judged = any(metric.judged for metric in metrics)
    failing = (
        any(item.counts for item in tally.outliers)
        or any(item.counts and item.fails for item in tally.missing)
        or combined
    )
    unknown = not judged or any(item.counts for item in tally.missing) or any(item.problem for item in table.inputs)
    return Comparison(
        mode="fleet",
        verdict="fail" if failing else "unknown" if unknown else "pass",
        runs=tuple(table.inputs),
        method=METHOD,
        sigmas=threshold,
        min_change=rules.min_change,
        notes=tuple(_tell_notes(table, metrics)),
        counts=count_findings(table.inputs, metrics, tally, hosts),
        metrics=tuple(metrics),
        outliers=tuple(sorted(tally.outliers, key=_order_outlier)),
        missing=tuple(tally.missing),
        hosts=hosts,
        combined=combined,
    )


def _make_pools(table: FleetTable) -> dict[_Pool, list[tuple[RowId, Column]]]:
    pools: dict[_Pool, list[tuple[RowId, Column]]] = {}
    for row, column in table.columns.items():
        params = dict(table.keys.keys[row.key].params)
        by_place = len(row.place.classes) > 1 or any(name in params for name in _BY_PLACE)
        positions = row.place.positions if by_place else ()
        suite = table.cohort_names[row.cohort][0]
        pool = _Pool(row.key, row.place.classes, positions, suite, row.unit, row.engine, row.higher_is_better)
        pools.setdefault(pool, []).append((row, column))
    return dict(sorted(pools.items(), key=lambda item: _order_pool(table, item[0])))


def _order_pool(table: FleetTable, pool: _Pool) -> tuple[object, ...]:
    key = table.keys.keys[pool.key]
    params = tuple((name, isinstance(value, str), str(value).rjust(20)) for name, value in key.params)
    return (key.benchmark, pool.classes, pool.suite, key.metric, params, pool[2:])


def _judge_pool(
    table: FleetTable,
    pool: _Pool,
    rows: Sequence[tuple[RowId, Column]],
    rules: RuleBook,
    threshold: float,
    tally: Tally,
) -> tuple[FleetMetric | None, list[Outlier]]:
    key = table.keys.keys[pool.key]
    params = dict(key.params)
    settings = rules.find(key.benchmark, key.metric, params, pool.classes, sigmas=threshold)
    if settings.ignore:
        return None, []
    values = array("d")
    runs: set[int] = set()
    for _, column in rows:
        values.extend(column.values)
        runs.update(column.runs)
        tally.add_judged(column.runs)
    screened = screen_values(values, sigmas=settings.sigmas, min_change=settings.min_change)
    judged = len(runs) >= settings.min_hosts
    metric = FleetMetric(
        benchmark=key.benchmark,
        metric=key.metric,
        params=params,
        device=" ".join(dict.fromkeys(pool.classes)),
        place=" ".join(f"#{position}" for position in pool.positions),
        suite=pool.suite,
        unit=pool.unit,
        hosts=len(runs),
        n=len(values),
        kept=screened.kept,
        median=screened.median,
        mad=screened.mad,
        min=min(values),
        max=max(values),
        sigmas=settings.sigmas,
        rounds=screened.rounds,
        judged=judged,
        reason="" if judged else f"{len(runs)} hosts; {settings.min_hosts} are needed",
    )
    outliers = []
    for row, column in rows:
        for run, value in zip(column.runs, column.values, strict=True):
            limit = settings.break_limit(value, pool.unit)
            if limit or (judged and not screened.holds(value)):
                found = _describe_outlier(table, run, row, value, screened, settings, limit, judged=judged)
                if found is not None:
                    outliers.append(found)
    return metric, outliers


def _describe_outlier(
    table: FleetTable,
    run: int,
    row: RowId,
    value: float,
    screened: Screened,
    settings: Settings,
    limit: str,
    *,
    judged: bool,
) -> Outlier | None:
    worse = bool(limit) or (value < screened.median) == row.higher_is_better
    if not worse and settings.better == "ignore":
        return None
    ability = row.unit in STATES
    kind: Kind = "limit" if limit else "ability" if ability else "outlier"
    distance = screened.measure_distance(value)
    return _make_outlier(
        table,
        run,
        row,
        value,
        settings,
        kind=kind,
        median=screened.median if judged else None,
        sigmas=None if ability or not judged or abs(distance) == float("inf") else round(distance, 2),
        worse=worse,
        counts=settings.alone and (worse or settings.better == "fail"),
        reason=limit or ("unlike the other hosts" if ability else "" if worse else "better than the others"),
    )


def _make_outlier(
    table: FleetTable,
    run: int,
    row: RowId,
    value: float,
    settings: Settings,
    *,
    kind: Kind,
    median: float | None,
    sigmas: float | None,
    worse: bool,
    counts: bool,
    reason: str,
) -> Outlier:
    key = table.keys.keys[row.key]
    return Outlier(
        run=run,
        host=table.name_run(run),
        benchmark=key.benchmark,
        metric=key.metric,
        devices=table.name_devices(run, row.place),
        params=dict(key.params),
        unit=row.unit,
        value=value,
        median=median,
        change_percent=round(100 * (value - median) / abs(median), 2) if median else None,
        sigmas=sigmas,
        worse=worse,
        kind=kind,
        counts=counts,
        reason=reason,
        rules=settings.names,
    )


def _find_settings(table: FleetTable, key: int, place: Place, rules: RuleBook, threshold: float) -> Settings:
    found = table.keys.keys[key]
    params: dict[str, Param] = dict(found.params)
    return rules.find(found.benchmark, found.metric, params, place.classes, sigmas=threshold)


def _list_wrong(table: FleetTable, rules: RuleBook, threshold: float) -> Iterable[Outlier]:
    for wrong in table.wrong:
        settings = _find_settings(table, wrong.row.key, wrong.row.place, rules, threshold)
        if not settings.ignore:
            yield _make_outlier(
                table,
                wrong.run,
                wrong.row,
                wrong.value,
                settings,
                kind="wrong-data",
                median=None,
                sigmas=None,
                worse=True,
                counts=settings.alone,
                reason=wrong.detail or "the data is wrong",
            )


def _list_missing(table: FleetTable, rules: RuleBook, threshold: float) -> list[MissingRow]:
    """Rows that at least half of a cohort (same devices, same suite, same --only and --skip) have, and some have not;
    and every row that was tried and has no value."""
    have: dict[tuple[int, int, Place], set[int]] = {}
    for row, column in table.columns.items():
        have.setdefault((row.cohort, row.key, row.place), set()).update(column.runs)
    for wrong in table.wrong:
        have.setdefault((wrong.row.cohort, wrong.row.key, wrong.row.place), set()).add(wrong.run)
    missing = []
    for identity in dict.fromkeys((*have, *table.gaps)):
        cohort, key, place = identity
        present = have.get(identity, set())
        members = table.cohorts[cohort]
        gaps = {gap.run: gap for gap in table.gaps.get(identity, ())}
        expected = 2 * len(present) >= len(members)
        lacking = [run for run in members if run not in present] if expected else sorted(gaps)
        if not lacking:
            continue
        settings = _find_settings(table, key, place, rules, threshold)
        if settings.ignore or settings.missing == "ignore":
            continue
        for run in lacking:
            gap = gaps.get(run)
            if gap is not None and gap.verdict == "not-applicable":
                continue
            missing.append(
                MissingRow(
                    run=run,
                    host=table.name_run(run),
                    benchmark=table.keys.keys[key].benchmark,
                    metric=table.keys.keys[key].metric,
                    devices=table.name_devices(run, place),
                    params=dict(table.keys.keys[key].params),
                    reason=(gap.reason or "no value") if gap else "no such row",
                    counts=settings.alone,
                    fails=settings.missing == "fail",
                )
            )
    return sorted(missing, key=lambda row: (row.run, row.benchmark, row.metric, row.devices, str(row.params)))


def _order_outlier(item: Outlier) -> tuple[object, ...]:
    distance = float("inf") if item.sigmas is None else abs(item.sigmas)
    return (not item.counts, -distance, item.benchmark, item.metric, item.run, item.devices, str(item.params))


def _tell_notes(table: FleetTable, metrics: Sequence[FleetMetric]) -> Iterable[str]:
    for what, values in (
        ("suites", {item.suite for item in table.inputs if not item.problem}),
        ("versions of xpukit", {item.xpukit_version for item in table.inputs if not item.problem}),
        ("engines", {item.engine for item in table.inputs if not item.problem}),
    ):
        if len(values) > 1:
            yield f"{len(values)} {what}: {', '.join(sorted(values))}"
    inventories = {tuple(sorted(item.devices)) for item in table.inputs if not item.problem}
    if len(inventories) > 1:
        yield f"{len(inventories)} kinds of hosts by their devices; each is judged among its own"
    few = [metric for metric in metrics if not metric.judged]
    if few:
        yield f"{len(few)} metrics have too few hosts to be judged"
    counts = Counter(item.host for item in table.inputs if item.host)
    twice = sorted(host for host, count in counts.items() if count > 1)
    if twice:
        yield f"{len(twice)} host names occur more than once: {', '.join(twice[:5])}"
