"""`--config FILE` after --: the engine's own file, written out as flags that are planned for and checked."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from tests.machines.recorded_machines import open_loosely
from xpukit.core.errors import UsageError
from xpukit.serve.model import resolve_model
from xpukit.serve.model_types import Model
from xpukit.serve.plan_types import Plan
from xpukit.serve.planner import Surroundings, make_plan
from xpukit.serve.platforms import parse_platform
from xpukit.serve.request import ServeRequest

MODEL = "Qwen/Qwen3-8B"


@cache
def find_model() -> Model:
    return resolve_model(MODEL, open_loosely("unbound"))


def plan(engine: str, settings: Any, *extras: str, files: dict[str, Any] | None = None, **asked: Any) -> Plan:
    named = parse_platform("4xB60")
    words = extras or ("--config", "c.yaml")
    request = ServeRequest(model=MODEL, platform="4xB60", engine=engine, extras=words, **asked)
    read = {"c.yaml": settings} if files is None else files
    around = Surroundings(machine=named.machine, platform=named, config_files=read)
    return make_plan(request, find_model(), around)


SETTINGS = {
    "model": MODEL,
    "tensor-parallel-size": 2,
    "max_model_len": 16384,
    "enable-prefix-caching": False,
    "compilation-config": {"level": 3},
    "served-model-name": ["a", "b"],
    "enforce-eager": True,
    "seed": -1,
    "chat-template": None,
}


def test_every_setting_becomes_a_flag_and_what_plans_rest_on_is_planned() -> None:
    made = plan("vllm:0.33.0", SETTINGS)
    argv = made.launches[0].argv
    assert made.parallelism.tp == 2
    assert made.memory.asked_context == 16384
    assert "--config" not in argv
    assert argv[argv.index("--served-model-name") + 1 :][:2] == ("a", "b")
    assert argv[argv.index("--compilation-config") + 1] == '{"level": 3}'
    for word in ("--no-enable-prefix-caching", "--enforce-eager", "--seed=-1"):
        assert argv.count(word) == 1
    assert argv.count(MODEL) == 1
    assert "--chat-template" not in argv
    assert not made.problems
    assert "--config c.yaml: its 9 settings are written out; the engine does not read the file" in made.notes
    # The plan that is kept needs the file no more.
    assert (
        plan("vllm:0.33.0", {}, *made.request.extras, files={}, tp=2, context=16384, eager=True).launches[0].argv
        == argv
    )


def test_the_command_line_goes_before_the_file() -> None:
    made = plan("vllm:0.33.0", SETTINGS, "--config=c.yaml", "--max-model-len", "8000", tp=4)
    argv = made.launches[0].argv
    assert (made.parallelism.tp, made.memory.asked_context) == (4, 8000)
    assert argv.count("--tensor-parallel-size") == argv.count("--max-model-len") == 1
    assert "--tensor-parallel-size 2 of c.yaml gives way to --tp 4" in made.notes
    with pytest.raises(UsageError, match="they ask for different things"):
        plan("vllm:0.33.0", SETTINGS, "--config", "c.yaml", "-tp", "2", tp=4)


def test_a_file_of_sglang() -> None:
    made = plan("sglang:0.5.23", {"model-path": MODEL, "tp_size": 2, "disable-radix-cache": True})
    argv = made.launches[0].argv
    assert made.parallelism.tp == 2
    assert argv.count("--disable-radix-cache") == argv.count("--tp-size") == argv.count("--model-path") == 1
    assert not made.problems


def test_a_setting_that_the_engine_does_not_know_is_refused() -> None:
    made = plan("vllm:0.33.0", {"no-such-flag-at-all": 1})
    assert any("--no-such-flag-at-all" in problem.message for problem in made.problems)


def test_a_file_that_was_not_read_is_told() -> None:
    made = plan("vllm:0.33.0", None, files={})
    assert "--config" in made.launches[0].argv
    assert any("c.yaml is not read here" in note for note in made.notes)


@pytest.mark.parametrize(
    ("settings", "extras", "part"),
    [
        ({"model": "other/model"}, (), "two models"),
        ({"api_key": "sk-1"}, (), "a plan holds no keys"),
        ("just text", (), "no table of settings"),
        ([1, 2], (), "no table of settings"),
        ({}, ("--config", "c.yaml", "--config", "d.yaml"), "given twice"),
    ],
)
def test_files_that_cannot_be_taken(settings: Any, extras: tuple[str, ...], part: str) -> None:
    with pytest.raises(UsageError, match=part) as caught:
        plan("vllm:0.33.0", settings, *extras)
    assert "sk-1" not in str(caught.value)
