"""The report of benchmarks: points of load, their runs, how they compare. `xpukit.bench/1`."""

from __future__ import annotations

from typing import Literal

import msgspec

from xpukit.operate.bench.result import BenchResult

REPORT_SCHEMA = "xpukit.bench/1"
Verdict = Literal["pass", "warn", "fail", "unknown", "no-baseline"]


class Deployment(msgspec.Struct, frozen=True, kw_only=True):
    """What served, as the user says it: a benchmark does not know it. "" and None: not said."""

    hardware: str = ""
    devices: int | None = None
    tp: int | None = None
    quantization: str = ""


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """A metric over the repeats of a point: median and extremes."""

    metric: str
    unit: str
    higher_is_better: bool
    median: float
    min: float
    max: float
    runs: int


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """A metric against a reference or an earlier run. `ratio` is above 1 where it is better than that."""

    metric: str
    unit: str
    value: float
    expected: float
    ratio: float
    tolerance: float
    against: Literal["reference", "earlier"]
    source: str
    verdict: Verdict
    reason: str = ""


class Predicted(msgspec.Struct, frozen=True, kw_only=True):
    """What the plan foretold, beside the fact. `error`: measured over predicted, less 1.

    It judges the prediction, not the engine: no verdict hangs on it. `source`: of the device's speed; `bound`: what the
    prediction takes for the limit.
    """

    metric: str
    unit: str
    predicted: float
    measured: float
    error: float
    bound: str
    source: str


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One load on one deployment, measured once or more."""

    name: str
    deployment: Deployment = Deployment()
    runs: tuple[BenchResult, ...] = ()
    figures: tuple[Figure, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    predictions: tuple[Predicted, ...] = ()
    verdict: Verdict = "unknown"
    reason: str = ""


class BenchReport(msgspec.Struct, frozen=True, kw_only=True):
    """All points, the worst first in the verdict: fail, unknown, warn, pass, no-baseline."""

    points: tuple[Point, ...]
    verdict: Verdict
    interrupted: bool = False
    notes: tuple[str, ...] = ()
