"""The planned cpuset in a real container: what Docker is told is what the program inside sees."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from tests.live.docker_engine import DockerEngine, import_tiny, start_engine
from tests.machines.recorded_machines import read_machine
from xpukit.core.machine import CpuLayout, Machine, NumaNode
from xpukit.core.units import parse_cpu_list
from xpukit.host.live import LiveHost
from xpukit.probe.cpu import read_cpu
from xpukit.probe.numa import read_nodes
from xpukit.serve.devices import find_units
from xpukit.serve.numa_pinning import Pinning, plan_pinning
from xpukit.serve.parallelism import Parallelism
from xpukit.serve.pinning_forms import format_docker
from xpukit.serve.placement import place

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def engine() -> Iterator[DockerEngine]:
    with start_engine() as running:
        import_tiny(running)
        yield running


def read_this_machine() -> tuple[CpuLayout, tuple[NumaNode, ...]]:
    host = LiveHost()
    nodes, _ = read_nodes(host)
    cpu, _ = read_cpu(host, nodes)
    return cpu, nodes


def plan_here(replicas: int, reserved: str = "") -> tuple[Pinning, ...]:
    """Four B60 as recorded, on this machine's own CPUs and memory."""
    cpu, nodes = read_this_machine()
    recorded = read_machine("b60x4_bmc")
    home = next(node.node for node in nodes if node.allowed_cpus)
    devices = tuple(msgspec.structs.replace(device, numa_node=home) for device in recorded.devices)
    machine: Machine = msgspec.structs.replace(recorded, cpu=cpu, numa=nodes, devices=devices)
    placement = place(find_units(machine), Parallelism(replicas=replicas))
    return plan_pinning(machine, placement.processes, reserved_cpus=reserved)


def look_inside(engine: DockerEngine, pin: Pinning) -> dict[str, str]:
    said = engine.docker(
        "run", "--rm", "--network=none", *format_docker(pin), "xpukit-test/tiny:1", "cat", "/proc/self/status"
    )
    return {name: value.strip() for name, _, value in (line.partition(":") for line in said.splitlines())}


def test_each_replica_sees_its_own_cpus_and_memory(engine: DockerEngine) -> None:
    pins = plan_here(replicas=2)
    assert all(pin.bound for pin in pins)
    for pin in pins:
        inside = look_inside(engine, pin)
        assert parse_cpu_list(inside["Cpus_allowed_list"]) == parse_cpu_list(pin.cpus)
        assert parse_cpu_list(inside["Mems_allowed_list"]) == parse_cpu_list(pin.mems)


def test_reserved_cpus_are_not_in_the_container(engine: DockerEngine) -> None:
    cpu, _ = read_this_machine()
    cores = {
        tuple(parse_cpu_list(core))
        for core in cpu.siblings
        if set(parse_cpu_list(core)) & set(parse_cpu_list(cpu.allowed))
    }
    if len(cores) < 2:
        pytest.skip("one core only: none can be reserved")
    first = min(cores)
    [pin] = plan_here(replicas=1, reserved=str(first[0]))
    inside = look_inside(engine, pin)
    assert parse_cpu_list(inside["Cpus_allowed_list"]) == parse_cpu_list(pin.cpus)
    assert not set(parse_cpu_list(inside["Cpus_allowed_list"])) & set(first)


def test_docker_records_what_was_asked(engine: DockerEngine) -> None:
    pin = plan_here(replicas=2)[1]
    identity = engine.docker("create", "--network=none", *format_docker(pin), "xpukit-test/tiny:1", "true")
    try:
        said = engine.docker("inspect", "--format", "{{.HostConfig.CpusetCpus}} {{.HostConfig.CpusetMems}}", identity)
        assert said.split() == [pin.cpus, pin.mems]
    finally:
        engine.docker("rm", identity)
