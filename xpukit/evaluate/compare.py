"""Two or more runs: each against the first, metric by metric.

The difference of two medians is divided by its standard error, sqrt(se_old² + se_new²), where
se = 1.2533·1.4826·b(n)·MAD/sqrt(n) (`outliers.py`), but never by less than min_change·|old|/threshold: a change is
significant when it exceeds the threshold in standard errors AND `min_change` of the old value. Samples of one run know
nothing of the difference between runs; `min_change` stands for that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import msgspec

from xpukit.core.errors import UsageError
from xpukit.core.measurement import STATES, Param
from xpukit.evaluate.compare_inputs import (
    FoundRun,
    Key,
    KeyTable,
    RunDocument,
    RunReader,
    RunRow,
    Slot,
    describe_unreadable,
)
from xpukit.evaluate.compare_result import Change, Comparison, RunInput, Status
from xpukit.evaluate.compare_rules import RuleBook, Settings
from xpukit.evaluate.outliers import choose_sigmas, estimate_median_error

METHOD = (
    "difference of medians over its standard error sqrt(se_old² + se_new²), se = 1.2533·1.4826·b(n)·MAD/√n; "
    "significant when beyond the threshold and beyond min_change of the old value; noisy numbers and fewer than "
    "three samples are never significant"
)
_MIN_SAMPLES = 3
# A row of which one can say whether it changed.
_COMPARED: tuple[Status, ...] = ("worse", "better", "same", "uncertain")
STATUS_ORDER: tuple[Status, ...] = ("worse", "missing", "uncertain", "not-comparable", "better", "new", "same")

RowKey = tuple[int, tuple[object, ...]]


class _Run:
    """A run with its rows by key; devices by label, or by class and position where labels differ from the first's."""

    def __init__(self, number: int, document: RunDocument, table: KeyTable, first: _Run | None) -> None:
        self.number = number
        self.document = document
        self.slots = document.find_slots()
        self.by_label = first is None or any(
            first.slots.get(label, ("",))[0] == slot[0] for label, slot in self.slots.items()
        )
        self.classes = {slot[0] for slot in self.slots.values()}
        names: dict[str, object] = {label: label for label in self.slots}
        if first is not None and not self.by_label:
            there: dict[Slot, str] = {slot: label for label, slot in first.slots.items()}
            names = {label: there.get(slot, slot) for label, slot in self.slots.items()}
        self.names = names
        self.rows: dict[RowKey, RunRow] = {}
        for row in document.results:
            key = (table.number(row), tuple(names.get(label, label) for label in row.devices))
            self.rows.setdefault(key, row)

    def class_of(self, row: RunRow) -> tuple[str, ...]:
        return tuple(self.slots.get(label, (label, 0))[0] for label in row.devices)


def compare_runs(found: Sequence[FoundRun], rules: RuleBook, *, force: bool = False) -> Comparison:
    """Compare every run with the first. `force`: also runs of another suite.

    Raises UsageError for a run that cannot be read, and when fewer than two are given.
    """
    if len(found) < 2:
        raise UsageError("one run cannot be compared", hint="give two or more run directories")
    reader, table = RunReader(), KeyTable()
    inputs: list[RunInput] = []
    first: _Run | None = None
    others: list[_Run] = []
    notes: list[str] = []
    for number, item in enumerate(found):
        document = reader.read(item)
        if isinstance(document, str):
            inputs.append(describe_unreadable(item, document))
            continue
        run = _load(number, document, table, first, item.path)
        if first is None:
            first = run
            inputs.append(document.describe(item.label))
            continue
        problem, told = _tell_differences(first, run, force=force)
        notes.extend(f"run {number}: {note}" for note in told)
        inputs.append(document.describe(item.label, problem))
        if not problem:
            others.append(run)
    if first is None:
        raise UsageError("no run can be read", hint="give run directories that evaluate made")
    threshold = rules.sigmas or choose_sigmas(len(first.rows) * max(1, len(others)))
    changes = [change for run in others for change in _compare_pair(first, run, table.keys, rules, threshold)]
    regressions = [change for change in changes if change.significant and change.status == "worse"]
    combined = rules.combine([(change.run, inputs[change.run].host, change.rules) for change in regressions])
    compared = any(change.status in _COMPARED for change in changes)
    failing = any(change.counts for change in regressions) or combined
    lost = any(change.status == "missing" and change.counts for change in changes)
    unknown = lost or not compared or any(item.problem for item in inputs)
    return Comparison(
        mode="runs",
        verdict="fail" if failing else "unknown" if unknown else "pass",
        runs=tuple(inputs),
        method=METHOD,
        sigmas=threshold,
        min_change=rules.min_change,
        notes=tuple(notes) if compared else (*notes, "nothing was comparable"),
        counts={status: n for status in STATUS_ORDER if (n := sum(1 for change in changes if change.status == status))},
        changes=tuple(changes),
        combined=combined,
    )


def _load(number: int, document: RunDocument, table: KeyTable, first: _Run | None, path: Path) -> _Run:
    try:
        return _Run(number, document, table, first)
    except msgspec.DecodeError as err:
        raise UsageError(f"{path}: a row's params: {err}", hint="give run directories that evaluate made") from err


def _tell_differences(first: _Run, run: _Run, *, force: bool) -> tuple[str, list[str]]:
    """Why the run is left out ('' if it is not), and what else a reader must know."""
    old, new = first.document, run.document
    notes: list[str] = []
    if not first.classes & run.classes:
        there, here = ", ".join(sorted(first.classes)) or "none", ", ".join(sorted(run.classes)) or "none"
        return f"other devices: {here} instead of {there}", notes
    if old.suite != new.suite:
        if not force:
            return f"another suite: {new.suite} instead of {old.suite} (--force compares all the same)", notes
        notes.append(f"another suite: {new.suite} instead of {old.suite}; sizes and time boxes may differ")
    if not run.by_label:
        notes.append("devices have other addresses; they are matched by PCI id and position")
    for label, slot in run.slots.items():
        other = first.slots.get(label)
        if run.by_label and other is not None and other[0] != slot[0]:
            notes.append(f"{label} is {slot[0]} here and {other[0]} in the first run")
    if old.xpukit_version != new.xpukit_version:
        notes.append(f"measured by xpukit {new.xpukit_version}, the first by {old.xpukit_version}")
    if old.engine != new.engine:
        notes.append(f"engine {new.engine} instead of {old.engine}")
    if not new.complete:
        notes.append("the run is incomplete")
    if not old.complete:
        notes.append("the first run is incomplete")
    if old.created and (old.host, old.created) == (new.host, new.created):
        notes.append("it has the host and the time of the first run: the same run, or a copy of it")
    return "", notes


def _compare_pair(first: _Run, run: _Run, keys: Sequence[Key], rules: RuleBook, threshold: float) -> list[Change]:
    changes = []
    for key in dict.fromkeys((*first.rows, *run.rows)):
        old, new = first.rows.get(key), run.rows.get(key)
        if (old is None or old.value is None) and (new is None or new.value is None):
            continue
        change = _compare_rows(keys[key[0]], old, new, first, run, rules, threshold)
        if change is not None:
            changes.append(change)
    return changes


def _compare_rows(
    key: Key, old: RunRow | None, new: RunRow | None, first: _Run, run: _Run, rules: RuleBook, threshold: float
) -> Change | None:
    either = old or new
    assert either is not None
    params: dict[str, Param] = dict(key.params)
    owner = first if old is not None else run
    settings = rules.find(key.benchmark, key.metric, params, owner.class_of(either), sigmas=threshold)
    if settings.ignore:
        return None
    change = Change(
        run=run.number,
        benchmark=key.benchmark,
        metric=key.metric,
        devices=either.devices,
        params=params,
        unit=either.unit,
        higher_is_better=either.higher_is_better,
        old=old.value if old else None,
        new=new.value if new else None,
        noisy=bool((old and old.noisy) or (new and new.noisy)),
        old_verdict=old.verdict if old else "",
        new_verdict=new.verdict if new else "",
        counts=settings.alone,
        rules=settings.names,
    )
    if old is None or old.value is None:
        return _replace(change, status="new", reason=old.reason if old else "")
    if new is None or new.value is None:
        return _tell_missing(change, old, new, run, settings)
    return _judge_change(change, old, new, first, run, settings)


def _replace(change: Change, **fields: object) -> Change:
    return msgspec.structs.replace(change, **fields)


def _tell_missing(change: Change, old: RunRow, new: RunRow | None, run: _Run, settings: Settings) -> Change:
    if new is not None:
        lost, reason = new.verdict != "not-applicable", new.reason or "no value"
    elif not run.document.asked_for(old.benchmark):
        lost, reason = False, "not asked for (--only, --skip)"
    elif not {run.names.get(label, label) for label in run.slots} >= set(old.devices):
        lost, reason = False, "the device was not measured"
    else:
        lost, reason = True, "no such row"
    if settings.missing == "fail" and lost:
        return _replace(change, status="worse", significant=True, reason=f"missing: {reason}")
    return _replace(change, status="missing", reason=reason, counts=lost and settings.missing == "unknown")


def _judge_change(change: Change, old: RunRow, new: RunRow, first: _Run, run: _Run, settings: Settings) -> Change:
    assert old.value is not None
    assert new.value is not None
    if new.verified is False and old.verified is False:
        return _replace(change, status="not-comparable", reason="the data is wrong in both", counts=False)
    if new.verified is False:
        return _replace(change, status="worse", significant=True, reason="the data is wrong")
    if old.verified is False:
        return _replace(change, status="better", significant=True, reason="the data was wrong before")
    differ = [
        f"{name} {there!r} instead of {here!r}"
        for name, here, there in (
            ("unit", old.unit, new.unit),
            ("engine", old.engine, new.engine),
            ("device", first.class_of(old), run.class_of(new)),
        )
        if here != there
    ]
    if differ:
        return _replace(change, status="not-comparable", reason="; ".join(differ), counts=False)
    limit = settings.break_limit(new.value, new.unit)
    gain = (new.value - old.value) * (1 if old.higher_is_better else -1)
    percent = 100 * (new.value - old.value) / abs(old.value) if old.value else None
    direction: Status = "better" if gain > 0 else "worse"
    if change.unit in STATES:
        status: Status = "same" if gain == 0 else direction
        return _replace(change, status=status, significant=status != "same")
    sigmas = _count_sigmas(old, new, settings)
    beyond = abs(gain) > settings.min_change * abs(old.value) and gain != 0
    change = _replace(change, change_percent=percent, sigmas=None if sigmas is None else round(sigmas, 2))
    if limit:
        return _replace(change, status="worse", significant=True, reason=limit)
    if not beyond:
        return change
    few = [n for n in (old.n, new.n) if n < _MIN_SAMPLES]
    if few:
        return _replace(change, status="uncertain", reason=f"n={min(few)} tells no spread: measure with --repeat")
    if sigmas is not None and abs(sigmas) < settings.sigmas:
        return _replace(change, status="uncertain" if change.noisy else "same", reason="within the spread")
    if change.noisy:
        return _replace(change, status="uncertain", reason=f"looks {direction}; too noisy to say")
    return _replace(change, status=direction, significant=True)


def _count_sigmas(old: RunRow, new: RunRow, settings: Settings) -> float | None:
    """The difference over its standard error; None where a spread is not known."""
    if old.mad is None or new.mad is None or min(old.n, new.n) < _MIN_SAMPLES or old.value is None or new.value is None:
        return None
    error = math.hypot(estimate_median_error(old.mad, old.n), estimate_median_error(new.mad, new.n))
    error = max(error, settings.min_change * abs(old.value) / settings.sigmas)
    difference = new.value - old.value
    return difference / error if error > 0 else None
