"""Which GPUs are used, which are left out and why, and what a launch takes of them."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.machines.recorded_machines import list_machines, read_machine
from tests.unit.serve.random_machines import make_machines
from xpukit.core.errors import UsageError
from xpukit.core.machine import Device, Machine, Sensor
from xpukit.probe.topology import join_topology
from xpukit.serve.devices import find_units
from xpukit.serve.parallelism import Parallelism
from xpukit.serve.placement import localize, place
from xpukit.serve.platforms import parse_platform
from xpukit.serve.topology_groups import cost_of, find_level

GIB = 1 << 30


@settings(max_examples=60, deadline=None)
@given(st.data(), make_machines())
def test_units_are_taken_once_and_groups_are_as_said(data: st.DataObject, machine: Machine) -> None:
    pool = find_units(machine)
    assume(pool.units)
    count = len(pool.units)
    tp = data.draw(st.integers(1, count))
    pp = data.draw(st.integers(1, count // tp))
    dp = data.draw(st.integers(1, count // (tp * pp)))
    replicas = data.draw(st.integers(1, count // (tp * pp * dp)))
    parallelism = Parallelism(tp=tp, pp=pp, dp=dp, replicas=replicas)
    placement = place(pool, parallelism)
    assert len(placement.processes) == replicas
    used = [label for process in placement.processes for label in process.labels]
    assert len(set(used)) == len(used) == tp * pp * dp * replicas
    assert sorted([*used, *placement.unused]) == sorted(unit.label for unit in pool.units)
    by_label = {unit.label: unit for unit in pool.units}
    for process in placement.processes:
        assert list(process.units) == sorted(process.units, key=lambda unit: unit.order)
        assert [label for group in process.tp_groups for label in group.units] == list(process.labels)
        assert [(group.dp_rank, group.pp_rank) for group in process.tp_groups] == [
            (one, stage) for one in range(dp) for stage in range(pp)
        ]
        for group in process.tp_groups:
            assert len(group.units) == tp
            assert group.level == find_level(pool.groups, {by_label[label].device for label in group.units})
    if parallelism.world * replicas == tp:
        nearest = min(
            (cost_of(group.level) for group in pool.groups
             if sum(unit.device in group.devices for unit in pool.units) >= tp),
        )  # fmt: skip
        assert cost_of(placement.worst_level) == nearest, "a nearer group has enough units"


@settings(max_examples=60, deadline=None)
@given(make_machines())
def test_too_many_ranks_are_refused_with_what_was_left_out(machine: Machine) -> None:
    pool = find_units(machine)
    with pytest.raises(UsageError) as caught:
        place(pool, Parallelism(tp=len(pool.units) + 1))
    assert f"{len(pool.units)} can be used" in caught.value.message
    assert all(one.bdf in caught.value.hint for one in pool.excluded)


@pytest.mark.parametrize(
    ("name", "bdf", "reason"),
    [
        ("a770", "0000:00:02.0", "integrated"),
        ("b60x4_bmc", "0000:02:00.0", "display adapter"),
        ("sriov", "0000:18:00.1", "virtual function"),
        ("sriov", "0000:18:00.2", "xe-vfio-pci"),
        ("unbound", "0000:18:00.0", "no driver"),
        ("unbound", "0000:3a:00.0", "vfio-pci"),
    ],
)
def test_what_is_left_out_and_why(name: str, bdf: str, reason: str) -> None:
    pool = find_units(read_machine(name))
    assert reason in next(one.reason for one in pool.excluded if one.bdf == bdf)
    assert bdf not in {unit.bdf for unit in pool.units}


def test_a_gpu_that_level_zero_does_not_list_is_left_out() -> None:
    machine = read_machine("b60x8_2s")
    devices = (msgspec.structs.replace(machine.devices[0], level_zero_index=None), *machine.devices[1:])
    pool = find_units(msgspec.structs.replace(machine, devices=devices))
    assert [(one.label, one.reason) for one in pool.excluded if one.label == "GPU0"] == [
        ("GPU0", "Level Zero does not list it")
    ]


def test_named_gpus_only_even_an_integrated_one() -> None:
    machine = read_machine("a770")
    assert [unit.label for unit in find_units(machine, only=["00:02.0"]).units] == ["GPU0"]
    assert [unit.label for unit in find_units(machine, only=["1"]).units] == ["GPU1"]
    assert [unit.label for unit in find_units(read_machine("max1550"), only=["GPU1/0"]).units] == ["GPU1/0"]
    eight = find_units(read_machine("b60x8_2s"), only=["0000:9a:00.0", "GPU5"])
    assert [unit.label for unit in eight.units] == ["GPU4", "GPU5"]
    assert sum(one.reason == "not asked for" for one in eight.excluded) == 6


@pytest.mark.parametrize("name", ["GPU9", "0000:ff:00.0", "GPU0/7", "", "x"])
def test_names_of_no_gpu(name: str) -> None:
    with pytest.raises(UsageError, match="no GPU"):
        find_units(read_machine("max1550"), only=[name])


def test_a_named_gpu_that_cannot_be_used() -> None:
    with pytest.raises(UsageError, match="bound to vfio-pci"):
        find_units(read_machine("unbound"), only=["GPU1"])


def use_memory(machine: Machine, index: int, free_bytes: int) -> Machine:
    def changed(device: Device) -> Device:
        if device.index != index:
            return device
        kept = tuple(sensor for sensor in device.sensors if sensor.name != "memory free")
        sensor = Sensor(name="memory free", value=float(free_bytes), unit="bytes", source="test")
        return msgspec.structs.replace(device, sensors=(*kept, sensor))

    return msgspec.structs.replace(machine, devices=tuple(changed(device) for device in machine.devices))


def test_a_gpu_in_use_is_taken_last() -> None:
    machine = use_memory(use_memory(read_machine("b60x8_2s"), 0, 2 * GIB), 1, 2 * GIB)
    pool = find_units(machine)
    assert any("GPU0: 22 GiB of 24 GiB are in use already" in note for note in pool.notes)
    placement = place(pool, Parallelism(tp=2))
    assert placement.processes[0].labels == ("GPU2", "GPU3")
    four = place(pool, Parallelism(tp=4), need_bytes=20 * GIB)
    assert four.processes[0].labels == ("GPU4", "GPU5", "GPU6", "GPU7"), "the switch has too little memory free"
    eight = place(pool, Parallelism(tp=8), need_bytes=20 * GIB)
    assert any("GPU0 has 2 GiB free, 20 GiB are needed" in note for note in eight.notes)


def test_a_slower_link_is_avoided() -> None:
    """The third in Level Zero's order has half the bandwidth."""
    placement = place(find_units(read_machine("b60x4_bmc")), Parallelism(tp=3))
    assert placement.processes[0].labels == ("GPU2", "GPU0", "GPU1")


def test_what_is_left_stays_whole() -> None:
    machine = read_machine("b60x8_2s")
    same = tuple(msgspec.structs.replace(device, link=None) for device in machine.devices)
    pool = find_units(msgspec.structs.replace(machine, devices=same))
    assert place(pool, Parallelism(tp=1)).processes[0].labels == ("GPU4",), "not one of the four below the switch"


def test_the_worst_group_counts_more_than_the_sum() -> None:
    """Two pairs within a node are better than one below a switch and one across sockets."""
    machine = read_machine("b60x8_2s")
    # GPU0 and GPU1 below the switch, GPU4 and GPU5 moved to their node, GPU6 on the other one.
    order = (4, 0, 1, 6, 5, 2, 3, 7)
    devices = tuple(
        msgspec.structs.replace(
            device,
            numa_node=0 if device.index in (4, 5) else device.numa_node,
            level_zero_index=order.index(device.index),
            extra={"level_zero": {"driver_index": 0, "masks_flat": [order.index(device.index)]}},
        )
        for device in machine.devices
    )
    moved = msgspec.structs.replace(machine, devices=devices, topology=join_topology(devices, (), machine.numa))
    pool = find_units(moved, only=["GPU4", "GPU0", "GPU1", "GPU6", "GPU5"])
    placement = place(pool, Parallelism(tp=2, dp=2))
    assert placement.processes[0].labels == ("GPU4", "GPU0", "GPU1", "GPU5")
    assert placement.worst_level == "node"


def test_tensor_parallel_goes_below_the_switch_and_replicas_do_not_break_it_up() -> None:
    pool = find_units(read_machine("b60x8_2s"))
    four = place(pool, Parallelism(tp=4))
    assert four.processes[0].labels == ("GPU0", "GPU1", "GPU2", "GPU3")
    assert four.processes[0].tp_groups[0].where == "switch 0000:17:00.0"
    assert place(pool, Parallelism(tp=1)).processes[0].devices[0] >= 4, "one GPU does not break into the switch"
    both = place(pool, Parallelism(tp=4, dp=2))
    assert [group.level for group in both.processes[0].tp_groups] == ["switch", "node"]
    assert not any("across sockets" in note for note in both.notes)
    eight = place(pool, Parallelism(tp=8))
    assert any("across sockets" in note for note in eight.notes)


def test_ranks_are_in_level_zeros_order_so_groups_must_be_neighbours_in_it() -> None:
    """Two sockets whose GPUs Level Zero counts alternately: one process cannot have near TP groups, two can."""
    machine = read_machine("b60x8_2s")
    numbers = {0: 0, 4: 1, 1: 2, 5: 3, 2: 4, 6: 5, 3: 6, 7: 7}
    devices = tuple(
        msgspec.structs.replace(
            device,
            level_zero_index=numbers[device.index],
            extra={"level_zero": {"driver_index": 0, "masks_flat": [numbers[device.index]]}},
        )
        for device in machine.devices
    )
    pool = find_units(msgspec.structs.replace(machine, devices=devices))
    together = place(pool, Parallelism(tp=4, dp=2))
    assert together.worst_level == "machine"
    assert any("Level Zero's order" in note for note in together.notes)
    apart = place(pool, Parallelism(tp=4, replicas=2))
    assert [process.mask.value for process in apart.processes] == ["0,2,4,6", "1,3,5,7"]
    assert [process.tp_groups[0].level for process in apart.processes] == ["switch", "node"]


def test_tiles_of_one_card_go_together() -> None:
    pool = find_units(read_machine("max1550"))
    assert [(unit.label, unit.memory_bytes) for unit in pool.units] == [
        (f"GPU{card}/{tile}", 64 * GIB) for card in (0, 1) for tile in (0, 1)
    ]
    placement = place(pool, Parallelism(tp=2))
    assert placement.processes[0].tp_groups[0].level == "card"
    assert "ZE_FLAT_DEVICE_HIERARCHY=FLAT" in placement.reasons[0]
    whole = find_units(read_machine("max1550"), hierarchy="COMPOSITE")
    assert [(unit.label, unit.memory_bytes) for unit in whole.units] == [("GPU0", 128 * GIB), ("GPU1", 128 * GIB)]
    assert all(unit.free_bytes and unit.free_bytes > 120 * GIB for unit in whole.units)


@pytest.mark.parametrize(
    ("whole", "nodes", "part"),
    [
        (Parallelism(tp=16), 2, Parallelism(tp=8)),
        (Parallelism(tp=1, dp=16, ep=16), 2, Parallelism(tp=1, dp=8, ep=16)),
        (Parallelism(tp=8, pp=2), 2, Parallelism(tp=8)),
        (Parallelism(tp=4, pp=2, dp=2), 2, Parallelism(tp=4, dp=2)),
        (Parallelism(tp=2), 1, Parallelism(tp=2)),
    ],
)
def test_the_part_of_one_node(whole: Parallelism, nodes: int, part: Parallelism) -> None:
    assert localize(whole, nodes) == part
    placement = place(find_units(parse_platform("8xH200").machine), whole, nodes=nodes)
    assert len(placement.processes[0].units) == part.world


def test_ranks_that_do_not_divide_by_the_nodes() -> None:
    with pytest.raises(UsageError, match="evenly"):
        localize(Parallelism(tp=3), 2)
    with pytest.raises(UsageError, match="evenly"):
        localize(Parallelism(tp=4, dp=3), 2)


def test_every_recorded_machine_places_what_it_has() -> None:
    for name in list_machines():
        pool = find_units(read_machine(name))
        if pool.units:
            placement = place(pool, Parallelism(tp=len(pool.units)))
            assert not placement.unused
            assert placement.reasons


def test_the_largest_machine_is_placed_without_looking_at_every_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    import xpukit.serve.placement as module

    looked = []
    monkeypatch.setattr(module, "_rate", lambda *given, real=module._rate: looked.append(1) or real(*given))
    place(find_units(parse_platform("16xB60").machine), Parallelism(tp=4, replicas=4))
    assert len(looked) < 2000
