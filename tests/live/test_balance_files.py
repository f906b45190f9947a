"""The files of replicas behind a balancer before the real tools that read them: HAProxy and both generations of Compose."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.live.installed_tools import find_tool
from tests.live.newer_tools import COMPOSE, find_newer
from tests.live.test_helper_images import count_answered, start_stub, take_port
from tests.live.test_helper_images import render as render_recipe_file
from tests.live.test_serve_forms import run, write_files
from tests.unit.serve.form_plans import load_plan
from xpukit.core.errors import ExternalError
from xpukit.host.balancer_socket import ask_balancer
from xpukit.operate.rotate.balancer import Balancer, Server
from xpukit.serve.forms import FormOptions, render_form

pytestmark = pytest.mark.live


def write(folder: Path, **options: Any) -> tuple[Path, Path]:
    files = render_form("compose", load_plan("replicas"), FormOptions(**{"name": "chat", **options}))
    compose, config = write_files(files, folder)
    return compose, config


@pytest.mark.parametrize("balance", ["leastconn", "prefix", "session"])
def test_haproxy_takes_the_configuration(balance: str, tmp_path: Path) -> None:
    _, config = write(tmp_path, balance=balance)
    ran = subprocess.run(
        [find_tool("haproxy"), "-c", "-f", str(config)], capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stderr
    # That the engines are not there yet is all that it may complain of.
    warnings = [line for line in ran.stderr.splitlines() if "WARNING" in line]
    assert all("could not resolve address" in line for line in warnings), ran.stderr


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_compose_takes_the_file(version: str, tmp_path: Path) -> None:
    tool = [find_tool("docker-compose")] if version == "v1" else find_newer(COMPOSE)
    compose, _ = write(tmp_path, balance="leastconn", spare=1)
    shown = run(*tool, "-f", compose, "config")
    assert shown.returncode == 0, shown.stderr
    services = run(*tool, "-f", compose, "config", "--services").stdout.split()
    assert {"balancer", "chat-0"} <= set(services)
    if version == "v2":
        assert "chat-1" not in services  # the spare starts only by name
        read = json.loads(run(*tool, "-f", compose, "config", "--format", "json").stdout)
        ports = [(one["host_ip"], one["published"], one["target"]) for one in read["services"]["balancer"]["ports"]]
        assert ports == [("127.0.0.1", "8000", 8080), ("127.0.0.1", "18000", 8404)]
        assert "ports" not in read["services"]["chat-0"]


class Balanced:
    """HAProxy with the recipe's configuration as a process of this machine, before three stub engines."""

    def __init__(self, port: int, engines: list[int]) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.engines = engines

    def send(self, system: str, user: str, session: str = "") -> int:
        """The status of one chat request."""
        messages = [{"role": "system", "content": system}, {"role": "user", "content": user}]
        body = json.dumps({"messages": messages, "max_tokens": 4}).encode()
        headers = {"Content-Type": "application/json", **({"X-Session-Id": session} if session else {})}
        request = urllib.request.Request(f"{self.url}/v1/chat/completions", body, headers)
        with urllib.request.urlopen(request, timeout=20) as answer:
            return int(answer.status)

    def count(self) -> list[float]:
        return [count_answered(port) for port in self.engines]

    def list_used(self, send: Callable[[], object]) -> list[float]:
        """How many requests each engine answered meanwhile."""
        before = self.count()
        send()
        return [after - one for after, one in zip(self.count(), before, strict=True)]


@contextlib.contextmanager
def balance_stubs(balance: str, folder: Path) -> Iterator[Balanced]:
    engines, port = [take_port() for _ in range(3)], take_port()
    named = ",".join(f"engine-{index}=127.0.0.1:{one}" for index, one in enumerate(engines))
    rendered = render_recipe_file(
        "loadbalancer", f"backends={named}", f"port={port}", "listen=127.0.0.1", f"balance={balance}"
    )
    text = next(file.content for file in rendered.files if file.path == "haproxy.cfg").decode()
    config = folder / "haproxy.cfg"
    config.write_text(text.replace("/run/balancer/admin.sock", str(folder / "s")))
    with contextlib.ExitStack() as stack:
        for one in engines:
            stack.enter_context(start_stub(one))
        balancer = subprocess.Popen([find_tool("haproxy"), "-db", "-f", str(config)], stdout=subprocess.DEVNULL)
        stack.callback(balancer.wait, 10)
        stack.callback(balancer.kill)
        found = Balanced(port, engines)
        until = time.monotonic() + 30
        socket = str(folder / "s")
        while [one.balance for one in list_servers(socket)] != ["up"] * 3 and time.monotonic() < until:
            time.sleep(0.1)
        yield found


def list_servers(path: str) -> tuple[Server, ...]:
    try:
        servers = Balancer(lambda command: ask_balancer(path, command)).list_servers()
    except ExternalError:
        return ()
    # "UP" before the first check is a guess of HAProxy's.
    return tuple(one for one in servers if one.check.startswith("L7OK"))


def most_to_one(used: list[float]) -> bool:
    """All, but for those that came while HAProxy still counted the one before: an engine's share is bounded."""
    return sum(used) == 24 and max(used) >= 18


def test_prefix_keeps_equal_beginnings_together(tmp_path: Path) -> None:
    with balance_stubs("prefix", tmp_path) as found:
        long = "You are a helper. " * 80  # more than the 1,024 bytes that count
        used = found.list_used(lambda: [found.send(long, f"question {n}") for n in range(24)])
        assert most_to_one(used)
        used = found.list_used(lambda: [found.send(f"{n} {long}", "question") for n in range(48)])
        assert sum(used) == 48
        assert sum(one > 0 for one in used) >= 2


def test_session_keeps_equal_headers_together(tmp_path: Path) -> None:
    with balance_stubs("session", tmp_path) as found:
        used = found.list_used(lambda: [found.send("s", f"{n}", "me") for n in range(24)])
        assert most_to_one(used)
        used = found.list_used(lambda: [found.send("s", f"{n}") for n in range(24)])
        assert all(one > 0 for one in used)
