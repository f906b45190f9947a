"""CPU and memory sets: properties over random machines, and exact answers on recorded ones."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.machines.recorded_machines import read_machine
from tests.unit.serve.random_machines import GIB, make_machines, read_cpus
from xpukit.core.errors import UsageError
from xpukit.core.machine import CpuLayout, Machine, NumaNode
from xpukit.serve.devices import find_units
from xpukit.serve.numa_pinning import Pinning, plan_pinning
from xpukit.serve.parallelism import Parallelism
from xpukit.serve.pinning_forms import format_docker, format_engine, format_numactl, format_systemd
from xpukit.serve.placement import place
from xpukit.serve.platforms import parse_platform

VLLM_FLAGS = {"--numa-bind", "--numa-bind-nodes", "--numa-bind-cpus"}


def pin(machine: Machine, parallelism: Parallelism = Parallelism(), **options: object) -> tuple[Pinning, ...]:  # noqa: B008
    placement = place(find_units(machine), parallelism)
    return plan_pinning(machine, placement.processes, **options)  # type: ignore[arg-type]


def count_distance(machine: Machine, one: int, other: int) -> int:
    positions = [node.node for node in machine.numa]
    row = machine.numa[positions.index(one)].distances
    return row[positions.index(other)]


@settings(max_examples=70, deadline=None)
@given(st.data(), make_machines(), st.sampled_from(("cores", "all")))
def test_cpu_sets_are_allowed_local_and_apart(data: st.DataObject, machine: Machine, threads: str) -> None:
    pool = find_units(machine)
    assume(pool.units)
    replicas = data.draw(st.integers(1, len(pool.units)))
    size = data.draw(st.integers(1, len(pool.units) // replicas))
    allowed = read_cpus(machine.cpu.allowed)
    reserved = data.draw(st.sets(st.sampled_from(sorted(allowed)), max_size=2))
    reserved_cores = {cpu for core in machine.cpu.siblings if read_cpus(core) & reserved for cpu in read_cpus(core)}
    assume(allowed - reserved_cores)
    placement = place(pool, Parallelism(tp=size, replicas=replicas))
    text = ",".join(map(str, sorted(reserved)))
    pins = plan_pinning(machine, placement.processes, reserved_cpus=text, threads=threads)  # type: ignore[arg-type]
    usable = allowed - reserved_cores
    nodes = {node.node: node for node in machine.numa}
    with_cpus = [number for number, node in nodes.items() if read_cpus(node.cpus) & usable]
    memory = {n for n, node in nodes.items() if node.memory_bytes != 0 and node.memory_allowed is not False}
    owners: dict[int, str] = {}
    for one, process in zip(pins, placement.processes, strict=True):
        assert read_cpus(one.cpus) <= usable
        assert [rank.label for rank in one.ranks] == list(process.labels)
        assert one.reasons
        if not one.bound:
            assert format_numactl(one) == format_docker(one) == format_systemd(one) == ()
            continue
        assert one.cpus
        assert read_cpus(one.mems) <= memory
        assert read_cpus(one.cpus) == {cpu for rank in one.ranks for cpu in read_cpus(rank.cpus)}
        for rank in one.ranks:
            cpus = read_cpus(rank.cpus)
            assert cpus
            assert rank.node in with_cpus
            assert cpus <= read_cpus(nodes[rank.node].cpus)
            if rank.node != rank.gpu_node and rank.gpu_node is not None:
                assert rank.gpu_node not in with_cpus
                if nodes[rank.gpu_node].distances:
                    nearest = min(count_distance(machine, rank.gpu_node, other) for other in with_cpus)
                    assert count_distance(machine, rank.gpu_node, rank.node) == nearest
                else:
                    assert nodes[rank.node].socket == nodes[rank.gpu_node].socket
            if threads == "cores":
                assert all(len(cpus & read_cpus(core)) <= 1 for core in machine.cpu.siblings)
            else:
                cores = [read_cpus(core) & usable for core in machine.cpu.siblings if cpus & read_cpus(core)]
                assert cpus == set().union(*cores)
            if not rank.shared:
                assert not cpus & owners.keys(), "a core given to two ranks, and nobody said so"
                owners |= dict.fromkeys(cpus, rank.label)
            else:
                assert any("share" in note for note in one.notes)


@settings(max_examples=40, deadline=None)
@given(make_machines())
def test_forms_say_the_same(machine: Machine) -> None:
    pool = find_units(machine)
    assume(pool.units)
    for one in plan_pinning(machine, place(pool, Parallelism(tp=len(pool.units))).processes):
        if not one.bound:
            continue
        words = list(format_numactl(one))
        assert words[:3] == ["numactl", "-C", one.cpus]
        assert (
            words[3:]
            == {"bind": ["-m", one.mems], "preferred": [f"--preferred={one.mems}"], "none": []}[one.memory_policy]
        )
        assert f"--cpuset-cpus={one.cpus}" in format_docker(one)
        assert (f"--cpuset-mems={one.mems}" in format_docker(one)) is (one.memory_policy == "bind")
        assert format_systemd(one)[0] == f"CPUAffinity={one.cpus}"


def test_recorded_two_sockets_tensor_parallel_four() -> None:
    [one] = pin(read_machine("b60x8_2s"), Parallelism(tp=4))
    assert format_numactl(one) == ("numactl", "-C", "0-47", "-m", "0")
    assert format_docker(one) == ("--cpuset-cpus=0-47", "--cpuset-mems=0")
    assert format_systemd(one) == ("CPUAffinity=0-47", "NUMAPolicy=bind", "NUMAMask=0")
    assert [rank.cpus for rank in one.ranks] == ["0-11", "12-23", "24-35", "36-47"]


def test_hyper_threads_are_given_on_request() -> None:
    [one] = pin(read_machine("b60x8_2s"), Parallelism(tp=4), threads="all")
    assert one.cpus == "0-47,96-143"
    assert one.whole_nodes
    assert format_numactl(one, style="nodes") == ("numactl", "--cpunodebind=0", "--membind=0")
    [cores] = pin(read_machine("b60x8_2s"), Parallelism(tp=4))
    assert format_numactl(cores, style="nodes") == format_numactl(cores), "the node has more than the cores given"


def test_a_launch_over_both_sockets_is_told_about_the_engines_own_binding() -> None:
    [one] = pin(read_machine("b60x8_2s"), Parallelism(tp=8))
    assert (one.cpus, one.mems, one.nodes) == ("0-95", "0-1", (0, 1))
    assert any("spans nodes 0-1" in note for note in one.notes)
    bound = format_engine(one, "vllm", VLLM_FLAGS)
    assert bound.arguments[:10] == ("--numa-bind", "--numa-bind-nodes", *"00001111")
    assert bound.arguments[10:13] == ("--numa-bind-cpus", "0-11", "12-23")
    assert "SYS_NICE" in bound.note
    assert format_engine(one, "vllm", set()).arguments == ()
    assert format_engine(one, "sglang", {"--numa-node"}).arguments == ("--numa-node", *"00001111")
    assert "no NUMA binding" in format_engine(one, "lmdeploy", {"--tp"}).note


def test_replicas_on_one_node_divide_its_cores() -> None:
    pins = pin(read_machine("b60x8_2s"), Parallelism(tp=2, replicas=4))
    assert [one.cpus for one in pins] == ["0-23", "24-47", "48-71", "72-95"]
    assert [one.mems for one in pins] == ["0", "0", "1", "1"]


def test_reserved_cpus_take_their_hyper_threads_along() -> None:
    [one] = pin(read_machine("b60x8_2s"), Parallelism(tp=4), reserved_cpus="0,97", threads="all")
    assert one.cpus == "2-47,98-143"
    with pytest.raises(UsageError, match="not a CPU list"):
        pin(read_machine("b60x8_2s"), reserved_cpus="a-b")
    with pytest.raises(UsageError, match="all that may be used"):
        pin(read_machine("b60x8_2s"), reserved_cpus="0-191")


def test_sub_numa_clusters_of_a_max_card() -> None:
    pins = pin(read_machine("max1550"), Parallelism(tp=2, replicas=2))
    assert [(one.cpus, one.mems) for one in pins] == [("0-25", "0"), ("52-77", "2")]


def test_one_node_is_pinned_only_where_it_is_divided() -> None:
    machine = read_machine("b60x4_bmc")
    [one] = pin(machine, Parallelism(tp=4))
    assert not one.bound
    assert "one NUMA node" in one.reasons[0]
    assert [each.cpus for each in pin(machine, Parallelism(replicas=4))] == ["0-7", "8-15", "16-23", "24-31"]
    [kept] = pin(machine, Parallelism(tp=4), reserved_cpus="0-1")
    assert kept.cpus == "2-31"


def change(machine: Machine, **changes: object) -> Machine:
    return msgspec.structs.replace(machine, **changes)


def test_memory_only_nodes_give_no_cpus_and_take_no_memory() -> None:
    """Sapphire Rapids HBM in flat mode, as on Aurora: nodes 2 and 3 have memory only."""
    machine = read_machine("b60x8_2s")
    ddr = [msgspec.structs.replace(node, distances=row) for node, row in zip(
        machine.numa, ((10, 21, 13, 23), (21, 10, 23, 13)), strict=True)]  # fmt: skip
    hbm = [
        NumaNode(node=2, cpus="", memory_bytes=64 * GIB, distances=(13, 23, 10, 23), memory_allowed=True, socket=0),
        NumaNode(node=3, cpus="", memory_bytes=64 * GIB, distances=(23, 13, 23, 10), memory_allowed=True, socket=1),
    ]
    moved = tuple(
        msgspec.structs.replace(device, numa_node=3) if device.index >= 4 else device for device in machine.devices
    )
    changed = change(machine, numa=(*ddr, *hbm), devices=moved)
    pins = pin(changed, Parallelism(tp=4, replicas=2))
    assert [(one.cpus, one.mems, one.nodes) for one in pins] == [("0-47", "0", (0,)), ("48-95", "1", (1,))]
    assert any("node 3 has no CPUs: CPUs of node 1, the nearest" in note for note in pins[1].notes)


def test_a_node_without_memory_takes_the_nearest_one_with_some() -> None:
    machine = read_machine("b60x8_2s")
    numa = (msgspec.structs.replace(machine.numa[0], memory_bytes=0), machine.numa[1])
    [one] = pin(change(machine, numa=numa), Parallelism(tp=4))
    assert (one.cpus, one.mems) == ("0-47", "1")
    assert format_engine(one, "vllm", VLLM_FLAGS).arguments == ()


def test_a_cgroup_that_leaves_no_cpu_of_the_node() -> None:
    machine = read_machine("b60x8_2s")
    cpu = msgspec.structs.replace(machine.cpu, allowed="50-53,146-149", cgroup_cpu_limit=1.5)
    [one] = pin(change(machine, cpu=cpu), Parallelism(tp=4))
    assert one.cpus == "50-53"
    assert any("no CPU that may be used" in note for note in one.notes)
    assert any("1.5 CPUs' time" in note for note in one.notes)


def test_only_second_threads_allowed_are_used_as_they_are() -> None:
    machine = read_machine("b60x8_2s")
    cpu = msgspec.structs.replace(machine.cpu, allowed="96-143")
    [one] = pin(change(machine, cpu=cpu), Parallelism(tp=4))
    assert one.cpus == "96-143"


def test_an_unknown_node_is_not_guessed() -> None:
    machine = read_machine("b60x8_2s")
    devices = tuple(msgspec.structs.replace(device, numa_node=None) for device in machine.devices)
    [one] = pin(change(machine, devices=devices), Parallelism(tp=8))
    assert not one.bound
    assert "node is not known" in one.reasons[0]
    assert one.cpus == "0-191"


def test_memory_that_is_too_small_is_not_bound_hard() -> None:
    machine = read_machine("b60x8_2s")
    [one] = pin(machine, Parallelism(tp=4), host_bytes=600 * GIB)
    assert (one.memory_policy, one.mems) == ("preferred", "0")
    assert format_numactl(one) == ("numactl", "-C", "0-47", "--preferred=0")
    assert format_docker(one) == ("--cpuset-cpus=0-47",)
    [both] = pin(machine, Parallelism(tp=8), host_bytes=2000 * GIB)
    assert both.memory_policy == "none"


def test_named_platforms_and_bare_readings_are_not_pinned() -> None:
    [one] = pin(parse_platform("8xB60").machine, Parallelism(tp=4))
    assert not one.bound
    assert "named platform" in one.reasons[0]
    machine = change(read_machine("b60x8_2s"), numa=(), cpu=CpuLayout())
    [two] = pin(machine, Parallelism(tp=4))
    assert not two.bound
    assert two.cpus == ""
