"""Engines behind a balancer before a real Prometheus and a real HAProxy: who they are, what each says, who is missed."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import yaml

from tests.live.installed_tools import find_tool
from tests.live.test_exporter import Endpoint, fetch, has_numbers, make_engine, query, wait_for
from tests.live.test_helper_images import render, take_port
from xpukit.host.balancer_socket import ask_balancer
from xpukit.operate.monitor.dashboards import data_directory, load_dashboards
from xpukit.operate.monitor.settings import make_settings
from xpukit.operate.monitor.start import write_stack

pytestmark = pytest.mark.live
LIMIT_S = 30.0


class Balanced(msgspec.Struct, frozen=True, kw_only=True):
    """HAProxy before two engines and a spare that rests. `metrics` is its metrics' address."""

    metrics: str
    socket: str
    first: Endpoint
    second: Endpoint


@pytest.fixture
def balanced(tmp_path: Path) -> Iterator[Balanced]:
    program = find_tool("haproxy")
    first, second = (Endpoint(make_engine("vllm", old=False)) for _ in range(2))
    port, metrics_port = take_port(), take_port()
    places = (first.address, second.address, f"127.0.0.1:{take_port()}")
    named = ",".join(f"engine-{number}={address}" for number, address in enumerate(places))
    rendered = render(
        "loadbalancer", f"backends={named}", f"port={port}", "listen=127.0.0.1", f"metrics_port={metrics_port}"
    )
    text = next(file.content for file in rendered.files if file.path == "haproxy.cfg").decode()
    config, socket = tmp_path / "haproxy.cfg", tmp_path / "s"
    config.write_text(text.replace("/run/balancer/admin.sock", str(socket)))
    log = (tmp_path / "haproxy.log").open("wb")
    process = subprocess.Popen([program, "-db", "-f", str(config)], stdout=log, stderr=log)
    try:
        wait_for("HAProxy's socket", socket.exists, LIMIT_S)
        ask_balancer(str(socket), "set server engines/engine-2 state maint")
        yield Balanced(metrics=f"127.0.0.1:{metrics_port}", socket=str(socket), first=first, second=second)
    finally:
        process.kill()
        process.wait(timeout=20)
        log.close()
        for stub in (first, second):
            stub.server.shutdown()
            stub.server.server_close()


@contextlib.contextmanager
def watch(folder: Path, balancer: str) -> Iterator[str]:
    """A Prometheus with our rules that knows nothing but the balancer's address; its own address."""
    port = take_port()
    settings = make_settings(
        exporters=(), engines=(), balancers=(f"vllm={balancer}",), scrape_interval_s=1, prometheus_port=port
    )
    write_stack(folder, settings)
    address = f"127.0.0.1:{port}"
    argv = [find_tool("prometheus"), f"--config.file={folder}/prometheus/prometheus.yml"]
    log = (folder / "prometheus.log").open("wb")
    process = subprocess.Popen(
        [*argv, f"--storage.tsdb.path={folder}/data/prometheus", f"--web.listen-address={address}"],
        stdout=log,
        stderr=log,
    )
    try:
        yield address
    finally:
        process.terminate()
        process.wait(timeout=20)
        log.close()


def find_alert(name: str) -> str:
    groups = yaml.safe_load((data_directory() / "rules" / "engine.yml").read_text(encoding="utf-8"))["groups"]
    [expr] = [rule["expr"] for group in groups for rule in group["rules"] if rule["alert"] == name]
    return str(expr)


def test_each_engine_answers_for_itself(balanced: Balanced) -> None:
    assert json.loads(fetch(f"http://{balanced.metrics}/targets")) == [
        {"targets": ["engine-0", "engine-1", "engine-2"]}
    ]
    for number in (0, 1):
        assert "vllm:num_requests_running" in fetch(f"http://{balanced.metrics}/engines/engine-{number}/metrics")
    for path, status in (("engines/engine-2/metrics", 503), ("engines/engine-9/metrics", 404), ("health", 404)):
        with pytest.raises(OSError, match=str(status)):
            fetch(f"http://{balanced.metrics}/{path}")


@pytest.mark.slow
def test_prometheus_follows_the_balancer_and_misses_who_was_not_taken_out(balanced: Balanced, tmp_path: Path) -> None:
    with watch(tmp_path / "watch", balanced.metrics) as address:
        instances = {f"{balanced.metrics}/engine-{number}" for number in (0, 1)}

        def list_running() -> set[str]:
            found = query(address, "engine:requests_running:sum")
            return {sample["metric"]["instance"] for sample in found if sample["metric"]["engine"] == "vllm"}

        wait_for("both engines", lambda: list_running() == instances, LIMIT_S)
        spare = 'up{job="engine", server="engine-2"} == 0'
        resting = 'haproxy_server_status{server="engine-2", state="MAINT"} == 1'
        wait_for("the spare", lambda: bool(query(address, spare) and query(address, resting)), LIMIT_S)
        assert query(address, find_alert("EngineDown")) == [], "a spare that rests is not missed"
        assert query(address, find_alert("NoEngineServes")) == []
        panels = [panel for row in load_dashboards()["engine"].rows for panel in row.panels]
        exprs = [target.expr for panel in panels for target in panel.targets if "haproxy" in target.expr]
        assert exprs
        for expr in exprs:
            assert has_numbers(query(address, expr.replace("$engine", ".*"))), expr

        # Taken out to be replaced, and gone: not missed. Gone without that: missed.
        ask_balancer(balanced.socket, "set server engines/engine-1 state maint")
        for stub in (balanced.first, balanced.second):
            stub.server.shutdown()
            stub.server.server_close()

        def list_missed() -> set[str]:
            return {sample["metric"]["server"] for sample in query(address, find_alert("EngineDown"))}

        gone = 'up{job="engine", server=~"engine-[01]"} == 0'
        taken_out = 'haproxy_server_status{server="engine-1", state="MAINT"} == 1'
        wait_for("both gone", lambda: len(query(address, gone)) == 2 and bool(query(address, taken_out)), LIMIT_S)
        assert list_missed() == {"engine-0"}
        wait_for("nobody serves", lambda: bool(query(address, find_alert("NoEngineServes"))), LIMIT_S)
