"""A variable that leaves no GPU out is not said to hide one; one that cannot be read is."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.machines.four_b60 import make_devices
from xpukit.probe.selectors import NAMES, may_hide

FOUR = tuple(msgspec.structs.replace(device, affinity_mask=str(number)) for number, device in enumerate(make_devices()))
# Two cards of two tiles each under the flat hierarchy: each tile has a number.
TILES = tuple(
    msgspec.structs.replace(device, affinity_mask=mask) for device, mask in zip(FOUR, ("0,1", "2,3"), strict=False)
)


@pytest.mark.parametrize(
    ("name", "value", "hides"),
    [
        ("ZE_AFFINITY_MASK", "", False),
        ("ZE_AFFINITY_MASK", "0,1,2,3", False),
        ("ZE_AFFINITY_MASK", " 3, 2,1 ,0", False),
        ("ZE_AFFINITY_MASK", "0,1,2", True),
        ("ZE_AFFINITY_MASK", "0.0,1,2,3", True),
        ("ZE_AFFINITY_MASK", "99", True),
        ("ZE_AFFINITY_MASK", "-1", True),
        ("ZE_AFFINITY_MASK", "all", True),
        ("ONEAPI_DEVICE_SELECTOR", "level_zero:gpu", False),
        ("ONEAPI_DEVICE_SELECTOR", "level_zero:*", False),
        ("ONEAPI_DEVICE_SELECTOR", "*:gpu", False),
        ("ONEAPI_DEVICE_SELECTOR", "*:*", False),
        ("ONEAPI_DEVICE_SELECTOR", "opencl:cpu;LEVEL_ZERO:GPU", False),
        ("ONEAPI_DEVICE_SELECTOR", "level_zero:cpu,gpu", False),
        ("ONEAPI_DEVICE_SELECTOR", "*:gpu;!level_zero:0", True),
        ("ONEAPI_DEVICE_SELECTOR", "level_zero:0", True),
        ("ONEAPI_DEVICE_SELECTOR", "level_zero:0,1,2,3", True),
        ("ONEAPI_DEVICE_SELECTOR", "opencl:gpu", True),
        ("ONEAPI_DEVICE_SELECTOR", "nonsense", True),
        ("SYCL_DEVICE_FILTER", "gpu", True),
    ],
)
def test_four_cards(name: str, value: str, hides: bool) -> None:
    assert may_hide(name, value, FOUR) == hides


def test_tiles_count_where_each_has_a_number() -> None:
    assert may_hide("ZE_AFFINITY_MASK", "0,2", TILES)
    assert not may_hide("ZE_AFFINITY_MASK", "0,1,2,3", TILES)


def test_a_mask_cannot_be_judged_where_level_zero_gave_no_order() -> None:
    assert may_hide("ZE_AFFINITY_MASK", "0,1,2,3", make_devices())


@given(st.sampled_from(NAMES), st.text(max_size=20))
def test_any_text_is_taken(name: str, value: str) -> None:
    assert may_hide(name, value, FOUR) in (True, False)
