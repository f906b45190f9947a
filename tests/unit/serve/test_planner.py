"""The planner: whatever the machine, model and image, what it prints is accepted, pinned near its GPUs, and fits."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.machines.recorded_machines import open_loosely, read_machine
from tests.unit.serve.random_machines import make_machines, read_cpus
from xpukit.core.errors import UsageError
from xpukit.core.machine import Machine
from xpukit.facts.engines import list_versions
from xpukit.facts.models import list_models
from xpukit.serve.devices import find_units
from xpukit.serve.model import resolve_model
from xpukit.serve.model_types import Model
from xpukit.serve.plan_types import Plan
from xpukit.serve.planner import Surroundings, make_plan
from xpukit.serve.platforms import parse_platform
from xpukit.serve.request import ServeRequest
from xpukit.serve.validate import validate

MODELS = tuple(entry.id for entry in list_models())
ENGINES = tuple(
    f"{engine}:{version}"
    for engine in ("llm-scaler-vllm", "vllm", "sglang", "lmdeploy")
    for version in list_versions(engine)[-4:]
)


@cache
def find_model(text: str) -> Model:
    """By id: no machine is asked for more than whether a folder of that name is there."""
    return resolve_model(text, open_loosely("unbound"))


def plan_on(name: str, **asked: object) -> Plan:
    """A plan on a recorded machine."""
    request = ServeRequest(**{"model": "Qwen/Qwen3-8B", **asked})  # type: ignore[arg-type]
    return make_plan(request, find_model(request.model), Surroundings(machine=read_machine(name), host="host"))


def plan_platform(platform: str, **asked: object) -> Plan:
    """A plan for a named platform."""
    request = ServeRequest(**{"model": "Qwen/Qwen3-8B", "platform": platform, **asked})  # type: ignore[arg-type]
    named = parse_platform(platform)
    around = Surroundings(machine=named.machine, platform=named)
    return make_plan(request, find_model(request.model), around)


def try_plan(request: ServeRequest, machine: Machine) -> Plan | None:
    """None where it is refused with a reason."""
    try:
        return make_plan(request, find_model(request.model), Surroundings(machine=machine, host="host"))
    except UsageError as err:
        if not err.message:
            raise
        return None


def words_of(plan: Plan, launch: int = 0) -> tuple[str, ...]:
    return plan.launches[launch].argv


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(make_machines(), st.sampled_from(MODELS), st.sampled_from(ENGINES), st.data())
def test_what_is_planned_is_accepted_near_and_fits(
    machine: Machine, model: str, engine: str, data: st.DataObject
) -> None:
    request = ServeRequest(
        model=model,
        engine=engine,
        context=data.draw(st.sampled_from([None, 512, 4096, 40000])),
        replicas=data.draw(st.sampled_from([1, 1, 2])),
        objective=data.draw(st.sampled_from(["throughput", "latency"])),
        pinning=data.draw(st.sampled_from(["auto", "numactl", "engine", "off"])),
    )
    plan = try_plan(request, machine)
    if plan is None or not plan.launches:
        return
    assert plan.memory.fits
    pool = find_units(machine)
    units = {unit.label: unit for unit in pool.units}
    known = {cpu for node in machine.numa for cpu in read_cpus(node.cpus)} | set(read_cpus(machine.cpu.online))
    used: list[str] = []
    for launch in plan.launches:
        env = {one.name: one.value for one in launch.variables if not one.passed}
        found = validate(plan.engine.name, plan.engine.version, "", launch.argv, env=env)
        assert found.accepted, (launch.argv, found.errors)
        assert read_cpus(launch.pin.cpus) <= known
        used += launch.gpus
        for label in launch.gpus:
            total = units[label].memory_bytes
            assert total is not None
            assert plan.memory.budget_bytes <= total
        if launch.mask and "ZE_AFFINITY_MASK" in env:
            assert {int(number) for number in env["ZE_AFFINITY_MASK"].split(",")} <= {
                int(unit.mask) for unit in pool.units
            }
    assert len(set(used)) == len(used), "a GPU is given to one process only"
    assert sum(row.bytes for row in plan.memory.rows) <= plan.memory.budget_bytes


def test_the_plan_is_the_same_each_time_and_survives_being_saved() -> None:
    one, two = plan_on("b60x8_2s", model="Qwen/Qwen3-32B"), plan_on("b60x8_2s", model="Qwen/Qwen3-32B")
    assert msgspec.json.encode(one) == msgspec.json.encode(two)
    assert msgspec.json.decode(msgspec.json.encode(one), type=Plan) == one


def test_the_processors_are_those_of_the_gpus_socket() -> None:
    machine = read_machine("b60x8_2s")
    plan = plan_on("b60x8_2s", model="Qwen/Qwen3-32B", tp=4)
    nodes = {gpu.numa_node for gpu in plan.machine.gpus if gpu.label in plan.launches[0].gpus}
    near = {cpu for node in machine.numa if node.node in nodes for cpu in read_cpus(node.cpus)}
    assert len(nodes) == 1
    assert read_cpus(plan.launches[0].pin.cpus)
    assert read_cpus(plan.launches[0].pin.cpus) <= near
    assert plan.launches[0].pin.numactl[:1] == ("numactl",)


def test_replicas_get_ports_gpus_and_processors_of_their_own() -> None:
    plan = plan_on("b60x8_2s", replicas=2, port=9000)
    assert [launch.port for launch in plan.launches] == [9000, 9001]
    assert not set(plan.launches[0].gpus) & set(plan.launches[1].gpus)
    assert not read_cpus(plan.launches[0].pin.cpus) & read_cpus(plan.launches[1].pin.cpus)


def test_a_model_that_does_not_fit_is_a_plan_without_launches_and_with_ways_out() -> None:
    plan = plan_platform("1xB60", model="Qwen/Qwen3-32B", quantization="none")
    assert not plan.memory.fits
    assert plan.launches == ()
    assert plan.memory.short_bytes > 0
    assert 1 <= len(plan.memory.ways_out) <= 3


@pytest.mark.parametrize(
    ("asked", "part"),
    [
        ({"tp": 3}, "3"),
        ({"tp": 16}, "16"),
        ({"quantization": "mxfp4"}, "mxfp4"),
        ({"engine": "tgi"}, "tgi"),
        ({"gpus": ("9",)}, "9"),
        ({"loras": ("sql",)}, "NAME=PATH"),
        ({"mtp": 2}, "multi-token"),
        ({"speculative": "{"}, "JSON"),
        ({"variables": ("=1",)}, "NAME=VALUE"),
    ],
)
def test_what_cannot_be_is_told_with_its_reason(asked: dict[str, object], part: str) -> None:
    with pytest.raises(UsageError) as caught:
        plan_platform("4xB60", **asked)
    assert part in caught.value.message
    assert caught.value.hint


def test_a_flag_after_the_dashes_takes_the_place_of_ours_and_is_checked() -> None:
    plan = plan_platform("4xB60", engine="llm-scaler-vllm:0.21.0-b2", extras=("--block-size", "32"))
    assert words_of(plan).count("--block-size") == 1
    assert words_of(plan)[-1] == "32"
    refused = plan_platform("4xB60", engine="llm-scaler-vllm:0.21.0-b2", extras=("--disable-log-requests",))
    assert refused.errors
    assert "--disable-log-requests" in refused.errors[0].message


def test_a_key_is_never_written_into_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVER_KEY", "sk-very-secret")
    for engine in ("vllm", "sglang", "lmdeploy"):
        plan = plan_platform("2xH200", engine=engine, api_key_env="SERVER_KEY")
        text = msgspec.json.encode(plan).decode()
        assert "sk-very-secret" not in text
        assert "SERVER_KEY" in text


def test_weights_wait_in_host_memory_only_where_they_must() -> None:
    small = plan_platform("1xB60", model="Qwen/Qwen3-8B", quantization="fp8", engine="llm-scaler-vllm:0.10.2-b5")
    names = {one.name for one in small.launches[0].variables}
    assert ("VLLM_OFFLOAD_WEIGHTS_BEFORE_QUANT" in names) == small.memory.load.offload
    large = plan_platform("2xB60", model="Qwen/Qwen3-32B", quantization="fp8", engine="llm-scaler-vllm:0.10.2-b5")
    assert large.memory.load.offload
    assert "VLLM_OFFLOAD_WEIGHTS_BEFORE_QUANT" in {one.name for one in large.launches[0].variables}


def test_the_expert_rule_of_the_guide_holds() -> None:
    """(moe_intermediate_size / moe_tp) % weight_block_size_n: 1536 / 16 = 96 cuts a block of 128."""
    with pytest.raises(UsageError) as caught:
        plan_platform("2x8xH200", model="internlm/Intern-S1-Pro", engine="sglang", tp=16, ep=1)
    assert "% weight_block_size_n" in caught.value.message
    assert plan_platform("2x8xH200", model="internlm/Intern-S1-Pro", engine="sglang", tp=16, ep=16).launches


def test_every_flag_and_choice_has_a_reason() -> None:
    plan = plan_on("b60x4_bmc", model="Qwen/Qwen3-32B")
    for launch in plan.launches:
        assert all(flag.why for flag in launch.flags)
        assert all(variable.why for variable in launch.variables)
    assert all(choice.why for choice in plan.choices)


def test_guesses_are_labelled() -> None:
    plan = plan_platform("1xB60", model="someone/strange-7B")
    assert plan.model.guesses
    assert all(guess.why for guess in plan.model.guesses)


def test_a_local_folder_is_read(tmp_path: Path) -> None:
    del tmp_path
    plan = plan_platform("4xB60", model="/llm/models/Qwen3-14B")
    assert plan.model.id == "Qwen/Qwen3-14B"
    assert "--served-model-name" in words_of(plan)
