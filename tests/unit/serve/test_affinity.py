"""ZE_AFFINITY_MASK against a driver's list, written from Level Zero's specification."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.machines.recorded_machines import read_machine
from tests.unit.serve.random_machines import list_as_level_zero, make_machines
from xpukit.core.machine import Machine
from xpukit.serve.affinity import HIERARCHY, PCI_ORDER, make_mask
from xpukit.serve.devices import DevicePool, Hierarchy, Unit, find_units
from xpukit.serve.platforms import parse_platform


def apply_mask(
    machine: Machine, value: str, *, flat: bool, visible: set[int] | None = None
) -> list[tuple[int, int | None]]:
    """What the driver shows under a mask: its list's entries, in the list's own order."""
    listed = list_as_level_zero(machine, flat=flat, visible=visible)
    if not value:
        return listed
    entries = value.split(",")
    assert len(set(entries)) == len(entries)
    found = []
    for entry in entries:
        number, _, tile = entry.partition(".")
        assert int(number) < len(listed), "the mask names a device that is not there"
        device, own_tile = listed[int(number)]
        found.append((int(number), (device, int(tile) if tile else own_tile)))
    return [shown for _, shown in sorted(found)]


def name(units: tuple[Unit, ...]) -> list[tuple[int, int | None]]:
    return [(unit.device, unit.tile) for unit in units]


@settings(max_examples=80, deadline=None)
@given(st.data(), make_machines(), st.sampled_from(("FLAT", "COMPOSITE")), st.booleans())
def test_the_mask_shows_exactly_the_units_in_rank_order(
    data: st.DataObject, machine: Machine, hierarchy: Hierarchy, in_container: bool
) -> None:
    pool = find_units(machine, hierarchy=hierarchy)
    assume(pool.units)
    chosen = data.draw(st.sets(st.sampled_from(range(len(pool.units))), min_size=1))
    units = tuple(pool.units[index] for index in sorted(chosen))
    flat = hierarchy == "FLAT"
    visible = None
    if in_container:
        others = data.draw(st.sets(st.sampled_from([device.index for device in machine.devices])))
        visible = {unit.device for unit in units} | others
    mask = make_mask(pool, units, visible=sorted(visible) if visible is not None else None)
    assert apply_mask(machine, mask.value, flat=flat, visible=visible) == name(units)
    integrated = {device.index for device in machine.devices if device.discrete is False}
    assert not integrated & {device for device, _ in apply_mask(machine, mask.value, flat=flat, visible=visible)}
    assert mask.guess is (PCI_ORDER in mask.environment)
    assert mask.guess is not any(device.level_zero_index is not None for device in machine.devices)
    if any((device.tiles or 1) > 1 for device in machine.devices):
        assert mask.environment[HIERARCHY] == hierarchy
    else:
        assert HIERARCHY not in mask.environment


@settings(max_examples=30, deadline=None)
@given(st.data(), make_machines())
def test_tiles_named_under_composite(data: st.DataObject, machine: Machine) -> None:
    tiled = [device.index for device in machine.devices if device.tiles == 2]
    assume(tiled)
    wanted = sorted(data.draw(st.sets(st.sampled_from(tiled), min_size=1)))
    pool = find_units(machine, only=[f"GPU{index}/1" for index in wanted], hierarchy="COMPOSITE")
    mask = make_mask(pool, pool.units)
    assert sorted(apply_mask(machine, mask.value, flat=False)) == [(index, 1) for index in wanted]


def pick(pool: DevicePool, *labels: str) -> tuple[Unit, ...]:
    return tuple(unit for unit in pool.units if unit.label in labels)


def test_level_zeros_order_is_not_the_one_of_pci_addresses() -> None:
    pool = find_units(read_machine("b60x4_bmc"))
    assert [unit.label for unit in pool.units] == ["GPU2", "GPU0", "GPU3", "GPU1"]
    mask = make_mask(pool, pick(pool, "GPU0", "GPU1"))
    assert mask.environment == {"ZE_AFFINITY_MASK": "1,3"}
    assert not mask.guess
    assert "GPU0 (0000:18:00.0)" in mask.reasons[0]


def test_the_order_in_which_units_are_given_does_not_matter() -> None:
    pool = find_units(read_machine("b60x4_bmc"))
    assert make_mask(pool, tuple(reversed(pool.units))).value == "0,1,2,3"


def test_level_zeros_own_numbers_are_taken_where_it_lists_more_than_probe_does() -> None:
    machine = read_machine("max1550")
    devices = tuple(
        msgspec.structs.replace(device, extra={"level_zero": {"driver_index": 0, "masks_flat": [numbers, numbers + 1]}})
        for device, numbers in zip(machine.devices, (2, 6), strict=True)
    )
    pool = find_units(msgspec.structs.replace(machine, devices=devices))
    assert make_mask(pool, pool.units).value == "2,3,6,7"


def test_in_a_container_the_numbers_start_again() -> None:
    pool = find_units(read_machine("b60x4_bmc"))
    units = pick(pool, "GPU0", "GPU1")
    assert make_mask(pool, units, visible=[0, 1]).environment == {}
    assert make_mask(pool, units, visible=[0, 1, 3]).value == "0,2"


def test_tiles_of_max_under_both_hierarchies() -> None:
    machine = read_machine("max1550")
    flat = find_units(machine)
    assert make_mask(flat, pick(flat, "GPU0/1", "GPU1/0")).environment == {
        HIERARCHY: "FLAT",
        "ZE_AFFINITY_MASK": "1,2",
    }
    whole = find_units(machine, hierarchy="COMPOSITE")
    assert make_mask(whole, pick(whole, "GPU1")).environment == {HIERARCHY: "COMPOSITE", "ZE_AFFINITY_MASK": "1"}
    assert make_mask(whole, whole.units).everything


def test_an_integrated_gpu_takes_a_number() -> None:
    machine = read_machine("a770_small_bar")
    pool = find_units(machine)
    mask = make_mask(pool, pool.units)
    assert mask.environment == {PCI_ORDER: "1", "ZE_AFFINITY_MASK": "1"}
    assert mask.guess
    assert any(reason.startswith("guess:") for reason in mask.reasons)
    told = find_units(read_machine("a770"))
    assert make_mask(told, told.units).environment == {"ZE_AFFINITY_MASK": "0"}, "this driver lists it last"


def test_nvidia_platforms_get_cudas_variable() -> None:
    pool = find_units(parse_platform("8xH200").machine)
    mask = make_mask(pool, pool.units[2:4])
    assert mask.environment == {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": "2,3"}
    assert not mask.everything


@pytest.mark.parametrize("hierarchy", ["FLAT", "COMPOSITE"])
def test_a_shell_with_another_hierarchy_is_told(hierarchy: Hierarchy) -> None:
    machine = read_machine("max1550")
    other = "COMPOSITE" if hierarchy == "FLAT" else "FLAT"
    level_zero = {**machine.level_zero, "environment": {HIERARCHY: other}}
    pool = find_units(msgspec.structs.replace(machine, level_zero=level_zero), hierarchy=hierarchy)
    assert any(f"{HIERARCHY}={other}" in note for note in pool.notes)
