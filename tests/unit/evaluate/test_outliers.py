"""Robust scale and screening, against numbers that can be checked by hand and by simulation."""

from __future__ import annotations

import math
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xpukit.evaluate.outliers import (
    choose_sigmas,
    correct_small_sample,
    estimate_median_error,
    estimate_sigma,
    find_mad,
    find_median,
    screen_values,
)

VALUES = st.lists(st.floats(min_value=-1e12, max_value=1e12, allow_nan=False), min_size=1, max_size=40)


@pytest.mark.parametrize("n", [3, 5, 9, 20, 101])
def test_sigma_of_normal_samples_is_right_on_average(n: int) -> None:
    draw = random.Random(n)
    rounds = 4000
    total = 0.0
    for _ in range(rounds):
        ordered = sorted(draw.gauss(0, 1) for _ in range(n))
        total += estimate_sigma(find_mad(ordered, find_median(ordered)), n)
    assert total / rounds == pytest.approx(1, abs=0.05)


def test_error_of_a_median_is_what_medians_scatter_by() -> None:
    draw = random.Random(1)
    n = 51
    medians = [statistics.median(draw.gauss(100, 2) for _ in range(n)) for _ in range(3000)]
    # MAD of a normal distribution is 0.6745 sigma.
    assert estimate_median_error(2 * 0.6745, n) == pytest.approx(statistics.stdev(medians), rel=0.05)


def test_threshold_grows_with_the_number_of_values() -> None:
    assert choose_sigmas(0) == choose_sigmas(10) == 3.5
    assert choose_sigmas(1000) == 4.06
    assert choose_sigmas(100_000) == 5.03


def test_removal_is_repeated_until_nothing_more_goes() -> None:
    # With 50 in, the spread hides 12; without it 12 goes too.
    values = [10.0, 10.1, 9.9, 10.2, 9.8, 10.05, 9.95, 12.0, 50.0]
    screened = screen_values(values, sigmas=5.0, min_change=0.01)
    assert screened.kept == 7
    assert not screened.holds(12.0)
    assert not screened.holds(50.0)
    assert screened.rounds >= 1
    assert screened.median == 10.0


def test_two_camps_are_not_outliers_of_each_other() -> None:
    screened = screen_values([10.0] * 5 + [20.0] * 5, sigmas=3.5, min_change=0.05)
    assert screened.kept == 10


def test_min_change_is_a_floor() -> None:
    values = [100.0, 100.0, 100.0, 100.0, 100.0, 104.0]
    assert screen_values(values, sigmas=3.5, min_change=0.05).kept == 6
    assert screen_values(values, sigmas=3.5, min_change=0.03).kept == 5


def test_zero_spread_at_zero() -> None:
    screened = screen_values([0.0, 0.0, 0.0, 1.0], sigmas=3.5, min_change=0.05)
    assert not screened.holds(1.0)
    assert screened.measure_distance(1.0) == math.inf
    assert screened.measure_distance(0.0) == 0


@given(VALUES, st.floats(min_value=0.5, max_value=10), st.floats(min_value=0, max_value=1))
def test_never_more_than_half_goes_and_order_does_not_matter(
    values: list[float], sigmas: float, min_change: float
) -> None:
    screened = screen_values(values, sigmas=sigmas, min_change=min_change)
    assert 2 * screened.kept >= len(values)
    assert screened.first <= screened.median <= screened.last
    assert screen_values(values[::-1], sigmas=sigmas, min_change=min_change) == screened
    assert sum(screened.holds(value) for value in values) >= screened.kept


@given(VALUES)
def test_the_median_is_pythons(values: list[float]) -> None:
    assert find_median(sorted(values)) == pytest.approx(statistics.median(values))


def test_correction_is_one_for_large_samples() -> None:
    assert correct_small_sample(10_000) == pytest.approx(1, abs=1e-3)
    assert correct_small_sample(1) == 1
