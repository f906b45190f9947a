"""Robust statistics of repeated measurements."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

import msgspec


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """n, median, median absolute deviation (unscaled), extremes."""

    n: int
    median: float
    mad: float
    min: float
    max: float


def summarize_samples(samples: Sequence[float]) -> Spread | None:
    """The spread of finite samples; None when there is none."""
    finite = [value for value in samples if math.isfinite(value)]
    if not finite:
        return None
    median = statistics.median(finite)
    mad = statistics.median(abs(value - median) for value in finite)
    return Spread(n=len(finite), median=median, mad=mad, min=min(finite), max=max(finite))


def is_noisy(spread: Spread, *, noisy_above: float) -> bool:
    """Whether the MAD exceeds `noisy_above` of the median. Fewer than three samples tell no spread: noisy."""
    if spread.n < 3:
        return True
    return spread.median != 0 and spread.mad / abs(spread.median) > noisy_above
