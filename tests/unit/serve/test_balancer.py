"""Replicas in a Compose file behind HAProxy: one endpoint, one source of its configuration."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, cast

import msgspec
import pytest
import yaml

from tests.unit.serve.form_plans import load_plan, run_line
from xpukit.core.errors import UsageError
from xpukit.facts.recipes import load_recipe
from xpukit.host.docker_values import ContainerInfo
from xpukit.images.render import render_recipe
from xpukit.images.settings import resolve_settings
from xpukit.operate.rotate.deployment import COMPOSE, find_deployment
from xpukit.serve.forms import FormFile, FormOptions, render_form
from xpukit.serve.forms.balancer import BALANCES, Slot, default_image, find_metrics_port, make_settings
from xpukit.serve.plan_types import Plan

Golden = Callable[[str, str], None]


def render(plan: Plan | str = "replicas", **options: Any) -> tuple[FormFile, ...]:
    chosen = load_plan(plan) if isinstance(plan, str) else plan
    return render_form("compose", chosen, FormOptions(**{"balance": "leastconn", "name": "chat", **options}))


def read(files: tuple[FormFile, ...]) -> dict[str, Any]:
    return cast(dict[str, Any], yaml.safe_load(files[0].text))


@pytest.mark.parametrize("balance", ["leastconn", "prefix", "session"])
def test_files_are_golden(balance: str, golden: object) -> None:
    compose, config = render(balance=balance)
    assert (compose.name, config.name) == ("chat.compose.yaml", "chat.haproxy.cfg")
    cast(Golden, golden)(f"balance/{balance}.haproxy.cfg", config.text)
    if balance == "leastconn":
        cast(Golden, golden)("balance/replicas.compose.yaml", compose.text)


@pytest.mark.parametrize("balance", ["leastconn", "prefix", "session"])
def test_configuration_is_that_of_the_recipe(balance: str) -> None:
    """`build-image loadbalancer` with the same settings writes the same file."""
    recipe = load_recipe("loadbalancer")
    slots = (Slot(slot="engine-0", service="chat-0", port=8000), Slot(slot="engine-1", service="chat-1", port=8001))
    chosen = make_settings(recipe, load_plan("replicas"), slots, FormOptions(balance=balance))
    given = [f"{name}={','.join(value) if isinstance(value, tuple) else value}" for name, value in chosen.items()]
    settings = resolve_settings(recipe, variant="", given=[text.replace("=False", "=false") for text in given])
    rendered = render_recipe(recipe, settings, builder="buildkit")
    [theirs] = [file.content.decode() for file in rendered.files if file.path == "haproxy.cfg"]
    assert render(balance=balance)[1].text == theirs


def test_only_the_endpoint_and_on_loopback_the_metrics_are_published() -> None:
    services = read(render())["services"]
    assert {name: service.get("ports") for name, service in services.items()} == {
        "chat-0": None,
        "chat-1": None,
        "balancer": ["127.0.0.1:8000:8080", "127.0.0.1:18000:8404"],
    }
    assert services["balancer"]["labels"]["xpukit.metrics"] == "127.0.0.1:18000"
    request = msgspec.structs.replace(load_plan("replicas").request, host="0.0.0.0")
    open_plan = msgspec.structs.replace(load_plan("replicas"), request=request)
    opened = read(render(open_plan))["services"]["balancer"]["ports"]
    assert opened == ["0.0.0.0:8000:8080", "127.0.0.1:18000:8404"]


@pytest.mark.parametrize(("endpoint", "metrics"), [(8000, 18000), (55_535, 65_535), (55_536, 45_536), (65_535, 55_535)])
def test_each_deployment_has_a_metrics_port_of_its_own(endpoint: int, metrics: int) -> None:
    assert find_metrics_port(endpoint) == metrics


def test_prometheus_is_told_of_the_engines_and_where_each_answers() -> None:
    text = render(spare=1)[1].text
    [told] = re.findall(r"string '(.*)' if \{ path /targets \}", text)
    assert json.loads(told) == [{"targets": ["engine-0", "engine-1"]}]
    for name, address in (("engine-0", "chat-0:8000"), ("engine-1", "chat-1:8001")):
        assert f"use_backend metrics-{name} if {{ path /engines/{name}/metrics }}" in text
        backend = text.partition(f"backend metrics-{name}\n")[2].partition("\n\n")[0]
        assert f"server {name} {address} " in backend
        assert "set-path /metrics" in backend


def test_control_socket_is_a_file_in_a_volume() -> None:
    files = render()
    sockets = [line.split()[2] for line in files[1].text.splitlines() if line.strip().startswith("stats socket")]
    assert sockets == ["/run/balancer/admin.sock"]
    balancer = read(files)["services"]["balancer"]
    assert {"type": "volume", "source": "chat-balancer", "target": "/run/balancer"} in balancer["volumes"]
    assert balancer["read_only"] is True
    assert balancer["cap_drop"] == ["ALL"]
    assert balancer["image"] == default_image()
    assert ":latest" not in files[0].text


def test_each_engine_keeps_its_own_devices_and_processors() -> None:
    services = read(render())["services"]
    plain = read(render(balance="none"))["services"]
    for name in ("chat-0", "chat-1"):
        assert {key: value for key, value in services[name].items() if key != "labels"} == {
            key: value for key, value in plain[name].items() if key != "ports"
        }
    assert services["chat-0"]["cpuset"] != services["chat-1"]["cpuset"]
    assert not set(services["chat-0"]["devices"]) & set(services["chat-1"]["devices"])


def test_servers_are_the_engines_at_their_ports() -> None:
    backend = render()[1].text.partition("backend engines\n")[2].partition("\nfrontend ")[0]
    lines = [line.strip() for line in backend.splitlines() if line.strip().startswith("server ")]
    assert lines == ["server engine-0 chat-0:8000", "server engine-1 chat-1:8001"]


def test_spare_waits_for_rotate() -> None:
    services = read(render(spare=1))["services"]
    assert "profiles" not in services["chat-0"]
    assert services["chat-1"]["profiles"] == ["spare"]
    assert [slot["spare"] for slot in json.loads(services["balancer"]["labels"]["xpukit.slots"])] == [False, True]
    with pytest.raises(UsageError, match="leave none"):
        render(spare=2)


def test_rotate_finds_what_the_labels_say() -> None:
    labels = read(render())["services"]["balancer"]["labels"]
    info = ContainerInfo(
        id="1", name="chat-balancer", image="i", status="running", labels={**labels, f"{COMPOSE}project": "p"}
    )
    found = find_deployment("chat", [info])
    assert [(slot.slot, slot.service, slot.port) for slot in found.slots] == [
        ("engine-0", "chat-0", 8000),
        ("engine-1", "chat-1", 8001),
    ]


def test_requests_wait_in_the_balancer_where_the_engines_limit_is_known() -> None:
    request = msgspec.structs.replace(load_plan("replicas").request, max_seqs=64)
    limited = msgspec.structs.replace(load_plan("replicas"), request=request)
    assert "maxconn 128\n" in render(limited)[1].text
    assert "timeout queue" in render(limited)[1].text


@pytest.mark.parametrize("name", ["one", "tp2", "ray", "dp", "proxy"])
def test_single_engines_and_proxies_are_left_alone(name: str) -> None:
    assert [file.text for file in render(name)] == [file.text for file in render(name, balance="none")]


def test_command_line() -> None:
    words = "Qwen/Qwen3-8B --platform 4xB60 --tp 1 -c 8192 --engine llm-scaler-vllm --form compose"
    code, out, err = run_line(*words.split(), "--replicas", "2", "--spare", "1", "--balance", "prefix")
    assert code == 0, err
    assert "# ---- xpukit.haproxy.cfg ----" in out
    assert "balance hash req.body,bytes(0,1024)" in out
    assert out.count("container_name: ") == 4
    code, out, _ = run_line(*words.split(), "--replicas", "2", "--balance", "none")
    assert code == 0
    assert "haproxy" not in out
    code, _, err = run_line(*words.split(), "--replicas", "2", "--balance", "random")
    assert code == 2
    assert all(name in err for name in BALANCES)
    code, _, err = run_line(*words.replace("compose", "shell").split(), "--replicas", "2", "--spare", "1")
    assert code == 2
    assert "--form compose" in err
