"""The pinning that `serve` plans, on real kernels: the emitted `numactl` line runs a program where it says.

Nothing in QEMU is an Intel GPU. The network cards behind host bridges of each node stand for GPUs: their NUMA node,
CPUs and memory are the kernel's own.
"""

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

# Two threads a core; node 1 has CPUs only, node 3 memory only. Cards on nodes 0 and 3, two more behind one switch on 2.
ODD = QemuSpec(
    cpus=8,
    sockets=2,
    threads_per_core=2,
    nodes=(
        NodeSpec(cpus="0-1", memory_mib=768, distances=(10, 12, 21, 23)),
        NodeSpec(cpus="2-3", memory_mib=0, distances=(12, 10, 21, 23)),
        NodeSpec(cpus="4-7", memory_mib=512, distances=(21, 21, 10, 13)),
        NodeSpec(memory_mib=256, distances=(23, 23, 13, 10)),
    ),
    pxb_nodes=(0, 1, 2, 3),
    switched_nodes=(2,),
)

PLAN = """
import json, sys
import msgspec
from xpukit.core.machine import Device, Machine
from xpukit.host.live import LiveHost
from xpukit.probe.cpu import read_cpu
from xpukit.probe.numa import locate_function, read_nodes
from xpukit.probe.pci import list_functions, list_others
from xpukit.probe.topology import join_topology
from xpukit.serve.devices import find_units
from xpukit.serve.numa_pinning import plan_pinning
from xpukit.serve.parallelism import Parallelism
from xpukit.serve.pinning_forms import format_docker, format_numactl
from xpukit.serve.placement import place

tp, replicas, threads, reserved = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
host = LiveHost()
nodes, _ = read_nodes(host)
cpu, _ = read_cpu(host, nodes)
listing = list_functions(host)
cards = {other.bdf for other in list_others(host, listing, include_all=True) if other.kind == "network"}
devices = []
for function in listing.functions:
    if function.bdf in cards:
        node, rule, local = locate_function(host, function.sys_path, nodes)
        number = len(devices)
        devices.append(Device(index=number, bdf=function.bdf, vendor_id="8086", device_id="e211", name="stand-in",
                              known=True, discrete=True, driver="xe", render_node=f"/dev/dri/renderD{128 + number}",
                              numa_node=node, numa_rule=rule, local_cpus=local, path=function.path))
devices = tuple(devices)
machine = Machine(devices=devices, cpu=cpu, numa=nodes, topology=join_topology(devices, (), nodes))
placement = place(find_units(machine), Parallelism(tp=tp, replicas=replicas))
pins = plan_pinning(machine, placement.processes, threads=threads, reserved_cpus=reserved)
print(json.dumps([{"labels": process.labels, "level": process.tp_groups[0].level, "numactl": format_numactl(pin),
                   "docker": format_docker(pin), "pin": msgspec.to_builtins(pin),
                   "gpu_nodes": [unit.numa_node for unit in process.units]}
                  for process, pin in zip(placement.processes, pins)]))
"""

# What a program under the line sees of itself; the memory it touches must come from the nodes named.
LOOK = """
import json, re
block = bytearray(48 << 20)
block[::4096] = b"x" * len(block[::4096])
status = dict(line.split(":", 1) for line in open("/proc/self/status") if ":" in line)
found, policies = {}, set()
for line in open("/proc/self/numa_maps"):
    words = line.split()
    # Mappings of files hold pages of the page cache, which lie where they were read first.
    if any(word.startswith("anon=") for word in words) and "file=" not in line:
        policies.add(words[1])
        for node, pages in re.findall(r"\\bN(\\d+)=(\\d+)", line):
            found[node] = found.get(node, 0) + int(pages)
print(json.dumps({"cpus": status["Cpus_allowed_list"].strip(), "mems": status["Mems_allowed_list"].strip(),
                  "policies": sorted(policies), "pages": found}))
"""


@pytest.fixture(scope="module")
def share(tmp_path_factory: pytest.TempPathFactory) -> Path:
    obstacle = find_obstacle()
    if obstacle:
        pytest.skip(obstacle)
    tree = tmp_path_factory.mktemp("xpukit")
    copy_xpukit(REPO, tree)
    return tree


@pytest.fixture(scope="module")
def four(share: Path) -> Iterator[QemuMachine]:
    with QemuMachine() as machine:
        machine.boot(FOUR_NODES, {XPUKIT_GUEST_DIR: share})
        yield machine


@pytest.fixture(scope="module")
def odd(share: Path) -> Iterator[QemuMachine]:
    with QemuMachine() as machine:
        machine.boot(ODD, {XPUKIT_GUEST_DIR: share})
        yield machine


def run(machine: QemuMachine, *argv: str) -> str:
    ran = machine.run(argv, timeout_s=120)
    assert ran.rc == 0, f"{argv}: {ran.err}"
    return ran.out


def plan(
    machine: QemuMachine, tp: int, replicas: int = 1, threads: str = "cores", reserved: str = "", before: str = ""
) -> list[dict[str, Any]]:
    command = ("python3", "-c", PLAN, str(tp), str(replicas), threads, reserved)
    if before:
        command = ("sh", "-c", f'{before} && exec "$@"', "sh", *command)
    found: list[dict[str, Any]] = json.loads(run(machine, *command))
    return found


def check_line(machine: QemuMachine, launch: dict[str, Any]) -> dict[str, Any]:
    """Run a program under the emitted line; what it saw must be what the plan states."""
    pin = launch["pin"]
    assert launch["numactl"][:3] == ["numactl", "-C", pin["cpus"]]
    seen: dict[str, Any] = json.loads(run(machine, *launch["numactl"], "python3", "-c", LOOK))
    assert parse_cpu_list(seen["cpus"]) == parse_cpu_list(pin["cpus"])
    assert seen["policies"] == [f"bind:{pin['mems']}"]
    pages = seen["pages"]
    assert set(map(int, pages)) <= set(parse_cpu_list(pin["mems"])), pages
    assert sum(pages.values()) >= 48 << 8, "fewer pages than the program touched"
    return seen


def test_one_launch_on_each_node(four: QemuMachine) -> None:
    launches = plan(four, tp=1, replicas=4)
    assert [launch["gpu_nodes"] for launch in launches] == [[0], [1], [2], [3]]
    assert [launch["pin"]["cpus"] for launch in launches] == ["0-1", "2-3", "4-5", "6-7"]
    assert [launch["pin"]["mems"] for launch in launches] == ["0", "1", "2", "3"]
    for launch in launches:
        check_line(four, launch)


def test_a_launch_over_two_nodes_and_reserved_cpus(four: QemuMachine) -> None:
    one, other = plan(four, tp=2, replicas=2, reserved="0,5")
    assert (one["pin"]["cpus"], other["pin"]["cpus"]) == ("1-3", "4,6-7")
    assert (one["pin"]["mems"], other["pin"]["mems"]) == ("0-1", "2-3")
    check_line(four, one)
    check_line(four, other)


def test_inside_a_cpuset_only_what_it_allows_is_named(four: QemuMachine) -> None:
    box = (
        "cd /sys/fs/cgroup && mkdir -p serve-box && echo '+cpuset' > cgroup.subtree_control"
        " && echo 3-6 > serve-box/cpuset.cpus && echo 1-3 > serve-box/cpuset.mems"
    )
    run(four, "sh", "-c", box)
    enter = "echo $$ > /sys/fs/cgroup/serve-box/cgroup.procs"
    launches = plan(four, tp=1, replicas=4, before=enter)
    for launch in launches:
        assert set(parse_cpu_list(launch["pin"]["cpus"])) <= {3, 4, 5, 6}
        assert set(parse_cpu_list(launch["pin"]["mems"])) <= {1, 2, 3}
        inside = ("sh", "-c", f'{enter} && exec "$@"', "sh", *launch["numactl"], "python3", "-c", LOOK)
        seen = json.loads(run(four, *inside))
        assert parse_cpu_list(seen["cpus"]) == parse_cpu_list(launch["pin"]["cpus"])
        assert seen["mems"] == "1-3"
        assert set(map(int, seen["pages"])) <= set(parse_cpu_list(launch["pin"]["mems"]))


def test_what_docker_would_set_is_a_valid_cpuset(four: QemuMachine) -> None:
    [launch] = plan(four, tp=2)
    cpus, mems = (re.fullmatch(r"--cpuset-\w+=(.*)", word)[1] for word in launch["docker"])  # type: ignore[index]
    script = (
        "cd /sys/fs/cgroup && mkdir -p docker-box && echo '+cpuset' > cgroup.subtree_control"
        f" && echo {cpus} > docker-box/cpuset.cpus && echo {mems} > docker-box/cpuset.mems"
        ' && echo $$ > docker-box/cgroup.procs && exec "$@"'
    )
    seen = json.loads(run(four, "sh", "-c", script, "sh", "python3", "-c", LOOK))
    assert parse_cpu_list(seen["cpus"]) == parse_cpu_list(launch["pin"]["cpus"])
    assert parse_cpu_list(seen["mems"]) == parse_cpu_list(launch["pin"]["mems"])


def test_nodes_without_memory_or_cpus(odd: QemuMachine) -> None:
    launches = {tuple(one["gpu_nodes"]): one for one in plan(odd, tp=1, replicas=5)}
    by_node = {nodes[0]: one for nodes, one in launches.items()}
    assert by_node[0]["pin"]["mems"] == "0"
    if 1 in by_node:  # the kernel may give a card of a node without memory to another node
        assert by_node[1]["pin"]["mems"] == "0"
        assert by_node[1]["pin"]["cpus"] == "2"
    assert by_node[3]["pin"]["nodes"] == [2], "memory only: the CPUs of the nearest node"
    for launch in launches.values():
        assert len(parse_cpu_list(launch["pin"]["cpus"])) == 1, "one thread of each core"
        check_line(odd, launch)


def test_tensor_parallel_takes_the_two_below_a_switch(odd: QemuMachine) -> None:
    [launch] = plan(odd, tp=2, threads="all")
    assert (launch["level"], launch["gpu_nodes"]) == ("switch", [2, 2])
    assert launch["pin"]["cpus"] == "4-7"
    check_line(odd, launch)
