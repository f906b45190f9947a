from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.machines.dict_host import DictHost
from tests.machines.node_layout import CPU, NODE, write_allowed, write_aurora, write_cpus, write_nodes
from xpukit.core.machine import Device, NumaNode, OtherDevice
from xpukit.core.units import parse_cpu_list
from xpukit.host.answers import FileAnswer
from xpukit.probe.neighbours import describe_neighbours
from xpukit.probe.numa import (
    assign_nodes,
    assign_numa_node,
    list_ancestor_dirs,
    parse_distances,
    parse_meminfo,
    read_nodes,
)
from xpukit.probe.question import PciFunction

TWO_NODES = (NumaNode(node=0, cpus="0-3"), NumaNode(node=1, cpus="4-7"))


def test_aurora_has_memory_only_nodes_next_to_their_socket() -> None:
    nodes, unread = read_nodes(DictHost(write_aurora()))
    assert unread == ()
    assert [node.node for node in nodes] == [0, 1, 2, 3]
    assert [node.cpus for node in nodes] == ["0-51,104-155", "52-103,156-207", "", ""]
    assert [(node.memory_bytes or 0) >> 20 for node in nodes] == [515524, 514994, 65536, 65536]
    assert [node.distances for node in nodes][2] == (13, 23, 10, 23)
    assert [node.socket for node in nodes] == [0, 1, 0, 1]
    assert [node.memory_allowed for node in nodes] == [True] * 4


def test_sparse_numbers_offline_cpus_and_a_node_without_memory() -> None:
    files = {
        **write_nodes({0: ((0, 1), 1024, (10, 20)), 8: ((2, 3), 0, (20, 10))}),
        **write_cpus({0: (0, 1), 1: (2, 3)}, [(0,), (1,), (2,), (3,)], offline=(4, 5)),
        **write_allowed("0-1", "0"),
    }
    nodes, unread = read_nodes(DictHost(files))
    assert unread == ()
    assert [(node.node, node.cpus, node.memory_bytes) for node in nodes] == [(0, "0-1", 1 << 20), (8, "2-3", 0)]
    assert [(node.allowed_cpus, node.memory_allowed) for node in nodes] == [("0-1", True), ("", False)]
    assert [node.socket for node in nodes] == [0, 1]


def test_a_kernel_without_numa_is_one_node_and_it_is_said() -> None:
    files = {
        **write_cpus({0: (0, 1)}, [(0,), (1,)]),
        "/proc/meminfo": "MemTotal:  2048 kB\nMemFree:  1024 kB\n",
        **write_allowed("0-1", "0"),
    }
    nodes, unread = read_nodes(DictHost(files))
    assert [(node.node, node.cpus, node.memory_bytes, node.distances) for node in nodes] == [(0, "0-1", 2 << 20, (10,))]
    assert "taken as one node 0" in unread[0].why


def test_nothing_at_all_is_no_node_and_a_reason() -> None:
    nodes, unread = read_nodes(DictHost())
    assert nodes == ()
    assert [row.what for row in unread] == ["NUMA nodes"]


def test_damaged_files_cost_their_own_value_only() -> None:
    files = {
        **write_nodes({0: ((0, 1), 1024, (10, 20)), 1: ((2, 3), 1024, (20, 10))}),
        **write_cpus({0: (0, 1, 2, 3)}, [(0, 2), (1, 3)]),
        f"{NODE}/node0/distance": "ten",
        f"{NODE}/node1/cpulist": FileAnswer(error="EACCES"),
        f"{NODE}/node1/meminfo": "",
    }
    nodes, unread = read_nodes(DictHost(files))
    assert (nodes[0].cpus, nodes[0].memory_bytes, nodes[0].distances) == ("0-1", 1 << 20, ())
    assert (nodes[1].cpus, nodes[1].memory_bytes, nodes[1].distances) == ("", None, (20, 10))
    assert sorted(row.what for row in unread) == [
        "CPUs of NUMA node 1",
        "distances of NUMA node 0",
        "memory of NUMA node 1",
    ]


@pytest.mark.parametrize(
    ("own", "ancestors", "local", "expected"),
    [
        (1, [("0000:16:00.0", 0)], "0-3", (1, "device")),
        (-1, [("0000:17:00.0", None), ("0000:16:00.0", 1)], "0-3", (1, "ancestor 0000:16:00.0")),
        (None, [("0000:16:00.0", -1)], "4-5", (1, "local_cpulist")),
        (None, [], "6-9", (1, "local_cpulist")),
    ],
)
def test_numa_rule(
    own: int | None, ancestors: list[tuple[str, int | None]], local: str, expected: tuple[int | None, str]
) -> None:
    assert assign_numa_node(own, ancestors, local, TWO_NODES) == expected


@pytest.mark.parametrize(
    ("local", "why"), [("0-7", "are in nodes 0-1"), ("", "no local CPUs"), ("64", "are in no node")]
)
def test_no_rule_applies_and_says_why(local: str, why: str) -> None:
    node, rule = assign_numa_node(None, [("0000:16:00.0", None)], local, TWO_NODES)
    assert node is None
    assert rule.startswith("none: ")
    assert why in rule


def make_device(bdf: str) -> Device:
    return Device(index=0, bdf=bdf, vendor_id="8086", device_id="e211", name="B60", known=True)


def test_a_card_takes_the_node_of_its_nearest_bridge_that_has_one() -> None:
    sys_path = "/sys/devices/pci0000:16/0000:16:01.0/0000:17:00.0/0000:18:01.0/0000:19:00.0"
    files = {
        f"{sys_path}/numa_node": "-1\n",
        f"{sys_path}/local_cpulist": "0-7\n",
        "/sys/devices/pci0000:16/0000:16:01.0/0000:17:00.0/numa_node": "-1\n",
        "/sys/devices/pci0000:16/0000:16:01.0/numa_node": "1\n",
    }
    function = PciFunction(bdf="0000:19:00.0", sys_path=sys_path, vendor_id="8086", device_id="e211")
    [device] = assign_nodes(DictHost(files), (make_device("0000:19:00.0"),), (function,), TWO_NODES)
    assert (device.numa_node, device.numa_rule) == (1, "ancestor 0000:16:01.0")
    assert device.local_cpus == "0-7"


def test_ancestors_are_pci_functions_nearest_first() -> None:
    found = list_ancestor_dirs("/sys/devices/pci0000:00/0000:00:0e.0/pci10000:e0/10000:e0:01.0/10000:e1:00.0")
    assert [bdf for bdf, _ in found] == ["10000:e0:01.0", "0000:00:0e.0"]
    assert found[0][1] == "/sys/devices/pci0000:00/0000:00:0e.0/pci10000:e0/10000:e0:01.0"


def test_neighbours_are_named_and_placed() -> None:
    nic = "/sys/devices/pci0000:16/0000:16:02.0/0000:1a:00.0"
    drive = "/sys/devices/pci0000:16/0000:16:03.0/0000:1b:00.0"
    files = {
        f"{nic}/infiniband/mlx5_0/node_guid": "0",
        f"{nic}/net/ens1/address": "0",
        f"{nic}/numa_node": "1",
        f"{drive}/nvme/nvme3/state": "live",
    }
    functions = (
        PciFunction(bdf="0000:1a:00.0", sys_path=nic, vendor_id="15b3", device_id="1021", pci_class="020700"),
        PciFunction(bdf="0000:1b:00.0", sys_path=drive, vendor_id="144d", device_id="a80a", pci_class="010802"),
    )
    others = tuple(
        OtherDevice(bdf=f.bdf, vendor_id=f.vendor_id, device_id=f.device_id, pci_class=f.pci_class, kind=kind)
        for f, kind in zip(functions, ("network", "nvme"), strict=True)
    )
    found = describe_neighbours(DictHost(files), others, functions, TWO_NODES)
    assert [(other.interfaces, other.numa_node) for other in found] == [(("mlx5_0", "ens1"), 1), (("nvme3",), None)]


# A busy machine is no reason to fail.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
file_text = st.one_of(st.text("0123456789,-: /", max_size=20), st.sampled_from(["", "0-", "é", "-1", "0::/../x"]))
node_files = st.dictionaries(
    st.sampled_from(
        [f"{NODE}/online"]
        + [f"{NODE}/node{n}/{name}" for n in (0, 1, 7) for name in ("cpulist", "meminfo", "distance")]
        + [f"{CPU}/online", f"{CPU}/present", "/proc/self/status", "/proc/self/cgroup", "/proc/self/mountinfo"]
        + [f"{CPU}/cpu{c}/topology/{name}" for c in (0, 1) for name in ("package_cpus_list", "physical_package_id")]
    ),
    file_text,
)


@unhurried
@given(node_files)
def test_any_files_are_read_and_a_cpu_is_in_at_most_one_node(files: dict[str, str]) -> None:
    nodes, _ = read_nodes(DictHost(files))
    cpus = [cpu for node in nodes for cpu in parse_cpu_list(node.cpus)]
    assert len(cpus) == len(set(cpus))
    assert [node.node for node in nodes] == sorted({node.node for node in nodes})


@unhurried
@given(
    st.lists(st.sets(st.integers(0, 40), max_size=8), min_size=1, max_size=6),
    st.sets(st.integers(0, 40), max_size=40),
)
def test_layouts_survive_the_round_trip_through_sysfs(cpu_sets: list[set[int]], allowed: set[int]) -> None:
    seen: set[int] = set()
    layout: dict[int, list[int]] = {}
    for number, cpus in enumerate(cpu_sets):
        layout[2 * number] = sorted(cpus - seen)
        seen |= cpus
    files = write_nodes({n: (cpus, 1024, [10] * len(layout)) for n, cpus in layout.items()})
    if seen:
        files |= write_cpus({0: sorted(seen)}, [(cpu,) for cpu in sorted(seen)])
    files |= write_allowed(",".join(map(str, sorted(allowed))), "0")
    nodes, _ = read_nodes(DictHost(files))
    assert {node.node: list(parse_cpu_list(node.cpus)) for node in nodes} == layout
    for node in nodes:
        assert set(parse_cpu_list(node.allowed_cpus)) <= set(parse_cpu_list(node.cpus))
        if allowed & seen:
            assert set(parse_cpu_list(node.allowed_cpus)) == set(layout[node.node]) & allowed


@unhurried
@given(st.text())
def test_parsers_take_any_text(text: str) -> None:
    assert all(size >= 0 for size in parse_meminfo(text).values())
    assert all(distance >= 0 for distance in parse_distances(text))
