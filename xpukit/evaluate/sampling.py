"""Repeat an operation until its time is known: warm-up until stable, then a time box."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from xpukit.core.measurement import Method


class Samples(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds per operation, one entry per repetition, warm-up excluded."""

    seconds: tuple[float, ...]
    batch: int
    warmup_runs: int
    warmup_stable: bool


# A single timing must be long against the clock's resolution and the cost of starting it.
_BATCH_TARGET_S = 0.002
_WARMUP_WINDOW = 4


def calibrate_batch(run: Callable[[int], float], *, target_s: float = _BATCH_TARGET_S) -> int:
    """How many operations to time together so that one timing takes about `target_s`.

    `run(n)` does the operation n times and returns the seconds that took.
    """
    batch = 1
    while batch < 1 << 16:
        seconds = run(batch)
        if seconds >= target_s / 2:
            break
        batch = min(1 << 16, max(batch * 2, int(batch * target_s / max(seconds, 1e-7))))
    return batch


def collect_samples(run: Callable[[int], float], method: Method, *, batch: int | None = None) -> Samples:
    """Time `run(n)` (does the operation n times, returns seconds) by `method`.

    Warm-up ends when the last four timings lie within `warmup_spread` of their median, or at its limit.
    At least `min_samples` are taken even when the time box is over, at most `max_samples`.
    """
    run(1)  # first touch: compilation, page faults, clocks
    count = batch or calibrate_batch(run)
    warm: list[float] = []
    stable = False
    deadline = time.perf_counter() + method.warmup_limit_s
    while time.perf_counter() < deadline:
        warm.append(run(count))
        window = sorted(warm[-_WARMUP_WINDOW:])
        if len(window) == _WARMUP_WINDOW and window[-1] - window[0] <= method.warmup_spread * window[1]:
            stable = True
            break
    seconds: list[float] = []
    deadline = time.perf_counter() + method.time_box_s
    while len(seconds) < method.max_samples:
        if len(seconds) >= method.min_samples and time.perf_counter() >= deadline:
            break
        seconds.append(run(count) / count)
    return Samples(seconds=tuple(seconds), batch=count, warmup_runs=len(warm), warmup_stable=stable)
