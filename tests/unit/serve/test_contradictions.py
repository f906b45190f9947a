"""Requests that contradict themselves, the task or the engine: refused, or told; never dropped in silence."""

from __future__ import annotations

from typing import Any

import pytest

from tests.machines.recorded_machines import open_loosely
from xpukit.core.errors import UsageError
from xpukit.serve.forms.container import publish_address
from xpukit.serve.model import resolve_model
from xpukit.serve.plan_types import Plan
from xpukit.serve.planner import Surroundings, make_plan
from xpukit.serve.platforms import parse_platform
from xpukit.serve.request import ServeRequest

MODEL = "Qwen/Qwen3-8B"


def plan(platform: str = "4xB60", **asked: Any) -> Plan:
    named = parse_platform(platform)
    request = ServeRequest(**{"model": MODEL, "platform": platform, **asked})
    model = resolve_model(request.model, open_loosely("unbound"))
    return make_plan(request, model, Surroundings(machine=named.machine, platform=named))


@pytest.mark.parametrize(
    ("asked", "part"),
    [
        ({"task": "embed", "tools": True}, "--tools, and the task is embed"),
        ({"task": "score", "thinking": True}, "--thinking, and the task is score"),
        ({"model": "BAAI/bge-m3", "tool_parser": "hermes"}, "--tool-parser, and the task is embed"),
        ({"nodes": ("a", "b", "a")}, "a machine is named twice"),
    ],
)
def test_what_cannot_be_meant_is_refused(asked: dict[str, Any], part: str) -> None:
    with pytest.raises(UsageError, match=part):
        plan(**asked)


@pytest.mark.parametrize(
    ("platform", "asked", "option"),
    [
        ("4xB60", {"engine": "vllm", "proxy": "http://x"}, "--proxy"),
        ("4xB60", {"engine": "sglang", "executor": "ray"}, "--executor ray"),
        ("4xB60", {"engine": "sglang", "cuda_ipc": True}, "--cuda-ipc"),
        ("4xH100", {"engine": "vllm", "cuda_ipc": True}, "--cuda-ipc"),
    ],
)
def test_an_option_of_another_engine_is_told(platform: str, asked: dict[str, Any], option: str) -> None:
    assert any(note.startswith(option) and "left out" in note for note in plan(platform, **asked).notes)


def test_an_option_of_this_engine_is_not() -> None:
    assert not any("left out" in note for note in plan("4xH100", engine="sglang", cuda_ipc=True).notes)
    assert not any("left out" in note for note in plan(engine="vllm", executor="ray").notes)


@pytest.mark.parametrize(
    ("host", "published"),
    [
        ("", "127.0.0.1"), ("localhost", "127.0.0.1"), ("0.0.0.0", "0.0.0.0"), ("::", "0.0.0.0"), ("10.1.2.3", "10.1.2.3"),
        ("::1", "[::1]"), ("[::1]", "[::1]"), ("2001:db8:0::5", "[2001:db8::5]"),
    ],
)  # fmt: skip
def test_the_address_that_a_container_s_port_is_published_on(host: str, published: str) -> None:
    assert publish_address(plan(host=host)) == published


@pytest.mark.parametrize("host", ["my.host", "fe80::1%eth0", "1.2.3", "10.1.2.3:80"])
def test_an_address_that_no_port_can_be_published_on(host: str) -> None:
    with pytest.raises(UsageError, match="--host"):
        publish_address(plan(host=host))
