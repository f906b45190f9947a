"""The values of a fleet in columns: what is kept of a thousand results documents."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from xpukit.core.errors import UsageError
from xpukit.evaluate.compare_inputs import (
    FoundRun,
    KeyTable,
    RunDocument,
    RunReader,
    Slot,
    describe_unreadable,
)
from xpukit.evaluate.compare_result import RunInput

Cohort = tuple[str, tuple[Slot, ...], tuple[str, ...], tuple[str, ...]]


class Place(NamedTuple):
    """The devices of a row, by class and position."""

    classes: tuple[str, ...]
    positions: tuple[int, ...]


class RowId(NamedTuple):
    """A row that several hosts can have."""

    cohort: int
    key: int
    place: Place
    unit: str
    engine: str
    higher_is_better: bool


class Column:
    """The values of one row over hosts: 12 bytes a value."""

    __slots__ = ("runs", "values")

    def __init__(self) -> None:
        self.runs = array("l")
        self.values = array("d")


class Gap(NamedTuple):
    """A row without a value."""

    run: int
    verdict: str
    reason: str


class Wrong(NamedTuple):
    """A value whose data was wrong."""

    run: int
    row: RowId
    value: float
    detail: str


class FleetTable:
    """All values of a fleet in columns; documents are dropped as soon as their rows are in."""

    def __init__(self) -> None:
        self.inputs: list[RunInput] = []
        self.labels: list[dict[Slot, str]] = []
        self.keys = KeyTable()
        self.cohorts: list[list[int]] = []
        self.cohort_names: list[Cohort] = []
        self.columns: dict[RowId, Column] = {}
        self.gaps: dict[tuple[int, int, Place], list[Gap]] = {}
        self.wrong: list[Wrong] = []
        self._cohort_of: dict[Cohort, int] = {}
        self._runs_of_host: Counter[str] = Counter()
        self._places: dict[tuple[tuple[str, int], ...], Place] = {}

    def add_unreadable(self, found: FoundRun, problem: str) -> None:
        """A file that cannot be used: it stays in the list."""
        self.inputs.append(describe_unreadable(found, problem))
        self.labels.append({})

    def add(self, found: FoundRun, document: RunDocument) -> None:
        """Take the rows of a run. Raises msgspec.DecodeError for parameters that cannot be read."""
        run = len(self.inputs)
        slots = document.find_slots()
        cohort = self._find_cohort(document, slots, run)
        places: dict[tuple[str, ...], Place] = {}
        rows = []
        for row in document.results:
            key = self.keys.number(row)
            place = places.get(row.devices)
            if place is None:
                place = places[row.devices] = self._find_place(row.devices, slots)
            rows.append((row, key, place))
        for row, key, place in rows:
            if row.value is None:
                gap = Gap(run, row.verdict, row.reason)
                self.gaps.setdefault((cohort, key, place), []).append(gap)
                continue
            identity = RowId(cohort, key, place, row.unit, row.engine, row.higher_is_better)
            if row.verified is False:
                self.wrong.append(Wrong(run, identity, row.value, row.reason))
                continue
            column = self.columns.get(identity)
            if column is None:
                column = self.columns[identity] = Column()
            column.runs.append(run)
            column.values.append(row.value)
        self.inputs.append(document.describe(found.label))
        self.labels.append({slot: label for label, slot in slots.items()})

    def _find_cohort(self, document: RunDocument, slots: dict[str, Slot], run: int) -> int:
        name: Cohort = (document.suite, tuple(sorted(slots.values())), document.only, document.skip)
        number = self._cohort_of.setdefault(name, len(self.cohorts))
        if number == len(self.cohorts):
            self.cohorts.append([])
            self.cohort_names.append(name)
        self.cohorts[number].append(run)
        return number

    def _find_place(self, devices: tuple[str, ...], slots: dict[str, Slot]) -> Place:
        found = tuple(slots.get(label, (label, 0)) for label in devices)
        return self._places.setdefault(
            found, Place(tuple(name for name, _ in found), tuple(position for _, position in found))
        )

    def name_run(self, run: int) -> str:
        """The host, with the run's place where several runs have the same host or none."""
        given = self.inputs[run]
        if not self._runs_of_host:
            self._runs_of_host.update(item.host for item in self.inputs)
        if not given.host:
            return given.path
        return given.host if self._runs_of_host[given.host] == 1 else f"{given.host} ({given.path})"

    def name_devices(self, run: int, place: Place) -> tuple[str, ...]:
        """The labels that the devices of a place have on that host."""
        labels = self.labels[run]
        return tuple(
            labels.get((name, position), name) for name, position in zip(place.classes, place.positions, strict=True)
        )


def read_fleet(found: Sequence[FoundRun]) -> FleetTable:
    """Read all runs. Raises UsageError for a named run that cannot be read, or when none can."""
    table, reader = FleetTable(), RunReader()
    for item in found:
        document = reader.read(item)
        if isinstance(document, str):
            table.add_unreadable(item, document)
            continue
        try:
            table.add(item, document)
        except msgspec.DecodeError as err:
            if item.named:
                raise UsageError(f"{item.path}: a row's params: {err}", hint="leave that run out") from err
            table.add_unreadable(item, f"a row's params: {err}")
    if all(item.problem for item in table.inputs):
        raise UsageError("no run can be read", hint="give run directories that evaluate made")
    return table
