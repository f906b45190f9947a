"""Robust scale, robust z, and iterative removal of outliers. No numpy: a fleet report needs nothing but Python."""

from __future__ import annotations

import math
import statistics
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

import msgspec

# MAD times this is the standard deviation of a normal distribution.
NORMAL_SCALE = 1.4826
# The standard error of a median of normal samples is sqrt(pi/2) times that of their mean.
MEDIAN_ERROR = math.sqrt(math.pi / 2)
# Below this many sigmas nothing is called an outlier (Iglewicz and Hoaglin, 1993).
LEAST_SIGMAS = 3.5
# Of all healthy values in one report, none should be accused by chance in 19 reports of 20.
FALSE_ALARM_SHARE = 0.05
MOST_ROUNDS = 20
# MAD of few samples comes out too small: Croux and Rousseeuw (1992), "Time-efficient algorithms", table of b_n.
_SMALL_SAMPLE = {2: 1.196, 3: 1.495, 4: 1.363, 5: 1.206, 6: 1.200, 7: 1.140, 8: 1.129, 9: 1.107}


def correct_small_sample(n: int) -> float:
    """The factor that makes 1.4826·MAD of n normal samples a standard deviation on average; 1 for n < 2."""
    if n < 2:
        return 1.0
    return _SMALL_SAMPLE.get(n) or n / (n - 0.8)


def estimate_sigma(mad: float, n: int) -> float:
    """Robust standard deviation from a median absolute deviation: 1.4826·b(n)·MAD."""
    return NORMAL_SCALE * correct_small_sample(n) * mad


def estimate_median_error(mad: float, n: int) -> float:
    """Standard error of a median of n samples: 1.2533·1.4826·b(n)·MAD/sqrt(n)."""
    return MEDIAN_ERROR * estimate_sigma(mad, n) / math.sqrt(n)


def choose_sigmas(values: int) -> float:
    """The threshold where none is asked for: 3.5, or more where so many values are judged that chance alone would
    put one beyond it (two-sided normal quantile of FALSE_ALARM_SHARE / values)."""
    if values < 1:
        return LEAST_SIGMAS
    quantile = statistics.NormalDist().inv_cdf(1 - FALSE_ALARM_SHARE / (2 * values))
    return max(LEAST_SIGMAS, round(quantile, 2))


class Screened(msgspec.Struct, frozen=True, kw_only=True):
    """What is left after screening. `first` and `last` bound the kept values (inclusive); `scale` is the sigma that
    distances were divided by, never less than min_change·|median|/sigmas."""

    n: int
    kept: int
    median: float
    mad: float
    scale: float
    first: float
    last: float
    rounds: int

    def measure_distance(self, value: float) -> float:
        """Signed distance from the median in robust sigmas; 0 where there is no spread and no difference."""
        distance = value - self.median
        if distance == 0:
            return 0.0
        return distance / self.scale if self.scale > 0 else math.copysign(math.inf, distance)

    def holds(self, value: float) -> bool:
        """Whether the value is one of the kept ones."""
        return self.first <= value <= self.last


def find_median(ordered: Sequence[float]) -> float:
    """The median of values already in order."""
    n = len(ordered)
    middle = n // 2
    return ordered[middle] if n % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def find_mad(ordered: Sequence[float], median: float) -> float:
    """The median absolute deviation of values already in order."""
    return find_median(sorted([abs(value - median) for value in ordered]))


def screen_values(values: Sequence[float], *, sigmas: float, min_change: float, at_least: int = 2) -> Screened:
    """Remove values farther than `sigmas` robust standard deviations from the median, again with the median and MAD
    of the rest, until nothing more goes, half of all values are gone or `at_least` are left.

    `min_change` is the least relative distance that counts: measured values never agree to the last digit. Raises
    ValueError without a value.
    """
    if not values:
        raise ValueError("no values to screen")
    kept = sorted(values)
    least = max(at_least, (len(kept) + 1) // 2)
    rounds = 0
    while True:
        median = find_median(kept)
        mad = find_mad(kept, median)
        scale = max(estimate_sigma(mad, len(kept)), min_change * abs(median) / sigmas)
        low = bisect_left(kept, median - sigmas * scale)
        high = bisect_right(kept, median + sigmas * scale)
        if (low == 0 and high == len(kept)) or high - low < least or rounds >= MOST_ROUNDS:
            break
        kept = kept[low:high]
        rounds += 1
    return Screened(
        n=len(values), kept=len(kept), median=median, mad=mad, scale=scale, first=kept[0], last=kept[-1], rounds=rounds
    )  # fmt: skip
