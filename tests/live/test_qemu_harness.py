"""The QEMU harness itself: that the guest has the machine that was asked for, and that nothing hangs."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.qemu_machine import (
    FOUR_NODES,
    XPUKIT_GUEST_DIR,
    NodeSpec,
    QemuError,
    QemuMachine,
    QemuSpec,
    copy_xpukit,
    find_obstacle,
    run_commands,
)

# The first use builds the guest's root filesystem, which on a slow line takes minutes.
pytestmark = [pytest.mark.live, pytest.mark.slow, pytest.mark.timeout(1500)]

REPOSITORY = Path(__file__).parents[2]
LIST_PCI_NODES = (
    "import json, pathlib\n"
    "read = lambda d, n: (d / n).read_text().strip()\n"
    "print(json.dumps({d.name: [read(d, 'class'), int(read(d, 'numa_node')), read(d, 'local_cpulist'),"
    " str(d.resolve())] for d in pathlib.Path('/sys/bus/pci/devices').iterdir()}))\n"
)
NETWORK_CLASS = "0x020000"


@pytest.fixture(autouse=True)
def _can_run() -> None:
    if obstacle := find_obstacle():
        pytest.skip(obstacle)


@pytest.fixture(scope="module")
def four_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[QemuMachine]:
    if obstacle := find_obstacle():
        pytest.skip(obstacle)
    tree = tmp_path_factory.mktemp("xpukit")
    copy_xpukit(REPOSITORY, tree)
    with QemuMachine() as machine:
        machine.boot(FOUR_NODES, {XPUKIT_GUEST_DIR: tree})
        yield machine


def test_nodes_are_the_kernels(four_nodes: QemuMachine) -> None:
    ran = four_nodes.run(["numactl", "--hardware"])
    assert ran.rc == 0, ran.err
    assert "available: 4 nodes (0-3)" in ran.out
    for i, node in enumerate(FOUR_NODES.nodes):
        assert f"node {i} cpus: {2 * i} {2 * i + 1}\n" in ran.out
        [size_mb] = re.findall(rf"node {i} size: (\d+) MB", ran.out)
        # The kernel keeps some for itself, on node 0 its own image too.
        assert node.memory_mib - 70 <= int(size_mb) <= node.memory_mib
        meminfo = four_nodes.run(["cat", f"/sys/devices/system/node/node{i}/meminfo"]).out
        [total_kb] = re.findall(r"MemTotal:\s+(\d+) kB", meminfo)
        assert int(total_kb) // 1024 == int(size_mb)


def test_lscpu_agrees(four_nodes: QemuMachine) -> None:
    fields: dict[str, str] = {}
    waiting = json.loads(four_nodes.run(["lscpu", "-J"]).out)["lscpu"]
    while waiting:
        entry = waiting.pop()
        fields[entry["field"].rstrip(":")] = entry["data"]
        waiting += entry.get("children", [])
    assert (fields["CPU(s)"], fields["Socket(s)"], fields["NUMA node(s)"]) == ("8", "4", "4")
    assert fields["NUMA node2 CPU(s)"] == "4,5"


def test_devices_are_on_their_nodes(four_nodes: QemuMachine) -> None:
    devices = json.loads(four_nodes.run(["python3", "-c", LIST_PCI_NODES]).out)
    network = sorted(d[1:3] for d in devices.values() if d[0] == NETWORK_CLASS)
    assert network == [[0, "0-1"], [1, "2-3"], [2, "4-5"], [3, "6-7"]]
    assert -1 in {d[1] for d in devices.values()}  # what sits on the first host bridge has no node


def test_guest_has_what_xpukit_needs(four_nodes: QemuMachine) -> None:
    code = (
        "import msgspec, typer, rich, zstandard, packaging, psutil, pyudev, xpukit\n"
        "nodes = {d.get('NUMA_NODE') or d.attributes.asint('numa_node')"
        " for d in pyudev.Context().list_devices(subsystem='pci')}\n"
        "print(xpukit.__file__, psutil.cpu_count(), sorted(nodes))"
    )
    ran = four_nodes.run(["python3", "-c", code], 120.0)
    assert ran.out.split(maxsplit=1) == [f"{XPUKIT_GUEST_DIR}/xpukit/__init__.py", "8 [-1, 0, 1, 2, 3]\n"], ran


def test_outcomes_of_commands(four_nodes: QemuMachine) -> None:
    absent = four_nodes.run(["no-such-command"])
    assert (absent.rc, "No such file" in absent.err) == (127, True)
    assert four_nodes.run(["sh", "-c", "echo out; echo err >&2; exit 3"]).rc == 3
    assert four_nodes.run(["sh", "-c", "kill -9 $$"]).rc == -9
    # A process left behind with the command's output open must hold up neither this answer nor the next.
    began = time.monotonic()
    left = four_nodes.run(["sh", "-c", "sleep 300 & echo started"])
    assert (left.rc, left.out) == (0, "started\n")
    late = four_nodes.run(["sh", "-c", "echo begun; sleep 300"], 2.0)
    assert (late.rc, late.out) == (None, "begun\n")
    assert time.monotonic() - began < 30
    big = four_nodes.run(["seq", "100000"])
    assert big.out == "".join(f"{i}\n" for i in range(1, 100001))


def test_uneven_machine() -> None:
    """Memory-only node, node without memory, distances, hyper-threads, a switch, CPUs left off line."""
    distances = ((10, 21, 31), (21, 10, 41), (31, 41, 10))
    spec = QemuSpec(
        cpus=4,
        sockets=2,
        threads_per_core=2,
        nodes=(
            NodeSpec(cpus="0-1", memory_mib=512, distances=distances[0]),
            NodeSpec(cpus="2-3", distances=distances[1]),
            NodeSpec(memory_mib=256, distances=distances[2]),
        ),
        pxb_nodes=(0, 1),
        switched_nodes=(1,),
        kernel_args="maxcpus=3",
    )
    hardware, siblings, online, pci = run_commands(
        spec,
        [
            ["numactl", "--hardware"],
            ["cat", "/sys/devices/system/cpu/cpu0/topology/thread_siblings_list"],
            ["cat", "/sys/devices/system/cpu/online"],
            ["python3", "-c", LIST_PCI_NODES],
        ],
    )
    assert "node 1 cpus: 2\n" in hardware.out
    assert "node 1 size: 0 MB" in hardware.out
    assert "node 2 cpus:\n" in hardware.out
    for i, row in enumerate(distances):
        assert re.search(rf"^\s+{i}:\s+" + r"\s+".join(map(str, row)) + r"\s*$", hardware.out, re.MULTILINE)
    assert (siblings.out, online.out) == ("0-1\n", "0-2\n")
    network = [d for d in json.loads(pci.out).values() if d[0] == NETWORK_CLASS]
    switched = [Path(d[3]).parts for d in network if d[1] == 1]
    assert (len(network), len(switched)) == (3, 2)
    shared = [a for a, b in zip(*switched, strict=False) if a == b]
    assert len(shared) == len(switched[0]) - 2  # common but for the downstream port and the endpoint


def test_errors_say_what_happened() -> None:
    machine = QemuMachine()
    with pytest.raises(QemuError, match=r"is gone[\s\S]*not a valid device model name"), machine:
        machine.boot(QemuSpec(cpus=1, nodes=(NodeSpec(cpus="0", memory_mib=512),), pxb_nodes=(0,), endpoint="x"))
    one = QemuSpec(cpus=1, nodes=(NodeSpec(cpus="0", memory_mib=512),))
    began = time.monotonic()
    with pytest.raises(QemuError, match=r"at most 1 s: timed out"), QemuMachine() as slow:
        slow.boot(one, limit_s=1.0)
    assert time.monotonic() - began < 20
    # A kernel that panics ends QEMU, and the console's last words are in the error.
    with QemuMachine() as lost:
        lost.boot(one)
        with pytest.raises(QemuError, match=r"the machine is gone[\s\S]*sysrq triggered crash"):
            lost.run(["sh", "-c", "echo c > /proc/sysrq-trigger"])
