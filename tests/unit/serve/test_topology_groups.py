"""Groups of GPUs: properties over random machines, names and levels on recorded ones."""

from __future__ import annotations

import msgspec
from hypothesis import given, settings

from tests.machines.recorded_machines import list_machines, read_machine
from tests.unit.serve.random_machines import make_machines
from xpukit.core.machine import Machine
from xpukit.serve.platforms import parse_platform
from xpukit.serve.topology_groups import LEVELS, find_common, find_groups, find_level


def name_groups(machine: Machine) -> dict[str, list[tuple[str, tuple[int, ...]]]]:
    """Groups of more than one GPU, by level."""
    found: dict[str, list[tuple[str, tuple[int, ...]]]] = {}
    for group in find_groups(machine):
        if len(group.devices) > 1:
            found.setdefault(group.level, []).append((group.name, group.devices))
    return found


@settings(max_examples=50, deadline=None)
@given(make_machines())
def test_each_level_divides_the_gpus(machine: Machine) -> None:
    groups = find_groups(machine)
    everyone = sorted(device.index for device in machine.devices)
    for level in LEVELS:
        members = [index for group in groups if group.level == level for index in group.devices]
        assert sorted(members) == everyone
    nodes = {device.index: device.numa_node for device in machine.devices}
    sockets = {node.node: node.socket for node in machine.numa}
    for group in groups:
        if group.level == "socket" and len(machine.numa) > 1:
            known = {sockets[node] for index in group.devices if (node := nodes[index]) is not None}
            shared_root = any(
                other.level == "root" and len(other.devices) > 1 and set(other.devices) <= set(group.devices)
                for other in groups
            )
            assert len(known) <= 1 or shared_root
    assert find_level(groups, everyone) in LEVELS
    assert find_level(groups, everyone[:1]) == "card"


def test_a_switch_and_slots_of_two_sockets() -> None:
    found = name_groups(read_machine("b60x8_2s"))
    assert found["switch"] == [("switch 0000:17:00.0", (0, 1, 2, 3))]
    assert found["root"] == [("root 0000:16", (0, 1, 2, 3))]
    assert found["node"] == [("node 0", (0, 1, 2, 3)), ("node 1", (4, 5, 6, 7))]
    assert found["socket"] == [("socket 0", (0, 1, 2, 3)), ("socket 1", (4, 5, 6, 7))]
    assert found["machine"] == [("machine", tuple(range(8)))]
    groups = find_groups(read_machine("b60x8_2s"))
    assert [find_level(groups, pair) for pair in ((0, 1), (4, 5), (3, 4))] == ["switch", "node", "machine"]
    common = find_common(groups, (0, 3))
    assert common is not None
    assert common.name == "switch 0000:17:00.0"


def test_functions_of_one_card() -> None:
    assert name_groups(read_machine("sriov"))["card"] == [("0000:18:00.0", (0, 1, 2))]


def test_two_gpus_behind_a_switch_of_their_card() -> None:
    assert name_groups(read_machine("dual_card"))["switch"] == [("switch 0000:01:00.0", (0, 1))]


def link_cards(status: str, remote: str) -> Machine:
    """The two Max cards with one port each; fabric ids 298 and 512."""
    machine = read_machine("max1550")
    ends = (("298:0:1", remote), ("512:0:1", "298:0:1"))
    seen = [
        {"bdf": device.bdf, "sysman": {"fabric_ports": [{"port": port, "remote_port": to, "status": status}]}}
        for device, (port, to) in zip(machine.devices, ends, strict=True)
    ]
    return msgspec.structs.replace(machine, level_zero={"devices": seen})


def test_xe_link_joins_cards_whose_ports_meet() -> None:
    assert name_groups(link_cards("healthy", "512:0:1"))["fabric"] == [("Xe Link", (0, 1))]
    assert find_level(find_groups(link_cards("healthy", "512:0:1")), (0, 1)) == "fabric"
    assert "fabric" not in name_groups(link_cards("disabled", "512:0:1"))
    assert "fabric" not in name_groups(read_machine("max1550")), "each card's recorded ports lead to cards elsewhere"


def test_platforms_with_a_fabric() -> None:
    assert name_groups(parse_platform("8xH200").machine)["fabric"] == [("NVLink", tuple(range(8)))]
    assert "fabric" not in name_groups(parse_platform("8xB60").machine)


def test_every_recorded_machine() -> None:
    for name in list_machines():
        machine = read_machine(name)
        groups = find_groups(machine)
        assert {group.level for group in groups} == set(LEVELS)
        assert find_level(groups, [device.index for device in machine.devices]) in LEVELS
