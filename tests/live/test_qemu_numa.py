"""The NUMA and CPU readings inside real kernels, against `numactl --hardware` and `lscpu` of the same machine."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.live.qemu_machine import (
    FOUR_NODES,
    XPUKIT_GUEST_DIR,
    NodeSpec,
    QemuMachine,
    QemuSpec,
    copy_xpukit,
    find_obstacle,
)
from xpukit.core.units import parse_cpu_list

pytestmark = [pytest.mark.live, pytest.mark.slow, pytest.mark.timeout(900)]
REPO = Path(__file__).resolve().parents[2]

# Sub-NUMA clusters on socket 0, hyper-threads, and memory-only node 3 next to socket 1.
CLUSTERED = QemuSpec(
    cpus=8,
    sockets=2,
    threads_per_core=2,
    nodes=(
        NodeSpec(cpus="0-1", memory_mib=512, distances=(10, 12, 21, 23)),
        NodeSpec(cpus="2-3", memory_mib=512, distances=(12, 10, 21, 23)),
        NodeSpec(cpus="4-7", memory_mib=512, distances=(21, 21, 10, 13)),
        NodeSpec(memory_mib=256, distances=(23, 23, 13, 10)),
    ),
    pxb_nodes=(0, 2),
    switched_nodes=(2,),
)

READ = """
import msgspec, sys
from xpukit.host.live import LiveHost
from xpukit.probe.cpu import read_cpu
from xpukit.probe.numa import locate_function, read_nodes
from xpukit.probe.pci import list_functions, list_others
from xpukit.probe.neighbours import describe_neighbours
from xpukit.probe.topology import join_topology
host = LiveHost()
nodes, unread = read_nodes(host)
cpu, also_unread = read_cpu(host, nodes)
listing = list_functions(host)
others = describe_neighbours(host, list_others(host, listing, include_all=True), listing.functions, nodes)
places = {f.bdf: locate_function(host, f.sys_path, nodes) for f in listing.functions}
found = {"nodes": nodes, "cpu": cpu, "unread": unread + also_unread, "others": others, "places": places,
         "topology": join_topology((), others, nodes)}
sys.stdout.buffer.write(msgspec.json.encode(found))
"""


@pytest.fixture(scope="module")
def share(tmp_path_factory: pytest.TempPathFactory) -> Path:
    obstacle = find_obstacle()
    if obstacle:
        pytest.skip(obstacle)
    tree = tmp_path_factory.mktemp("xpukit")
    copy_xpukit(REPO, tree)
    return tree


@pytest.fixture(scope="module", params=[FOUR_NODES, CLUSTERED], ids=["four-sockets", "clustered"])
def machine(request: pytest.FixtureRequest, share: Path) -> Iterator[QemuMachine]:
    with QemuMachine() as machine:
        machine.boot(request.param, {XPUKIT_GUEST_DIR: share})
        yield machine


def run(machine: QemuMachine, *argv: str) -> str:
    ran = machine.run(argv, timeout_s=120)
    assert ran.rc == 0, ran.err
    return ran.out


def read(machine: QemuMachine, *before: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run(machine, *before, "python3", "-c", READ))
    return found


def parse_numactl(text: str) -> dict[int, tuple[tuple[int, ...], int, tuple[int, ...]]]:
    """{node: (CPUs, MB, distances)}"""
    cpus = {int(n): tuple(map(int, c.split())) for n, c in re.findall(r"^node (\d+) cpus:(.*)$", text, re.MULTILINE)}
    sizes = {int(n): int(mb) for n, mb in re.findall(r"^node (\d+) size: (\d+) MB$", text, re.MULTILINE)}
    rows = {int(n): tuple(map(int, d.split())) for n, d in re.findall(r"^\s+(\d+):\s+(.*)$", text, re.MULTILINE)}
    return {node: (cpus[node], sizes[node], rows[node]) for node in cpus}


def flatten_lscpu(entries: list[dict[str, Any]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for entry in entries:
        found[entry["field"].rstrip(":")] = entry["data"] or ""  # null for a node without CPUs
        found |= flatten_lscpu(entry.get("children", []))
    return found


def check_against_tools(machine: QemuMachine) -> dict[str, Any]:
    found = read(machine)
    numactl = parse_numactl(run(machine, "numactl", "--hardware"))
    assert {
        node["node"]: (parse_cpu_list(node["cpus"]), node["memory_bytes"] >> 20, tuple(node["distances"]))
        for node in found["nodes"]
    } == numactl
    assert len(numactl) == 4
    lscpu = flatten_lscpu(json.loads(run(machine, "lscpu", "-J"))["lscpu"])
    cpu = found["cpu"]
    assert cpu["model"] == " ".join(lscpu["Model name"].split())
    assert parse_cpu_list(cpu["online"]) == parse_cpu_list(lscpu["On-line CPU(s) list"])
    assert parse_cpu_list(cpu["offline"]) == parse_cpu_list(lscpu.get("Off-line CPU(s) list", ""))
    assert cpu["sockets"] == int(lscpu["Socket(s)"])
    assert cpu["threads_per_core"] == int(lscpu["Thread(s) per core"])
    for node in found["nodes"]:
        assert parse_cpu_list(node["cpus"]) == parse_cpu_list(lscpu[f"NUMA node{node['node']} CPU(s)"])
    caches = {f"L{c['level']}{c['kind'][0] if c['kind'] != 'unified' else ''}": c for c in cpu["caches"]}
    assert set(caches) == {name.partition(" ")[0] for name in lscpu if re.fullmatch(r"L\d[di]?( cache)?", name)}
    return found


def test_readings_equal_numactl_and_lscpu(machine: QemuMachine) -> None:
    found = check_against_tools(machine)
    assert [row["what"] for row in found["unread"]] == []
    assert found["cpu"]["allowed"] == found["cpu"]["online"]
    lscpu = flatten_lscpu(json.loads(run(machine, "lscpu", "-J"))["lscpu"])
    assert found["cpu"]["cores"] == int(lscpu["Core(s) per socket"]) * int(lscpu["Socket(s)"])


def test_cluster_and_socket_of_each_node(machine: QemuMachine) -> None:
    found = read(machine)
    clustered = found["cpu"]["sockets"] == 2
    assert found["cpu"]["sub_numa"] is clustered
    assert [node["socket"] for node in found["nodes"]] == ([0, 0, 1, 1] if clustered else [0, 1, 2, 3])


def test_devices_have_the_kernels_node_and_a_network_card_its_place(machine: QemuMachine) -> None:
    found = read(machine)
    for bdf, (node, rule, local_cpus) in found["places"].items():
        own = int(run(machine, "cat", f"/sys/bus/pci/devices/{bdf}/numa_node"))
        assert local_cpus == run(machine, "cat", f"/sys/bus/pci/devices/{bdf}/local_cpulist").strip()
        assert (node, rule) == (own, "device") if own >= 0 else node is None and rule.startswith("none: ")
    cards = [other for other in found["others"] if other["kind"] == "network"]
    clustered = found["cpu"]["sockets"] == 2
    assert sorted(card["numa_node"] for card in cards) == ([0, 2, 2] if clustered else [0, 1, 2, 3])
    topology = found["topology"]
    rows = [i for i, label in enumerate(topology["labels"]) if label.startswith("NIC")]
    relations = {(i, j): topology["matrix"][i][j] for i in rows for j in rows if i < j}
    if clustered:
        assert sorted(relations.values()) == ["PIX", "SYS", "SYS"]
        [(pair, _)] = [entry for entry in relations.items() if entry[1] == "PIX"]
        switch = topology["common"][f"{pair[0]},{pair[1]}"]
        assert "x3130" in run(machine, "lspci", "-s", switch) or "XIO3130" in run(machine, "lspci", "-s", switch)
    else:
        assert set(relations.values()) == {"SYS"}


def test_what_a_process_may_use(machine: QemuMachine) -> None:
    bound = read(machine, "numactl", "-C", "2,5", "-m", "1")
    assert bound["cpu"]["allowed"] == "2,5"
    # A memory policy (-m) is not a limit; only cpusets are.
    assert bound["cpu"]["allowed_mems"] == read(machine)["cpu"]["allowed_mems"]
    assert bound["cpu"]["limits"] == ["affinity: CPUs 2,5 of 0-7"]
    prepare = (
        "cd /sys/fs/cgroup && mkdir -p box/inner && echo '+cpuset +cpu +memory' > cgroup.subtree_control"
        " && echo 1-4 > box/cpuset.cpus && echo 0-1 > box/cpuset.mems"
        " && echo '150000 100000' > box/cpu.max && echo 268435456 > box/memory.max"
    )
    run(machine, "sh", "-c", prepare)
    boxed = read(machine, "sh", "-c", 'echo $$ > /sys/fs/cgroup/box/inner/cgroup.procs && exec "$@"', "sh")
    cpu = boxed["cpu"]
    assert (cpu["allowed"], cpu["allowed_mems"]) == ("1-4", "0-1")
    assert (cpu["cgroup_cpu_limit"], cpu["cgroup_memory_limit_bytes"]) == (1.5, 256 << 20)
    allowed = [cpu for node in boxed["nodes"] for cpu in parse_cpu_list(node["allowed_cpus"])]
    assert sorted(allowed) == [1, 2, 3, 4]
    assert [node["memory_allowed"] for node in boxed["nodes"]] == [True, True, False, False]


def test_an_offline_cpu_leaves_its_node(machine: QemuMachine) -> None:
    """Last: the machine stays changed."""
    run(machine, "sh", "-c", "echo 0 > /sys/devices/system/cpu/cpu7/online")
    found = check_against_tools(machine)
    assert found["cpu"]["offline"] == "7"
    assert all(7 not in parse_cpu_list(node["cpus"]) for node in found["nodes"])
