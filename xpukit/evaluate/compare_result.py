"""A comparison as `xpukit.compare/1` publishes it."""

from __future__ import annotations

from typing import Literal

import msgspec

from xpukit.core.measurement import Param

Status = Literal["better", "worse", "same", "uncertain", "missing", "new", "not-comparable"]
Kind = Literal["outlier", "limit", "wrong-data", "ability"]
CompareVerdict = Literal["pass", "fail", "unknown"]


class RunInput(msgspec.Struct, frozen=True, kw_only=True):
    """One run that was given. `devices` are classes such as 8086:e211; `problem` says why it was left out."""

    path: str
    host: str = ""
    created: str = ""
    xpukit_version: str = ""
    suite: str = ""
    engine: str = ""
    devices: tuple[str, ...] = ()
    verdict: str = ""
    complete: bool = True
    rows: int = 0
    problem: str = ""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One metric in the first run and in run number `run`.

    `sigmas`: the difference over its standard error. `significant` only for `better` and `worse`, and for data that
    has become wrong.
    """

    run: int
    benchmark: str
    metric: str
    devices: tuple[str, ...]
    params: dict[str, Param]
    unit: str
    higher_is_better: bool
    old: float | None
    new: float | None
    change_percent: float | None = None
    sigmas: float | None = None
    noisy: bool = False
    status: Status = "same"
    significant: bool = False
    counts: bool = True
    reason: str = ""
    old_verdict: str = ""
    new_verdict: str = ""
    rules: tuple[str, ...] = ()


class FleetMetric(msgspec.Struct, frozen=True, kw_only=True):
    """A metric over the hosts. `median` and `mad` are of the kept values; `sigmas` is the threshold used."""

    benchmark: str
    metric: str
    params: dict[str, Param]
    device: str
    place: str
    suite: str
    unit: str
    hosts: int
    n: int
    kept: int
    median: float
    mad: float
    min: float
    max: float
    sigmas: float
    rounds: int
    judged: bool
    reason: str = ""


class Outlier(msgspec.Struct, frozen=True, kw_only=True):
    """A value of run `run` that stands out. `sigmas` None: not a matter of distance (wrong data, an ability, no
    spread). `counts`: whether it makes the verdict `fail`."""

    run: int
    host: str
    benchmark: str
    metric: str
    devices: tuple[str, ...]
    params: dict[str, Param]
    unit: str
    value: float
    median: float | None
    change_percent: float | None
    sigmas: float | None
    worse: bool
    kind: Kind
    counts: bool
    reason: str
    rules: tuple[str, ...] = ()


class MissingRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row that most hosts of the same devices and suite have and this one has not. `counts`: it was asked for."""

    run: int
    host: str
    benchmark: str
    metric: str
    devices: tuple[str, ...]
    params: dict[str, Param]
    reason: str
    counts: bool = True
    fails: bool = False


class HostRank(msgspec.Struct, frozen=True, kw_only=True):
    """A host and what is wrong with it; the worst has rank 1. `worst_sigmas` is of its farthest counted outlier."""

    rank: int
    run: int
    host: str
    devices: tuple[str, ...]
    outliers: int
    wrong_data: int
    missing: int
    judged: int
    worst_sigmas: float | None = None
    worst: str = ""


class Combined(msgspec.Struct, frozen=True, kw_only=True):
    """A combination of rules that a run violates."""

    run: int
    host: str
    name: str
    violated: tuple[str, ...]


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """The body of a comparison. `changes` is filled for a few runs, the fleet's parts for many."""

    mode: Literal["runs", "fleet"]
    verdict: CompareVerdict
    runs: tuple[RunInput, ...]
    method: str
    sigmas: float
    min_change: float
    notes: tuple[str, ...] = ()
    counts: dict[str, int] = {}
    changes: tuple[Change, ...] = ()
    metrics: tuple[FleetMetric, ...] = ()
    outliers: tuple[Outlier, ...] = ()
    missing: tuple[MissingRow, ...] = ()
    hosts: tuple[HostRank, ...] = ()
    combined: tuple[Combined, ...] = ()
