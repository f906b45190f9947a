"""What is measured, on what, and what came of it. Shared by benchmarks, engines, verdicts and reports."""

from __future__ import annotations

from typing import Literal

import msgspec

Param = str | int | float

# The unit of a metric that is 1 or 0 (an ability), where repetition says nothing.
YES_NO = "yes/no"
# Units of what is a state: yes or no, a status, the place of a word, a count. Any difference is one.
STATES = frozenset({YES_NO, "status", "rank", "count"})
Verdict = Literal["pass", "warn", "fail", "unknown", "no-baseline", "not-applicable"]


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """A device (or tile, or the CPU) that a benchmark runs on.

    `label` names it in results: the BDF, "BDF/tile1", or "cpu". `level_zero_index` is the index that
    ZE_AFFINITY_MASK counts in.
    """

    label: str
    kind: Literal["gpu", "cpu"]
    name: str
    bdf: str = ""
    device_id: str = ""
    level_zero_index: int | None = None
    tile: int | None = None
    numa_node: int | None = None
    memory_bytes: int | None = None


class Method(msgspec.Struct, frozen=True, kw_only=True):
    """How long and how often: warm-up until the spread is below `warmup_spread` or its limit, then a time box."""

    warmup_limit_s: float = 0.3
    warmup_spread: float = 0.05
    time_box_s: float = 0.4
    min_samples: int = 5
    max_samples: int = 200
    seed: int = 1


class MetricKey(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """The identity of a result row. `params` is sorted by name, so that keys compare."""

    benchmark: str
    metric: str
    devices: tuple[str, ...]
    params: tuple[tuple[str, Param], ...] = ()


def make_key(benchmark: str, metric: str, devices: tuple[str, ...], **params: Param) -> MetricKey:
    """A key with its parameters in order."""
    return MetricKey(benchmark=benchmark, metric=metric, devices=devices, params=tuple(sorted(params.items())))


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """Repeated samples of one metric, in `unit`. `verified`: the data was checked (None: nothing to check)."""

    key: MetricKey
    unit: str
    samples: tuple[float, ...]
    higher_is_better: bool = True
    verified: bool | None = None
    verify_detail: str = ""
    warmup_runs: int = 0
    warmup_stable: bool = True
    note: str = ""


class Promise(msgspec.Struct, frozen=True, kw_only=True):
    """A metric that a job must deliver; absent from its output it becomes a row `unknown`."""

    key: MetricKey
    unit: str
    higher_is_better: bool = True


class Skip(msgspec.Struct, frozen=True, kw_only=True):
    """A metric that cannot apply to this machine, with the reason."""

    key: MetricKey
    unit: str
    reason: str


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One child process: what to start, what it promises, how long it may take. `cwd`: where, "" is here."""

    benchmark: str
    name: str
    argv: tuple[str, ...]
    promises: tuple[Promise, ...]
    timeout_s: float
    estimate_s: float = 0.0
    env: dict[str, str] = {}
    input: bytes = b""
    targets: tuple[str, ...] = ()
    cwd: str = ""


class ParsedOutput(msgspec.Struct, frozen=True, kw_only=True):
    """What a job's output held: measurements, why promised ones are missing (by key), and unreadable lines.

    `impossible`: promised metrics that this device cannot have at all (a number format that it lacks), with the reason.

    `measuring_s`: seconds that the child spent measuring (the rest of its life is overhead); `timing_us`: what taking
    one timing costs there.
    """

    measurements: tuple[Measurement, ...] = ()
    reasons: tuple[tuple[MetricKey, str], ...] = ()
    impossible: tuple[tuple[MetricKey, str], ...] = ()
    notes: tuple[str, ...] = ()
    problem: str = ""
    measuring_s: float | None = None
    timing_us: float | None = None
