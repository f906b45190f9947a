"""The engine's flags after --: what the plan rests on is planned for, by whatever spelling; nothing is said twice."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.machines.recorded_machines import open_loosely
from xpukit.core.errors import UsageError
from xpukit.facts.engine_rules import find_entry, load_intents
from xpukit.facts.engines import EngineProgram, EngineSchema, list_versions
from xpukit.serve.model import resolve_model
from xpukit.serve.model_types import Model
from xpukit.serve.plan_types import Plan
from xpukit.serve.planner import Surroundings, make_plan
from xpukit.serve.platforms import parse_platform
from xpukit.serve.request import ServeRequest
from xpukit.serve.request_words import FIELDS
from xpukit.serve.validate import load_schema, spell
from xpukit.serve.validate_intents import parse_words
from xpukit.serve.validate_types import convert_value

ENGINES = ("vllm:0.33.0", "llm-scaler-vllm:0.21.0-b2", "sglang:0.5.23", "lmdeploy:0.18.0")
DENSE, EXPERTS = "Qwen/Qwen3-8B", "Qwen/Qwen3-30B-A3B"
# What is asked of each field: the value of the request.
ASKED: dict[str, Any] = {
    "tp": 2, "pp": 2, "dp": 2, "context": 4096, "utilization": 0.8, "quantization": "fp8", "dtype": "bfloat16",
    "kv_dtype": "fp8_e5m2", "port": 9123, "host": "10.1.2.3", "served_name": "mine", "max_seqs": 7,
    "batched_tokens": 4096, "eager": True, "executor": "mp", "lora_rank": 32, "loras": ("sql=/a", "py=/b"),
    "media_dir": "/media",
}  # fmt: skip


@cache
def find_model(text: str) -> Model:
    return resolve_model(text, open_loosely("unbound"))


def plan(engine: str, *extras: str, model: str = DENSE, platform: str = "4xB60", **asked: Any) -> Plan:
    request = ServeRequest(model=model, platform=platform, engine=engine, extras=extras, **asked)
    named = parse_platform(platform)
    return make_plan(request, find_model(model), Surroundings(machine=named.machine, platform=named))


def read_schema(engine: str) -> tuple[EngineSchema, EngineProgram]:
    name, _, version = engine.partition(":")
    schema = load_schema(name, version)
    entry = find_entry(name, "serve")
    assert entry is not None
    return schema, schema.programs[entry.program]


def read_sizes(plan: Plan) -> dict[str, int]:
    """Ranks as the emitted command says them, whatever flags it says them by."""
    schema, program = read_schema(f"{plan.engine.name}:{plan.engine.version}")
    entry = find_entry(plan.engine.name, "serve")
    assert entry is not None
    launch = next(one for one in plan.launches if one.role == "engine")
    parsed = parse_words(launch.argv[len(launch.program) :], entry, program, schema)
    sizes = {}
    for row in load_intents():
        if not row.name.endswith("_parallel") or plan.engine.name not in row.engines or row.role != "serve":
            continue
        for word in row.write[:1]:
            flag = program.options.get(word)
            found = parsed.find(flag.dest) if flag is not None else None
            if found is not None and found.values:
                sizes[row.name] = int(found.values[0])
    return sizes


def spell_ways(engine: str, field: str, value: Any) -> list[tuple[str, ...]]:
    """All spellings of an engine's flag: each alias, with a space and with =, a prefix, underscores."""
    intent = next(one.intent for one in FIELDS if one.name == field)
    name, _, version = engine.partition(":")
    spelled = spell(name, version, intent, list(value) if isinstance(value, tuple) else value)
    if spelled is None or not spelled.words:
        return []
    _, program = read_schema(engine)
    flag, values = program.options[spelled.words[0]], spelled.words[1:]
    ways = []
    for option in flag.flags:
        if option.startswith("--no-"):
            continue
        ways.append((option, *values))
        if len(values) == 1:
            ways.append((f"{option}={values[0]}",))
        if option.startswith("--") and name in ("vllm", "llm-scaler-vllm"):
            ways.append((option[:2] + option[2:].replace("-", "_"), *values))
        short = option[:-1]
        if option.startswith("--") and program.allow_abbrev:
            starts = [other for other in program.options if other.startswith(short)]
            if starts == [option]:
                ways.append((short, *values))
    return ways


CASES = [
    (engine, field, words)
    for engine in ENGINES
    for field, value in ASKED.items()
    for words in spell_ways(engine, field, value)
]


def test_the_table_has_every_engine_and_every_field_that_plans_rest_on() -> None:
    assert len(CASES) > 150
    assert {engine for engine, _, _ in CASES} == set(ENGINES)
    with_intent = {one.name for one in FIELDS if one.intent}
    assert with_intent - set(ASKED) == {"ep", "task", "proxy"}  # below
    for field in ("tp", "context", "utilization", "port", "host", "served_name", "dtype"):
        assert {engine for engine, name, _ in CASES if name == field} == set(ENGINES), field


@cache
def plan_asked(engine: str, field: str) -> Plan | str:
    """The plan by our own option, or why it is refused."""
    try:
        return plan(engine, **{field: ASKED[field]})
    except UsageError as err:
        return err.message


@pytest.mark.parametrize(("engine", "field", "words"), CASES)
def test_an_extra_is_planned_as_our_own_option_is(engine: str, field: str, words: tuple[str, ...]) -> None:
    wanted = plan_asked(engine, field)
    if isinstance(wanted, str):
        with pytest.raises(UsageError) as err:
            plan(engine, *words)
        assert err.value.message == wanted
        return
    made = plan(engine, *words)
    assert getattr(made.request, field) == ASKED[field]
    assert made.parallelism == wanted.parallelism
    assert made.memory == wanted.memory
    assert made.quantization == wanted.quantization
    assert [one.gpus for one in made.launches] == [one.gpus for one in wanted.launches]
    assert [one.port for one in made.launches] == [one.port for one in wanted.launches]
    # The same command, but for what stays as it was typed because it is so without a word.
    extras = set(made.request.extras)
    assert [word for word in made.launches[0].argv if word not in extras] == [
        word for word in wanted.launches[0].argv if word not in extras
    ]
    assert any(note.endswith(": planned so") for note in made.notes)


@pytest.mark.parametrize(("engine", "field", "words"), [case for case in CASES if case[1] in ("tp", "context", "host")])
def test_another_value_than_that_of_our_option_is_refused(engine: str, field: str, words: tuple[str, ...]) -> None:
    other = {"tp": 4, "context": 8192, "host": "10.9.9.9"}[field]
    with pytest.raises(UsageError) as err:
        plan(engine, *words, **{field: other})
    assert str(other) in err.value.message
    assert words[0].partition("=")[0] in err.value.message
    same = plan(engine, *words, **{field: ASKED[field]})
    assert same.request.extras == ()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(("vllm", "llm-scaler-vllm", "sglang", "lmdeploy")),
    st.sampled_from((DENSE, EXPERTS)),
    st.data(),
)
def test_the_gpus_of_a_plan_are_the_ranks_of_its_command(name: str, model: str, data: st.DataObject) -> None:
    engine = f"{name}:{data.draw(st.sampled_from(list_versions(name)[-6:]))}"
    extras: list[str] = []
    for field in ("tp", "pp", "dp"):
        value = data.draw(st.sampled_from((None, 1, 2, 4)))
        ways = spell_ways(engine, field, value) if value is not None else []
        if ways:
            extras += data.draw(st.sampled_from(ways))
    platform = data.draw(st.sampled_from(("1xB60", "2xB60", "4xB60", "8xB60", "8xH200")))
    try:
        made = plan(engine, *extras, model=model, platform=platform)
    except UsageError:
        return
    if not made.launches:
        return
    sizes = read_sizes(made)
    ranks = 1
    for intent in ("tensor_parallel", "pipeline_parallel", "data_parallel"):
        ranks *= sizes.get(intent, 1)
    assert len(made.launches[0].gpus) == ranks == made.parallelism.world
    assert not [one for one in made.problems if one.severity == "error"]
    # Planned again from what was kept, nothing changes.
    again = plan_again(made)
    assert [one.argv for one in again.launches] == [one.argv for one in made.launches]


def plan_again(made: Plan) -> Plan:
    named = parse_platform(made.request.platform)
    return make_plan(made.request, find_model(made.request.model), Surroundings(machine=named.machine, platform=named))


@pytest.mark.parametrize(
    ("engine", "extras", "kept"),
    [
        ("vllm:0.33.0", ("--max-model-len", "auto"), "--max-model-len"),
        ("vllm:0.33.0", ("--quantization", "awq_marlin"), "--quantization"),
        ("vllm:0.33.0", ("--served-model-name", "a", "b"), "--served-model-name"),
        ("sglang:0.5.23", ("--chunked-prefill-size", "-1"), "--chunked-prefill-size"),
    ],
)
def test_what_cannot_be_planned_for_stays_as_it_is(engine: str, extras: tuple[str, ...], kept: str) -> None:
    made = plan(engine, *extras)
    assert made.request.extras == extras
    assert made.launches[0].argv.count(kept) == 1


def test_a_value_that_the_parser_refuses_is_the_validators_to_say() -> None:
    made = plan("vllm:0.33.0", "--tensor-parallel-size", "two")
    assert any("--tensor-parallel-size" in one.message for one in made.errors)


def test_experts_over_all_ranks() -> None:
    made = plan("vllm:0.33.0", "--enable-expert-parallel", "-tp", "2", model=EXPERTS)
    assert (made.parallelism.tp, made.parallelism.ep) == (2, 2)
    assert made.launches[0].argv.count("--enable-expert-parallel") == 1
    alone = plan("sglang:0.5.23", "--ep", "2", "--tp", "4", model=EXPERTS)
    assert (alone.parallelism.tp, alone.parallelism.ep) == (4, 2)


def test_a_task_is_told_by_two_flags() -> None:
    made = plan("vllm:0.21.0", "--runner", "pooling", "--convert", "embed", model="Qwen/Qwen3-Embedding-8B")
    assert made.model.task == "embed"
    assert made.request.extras == ()
    assert made.launches[0].argv.count("--runner") == 1


def test_copies_of_attention_only_are_not_copies() -> None:
    made = plan("sglang:0.5.23", "--tp", "4", "--dp", "4", "--enable-dp-attention", model=EXPERTS)
    assert len(made.launches[0].gpus) == 4
    assert any("--enable-dp-attention" in note for note in made.notes)
    assert made.launches[0].argv.count("--dp") == 1
    with pytest.raises(UsageError, match="--enable-dp-attention"):
        plan("sglang:0.5.23", "--enable-dp-attention", model=EXPERTS, tp=2, dp=2)


@pytest.mark.parametrize("extras", [("--gpu-memory-utilization", "1.5"), ("--port", "99999")])
def test_a_number_that_our_option_refuses_is_refused(extras: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match=f"{extras[0]} {extras[1]} after --"):
        plan("vllm:0.33.0", *extras)


def test_of_several_uses_the_last_counts() -> None:
    made = plan("vllm:0.33.0", "-tp", "2", "--seed", "7", "--tensor-parallel-size=4")
    assert made.parallelism.tp == 4
    assert made.request.extras == ("--seed", "7")


def test_ranks_that_no_plan_has_are_refused() -> None:
    with pytest.raises(UsageError, match="-pcp 2"):
        plan("vllm:0.33.0", "-pcp", "2")
    assert plan("vllm:0.33.0", "-pcp", "1").launches


def test_the_proxy_is_that_of_the_extra() -> None:
    made = plan("lmdeploy:0.18.0", "--proxy-url=http://10.0.0.9:8123", platform="1xH200")
    assert made.request.proxy == "http://10.0.0.9:8123"
    # On one machine there is no proxy of ours: the flag stays as it was typed.
    assert made.launches[0].argv.count("--proxy-url=http://10.0.0.9:8123") == 1


def test_a_second_model_and_more_machines_are_refused() -> None:
    with pytest.raises(UsageError, match="two models"):
        plan("sglang:0.5.23", "--model-path", "other/model")
    with pytest.raises(UsageError, match="two models"):
        plan("vllm:0.33.0", "--model", "other/model")
    assert plan("vllm:0.33.0", "--model", DENSE).request.extras == ()
    with pytest.raises(UsageError, match="1 machine"):
        plan("sglang:0.5.23", "--nnodes", "2", "--node-rank", "0")


def test_the_block_of_the_cache_is_that_of_the_extra() -> None:
    made = plan("llm-scaler-vllm:0.21.0-b2", "--block-size", "32")
    assert made.memory.settings.block_size == 32
    assert (
        msgspec.structs.replace(made.memory.settings, block_size=64)
        == plan("llm-scaler-vllm:0.21.0-b2").memory.settings
    )


def test_values_compare_as_the_parser_reads_them() -> None:
    assert convert_value("human_readable_int", "32k") == 32000
    made = plan("vllm:0.33.0", "--max-model-len", "32k", context=32000)
    assert made.memory.asked_context == 32000


def read_mask(made: Plan) -> str:
    return next(one.value for one in made.launches[0].variables if one.name == "ZE_AFFINITY_MASK")


@pytest.mark.parametrize(
    ("engine", "extras", "mask"),
    [
        ("sglang:0.5.23", ("--base-gpu-id", "2", "--tp", "2"), "2,3"),
        ("sglang:0.4.6.post5", ("--base-gpu-id=1", "--gpu-id-step", "2", "--tp-size", "2"), "1,3"),
        ("sglang:0.5.23", ("--base_gpu_id", "3"), None),
        ("sglang:0.5.23", ("--base-gpu-id", "3"), "3"),
        ("sglang:0.5.23", ("--gpu-id-step", "3", "--tp", "2"), "0,3"),
        ("sglang:0.5.23", ("--base-gpu-id", "0", "--tp", "1"), "0"),
        ("vllm:0.33.0", ("--device-ids", "3,1", "-tp", "2"), "1,3"),
    ],
)
def test_gpus_that_the_engine_would_choose_are_those_of_the_mask(
    engine: str, extras: tuple[str, ...], mask: str | None
) -> None:
    made = plan(engine, *extras)
    if mask is None:  # SGLang's parser takes no underscores: the validator says so
        assert any("base_gpu_id" in problem.message for problem in made.problems)
        return
    assert read_mask(made) == mask
    argv = made.launches[0].argv
    assert not any(word.startswith("--device-ids") for word in argv)
    # What the engine sees begins at 0: a second move within it would be past the end.
    assert "--base-gpu-id" not in argv or argv[argv.index("--base-gpu-id") + 1] == "0"
    assert plan_again(made).launches[0].argv == argv
    assert read_mask(plan_again(made)) == mask


def test_of_several_machines_each_takes_these_gpus() -> None:
    made = plan("sglang:0.5.23", "--base-gpu-id", "2", "--tp", "4", platform="2x4xB60")
    assert [one.value for launch in made.launches for one in launch.variables if one.name == "ZE_AFFINITY_MASK"] == [
        "2,3", "2,3",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("extras", "asked", "part"),
    [
        (("--base-gpu-id", "4"), {}, "there is no GPU 4 to use"),
        (("--base-gpu-id", "3", "--tp", "2"), {}, "there is no GPU 4 to use"),
        (("--base-gpu-id", "2"), {"gpus": ("0",)}, "both choose GPUs"),
    ],
)
def test_gpus_that_are_not_there_are_refused(extras: tuple[str, ...], asked: dict[str, Any], part: str) -> None:
    with pytest.raises(UsageError, match=part):
        plan("sglang:0.5.23", *extras, **asked)


@pytest.mark.parametrize("words", [("-dpl", "2"), ("--data-parallel-size-local=2",)])
@pytest.mark.parametrize("own", [False, True])
def test_of_copies_on_several_machines_those_here_are_planned(words: tuple[str, ...], own: bool) -> None:
    extras = words if own else ("-dp", "4", *words)
    made = plan("vllm:0.33.0", *extras, tp=1, context=4096, dp=4 if own else None)
    assert made.parallelism.dp == 2
    assert read_mask(made).count(",") == 1
    sizes = read_sizes(made)
    assert sizes["data_parallel"] == 4
    assert any("2 of 4 copies are planned" in note for note in made.notes)
    assert not any("was left out" in note for note in made.notes)
    assert not made.problems
    assert plan_again(made).launches[0].argv == made.launches[0].argv


def test_one_copy_of_a_balancer_that_is_not_the_engines() -> None:
    made = plan("vllm:0.33.0", "-dp", "4", "--data-parallel-rank", "1", tp=1, context=4096)
    assert (made.parallelism.dp, read_mask(made).count(",")) == (1, 0)


def test_copies_that_are_all_here_are_as_without_the_flag() -> None:
    made = plan("vllm:0.33.0", "-dp", "2", "-dpl", "2", tp=1, context=4096)
    assert made.parallelism.dp == 2
    assert not any("copies are planned" in note for note in made.notes)


@pytest.mark.parametrize(
    ("extras", "asked", "part"),
    [
        (("-dp", "4", "-dpl", "0"), {}, "no copy would run on this machine"),
        (("-dpl", "2"), {"dp": 8, "platform": "2x4xB60"}, "8 copies over 2 machines are 4 on each"),
        (("-dp", "4", "-dpl", "2"), {"dp": 3}, "they ask for different things"),
    ],
)
def test_copies_that_cannot_be_are_refused(extras: tuple[str, ...], asked: dict[str, Any], part: str) -> None:
    with pytest.raises(UsageError, match=part):
        plan("vllm:0.33.0", *extras, **asked)
