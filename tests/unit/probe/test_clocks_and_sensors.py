from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.machines.recorded_machines import find_device, open_machine, read_machine
from xpukit.host.answers import FileAnswer
from xpukit.host.overlay import OverlayHost
from xpukit.probe.machine import probe_machine
from xpukit.probe.memory import parse_mm_size
from xpukit.probe.sysfs import parse_int

GIB = 1 << 30


def test_xe_has_a_main_and_a_media_gt() -> None:
    main, media = find_device("b60x4_bmc", "0000:18:00.0").gts
    assert (main.tile, main.gt, main.kind, main.max_mhz, main.actual_mhz) == (0, 0, "main", 2400, 1900)
    assert (media.tile, media.gt, media.kind, media.max_mhz) == (0, 1, "media", 1500)
    assert main.throttle_reasons == ()


def test_a_throttled_card_says_why() -> None:
    assert find_device("b60x4_bmc", "0000:3a:00.0").gts[0].throttle_reasons == ("pl1",)


def test_i915_without_tiles() -> None:
    (gt,) = find_device("a770", "0000:03:00.0").gts
    assert (gt.tile, gt.kind, gt.min_mhz, gt.max_mhz, gt.current_mhz) == (0, "main", 300, 2400, 600)
    assert find_device("a770", "0000:03:00.0").tiles == 1


def test_on_a_max_each_gt_of_i915_is_a_tile() -> None:
    device = find_device("max1550", "0000:2a:00.0")
    assert [(gt.tile, gt.gt, gt.kind, gt.actual_mhz) for gt in device.gts] == [
        (0, 0, "main", 1550),
        (1, 1, "main", 1550),
    ]
    assert device.tiles == 2


def test_i915_says_throttled_without_a_reason() -> None:
    path = "/sys/devices/pci0000:00/0000:00:02.0/drm/card0/gt/gt0/throttle_reason_status"
    host = OverlayHost(open_machine("a770"), {("read", path): FileAnswer(data=b"1\n")})
    assert probe_machine(host, include_all=True).devices[0].gts[0].throttle_reasons == ("unknown",)


def test_sensors_have_labels_and_units() -> None:
    sensors = {sensor.name: (sensor.value, sensor.unit) for sensor in find_device("b60x4_bmc", "0000:18:00.0").sensors}
    assert sensors["temp pkg"] == (52.0, "C")
    assert sensors["temp vram"] == (58.0, "C")
    assert sensors["power card max"] == (200.0, "W")
    assert sensors["in pkg"] == (0.843, "V")
    assert sensors["fan 1"] == (1180.0, "RPM")
    assert sensors["energy card"] == (81239.412345, "J")
    assert not any("interval" in name for name in sensors)


def test_several_chips_of_a_card_are_all_read() -> None:
    sensors = [s for s in find_device("max1550", "0000:aa:00.0").sensors if s.source.startswith("/sys/")]
    assert {sensor.source.split("/")[-2] for sensor in sensors} == {"hwmon3", "hwmon4", "hwmon5"}
    # Each tile has a chip of its own, with the same file names.
    assert [s.name for s in sensors if s.unit == "J"] == ["energy 1", "energy 1 gt0", "energy 1 gt1"]


def test_a_sensor_that_fails_is_said() -> None:
    sensor = next(s for s in read_machine("b60x4_bmc").devices[0].sensors if s.name == "temp pkg")
    host = OverlayHost(open_machine("b60x4_bmc"), {("read", sensor.source): FileAnswer(error="ENODEV")})
    device = probe_machine(host, include_all=True).devices[0]
    assert [row.why for row in device.unread if row.what == sensor.source] == ["the device does not answer"]


def test_memory_of_xe_i915_and_where_nothing_says() -> None:
    assert find_device("b60x4_bmc", "0000:18:00.0").memory_bytes == 24 * GIB
    assert find_device("max1550", "0000:2a:00.0").memory_bytes == 128 * GIB
    assert find_device("a770_small_bar", "0000:03:00.0").memory_bytes is None
    assert find_device("unbound", "0000:18:00.0").memory_bytes is None


@pytest.mark.parametrize(("text", "size"), [("  size: 25669140480\n  usage: 1\n", 25669140480), ("", None)])
def test_the_drivers_memory_manager(text: str, size: int | None) -> None:
    assert parse_mm_size(text) == size


@given(st.text())
def test_numbers_never_raise(text: str) -> None:
    value = parse_int(text)
    assert value is None or isinstance(value, int)


@pytest.mark.parametrize(("text", "value"), [("0x10", 16), ("007", 7), ("-1\n", -1), ("12 MHz", None), ("", None)])
def test_numbers(text: str, value: int | None) -> None:
    assert parse_int(text) == value
