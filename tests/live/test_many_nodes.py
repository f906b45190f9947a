"""Two machines that are really two: networks, host names, ssh, Docker daemons, Ray and MPI of their own between them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil
import pytest

from tests.live.docker_engine import DockerEngine, hear_interrupts, kill_engine, start_engine
from tests.live.ray_image import make_ray_image
from tests.live.test_serve_forms import ENVIRONMENT, find_ray, plan_here, write_files
from tests.live.two_nodes import MTU, Node, Nodes, end_node, list_inside, mend_node, start_nodes
from tests.unit.serve.form_plans import DATA
from xpukit.serve.forms import FormOptions, render_form
from xpukit.serve.plan_types import Pin, Plan

pytestmark = [pytest.mark.live, pytest.mark.slow]

HOSTS = "node-a,node-b"
TESTS = Path(__file__).parents[1]
# In memory: twenty seconds of unlinking less.
DISK_MB = 1500
# `xpukit evaluate` with four rows: what is tried is the fleet, not the machine.
SUITE = """
schema = "xpukit.suite/1"
name = "fleet-test"
summary = "a few rows"
stated_limit_s = 60
[method]
warmup_limit_s = 0.05
time_box_s = 0.05
min_samples = 3
max_samples = 20
[transfer]
directions = ["h2d"]
memories = ["pinned"]
sizes_bytes = [1048576]
gpu_peak_bytes = 16777216
time_box_s = 0.05
warmup_limit_s = 0.05
"""


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    with start_nodes(2) as running:
        yield running


def xpukit(nodes: Nodes, *words: str) -> list[str]:
    """`xpukit ...` at `control`."""
    options = ["--ssh-config", str(nodes.place / "ssh_config")] if "--resume" not in words and "fleet" in words else []
    return nodes.control.enter(sys.executable, "-m", "xpukit", *words, *options)


def environment() -> dict[str, str]:
    # Both machines have the same processors: pinned, the ranks of both would take turns on the first.
    return {**os.environ, "XPUKIT_RAY_BIN": str(find_ray()), "FI_PROVIDER": "tcp", "I_MPI_PIN": "0"}


def run(nodes: Nodes, *words: str, limit_s: float = 150) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        xpukit(nodes, *words), env=environment(), capture_output=True, text=True, timeout=limit_s, check=False
    )


def await_inside(pid: int, text: str, process: subprocess.Popen[str], *, limit_s: float = 90) -> None:
    """Until a program with `text` in its command line runs on the machine."""
    until = time.monotonic() + limit_s
    while True:
        for one in list_inside(pid):
            try:
                if text in " ".join(one.cmdline()):
                    return
            except psutil.Error:
                continue
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.1)


def test_a_machine_that_dies_costs_its_own_rows_and_can_be_asked_again(nodes: Nodes, tmp_path: Path) -> None:
    second = nodes.nodes[1]
    suite, out = tmp_path / "few.toml", tmp_path / "fleet"
    suite.write_text(SUITE, encoding="utf-8")
    words = ("--json", "fleet", "run", f"evaluate --suite {suite}", "--hosts", HOSTS, "--out", str(out))
    process = subprocess.Popen(
        xpukit(nodes, *words), env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        await_inside(second.pid, "xpukit evaluate", process)
        end_node(second)
        said, told = process.communicate(timeout=150)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 3, told
    hosts = {one["host"]: one for one in json.loads(said)["hosts"]}
    assert (hosts["node-a"]["status"], hosts["node-b"]["status"]) == ("done", "lost"), told
    assert hosts["node-b"]["why"]
    assert f"--resume {out}" in told
    kept = out / "hosts" / "node-a" / "results.json"
    before = (kept.read_bytes(), kept.stat().st_mtime_ns)
    results = json.loads(before[0])
    assert results["host"] == "node-a"
    assert results["suite"] == "fleet-test"
    assert results["results"]
    assert all(row["value"] > 0 for row in results["results"])
    assert not list((out / "hosts").glob("node-b/*"))

    mend_node(nodes, second)
    process = subprocess.Popen(
        hear_interrupts(xpukit(nodes, "fleet", "run", "--resume", str(out))),
        env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        await_inside(second.pid, "raylet", process)
        process.send_signal(signal.SIGINT)
        said, told = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130, told
    assert f"--resume {out}" in told
    check_nothing_runs(nodes)

    again = run(nodes, "fleet", "run", "--resume", str(out))
    assert again.returncode == 0, again.stderr
    assert "on 1 of 2 hosts" in again.stderr
    assert (kept.read_bytes(), kept.stat().st_mtime_ns) == before
    lines = [json.loads(line) for line in (out / "index.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(line["host"], line["status"]) for line in lines][-1] == ("node-b", "done")
    compared = run(nodes, "compare", "--json", str(out))
    runs = json.loads(compared.stdout)["runs"]
    assert {one["host"] for one in runs} == {"node-a", "node-b"}
    nothing = run(nodes, "fleet", "run", "--resume", str(out), limit_s=30)
    assert nothing.returncode == 0
    assert "given its result already" in nothing.stderr
    check_nothing_runs(nodes)


def check_nothing_runs(nodes: Nodes) -> None:
    """No part of Ray is left on any machine."""
    until = time.monotonic() + 40
    while left := [
        one.name() for node in (nodes.control, *nodes.nodes) for one in list_inside(node.pid) if "ray" in one.name()
    ]:
        assert time.monotonic() < until, left
        time.sleep(0.5)


def test_collectives_go_over_both(nodes: Nodes, tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = ("--hosts", HOSTS, "--only", "allreduce", "--only", "broadcast", "--size", "65536", "--out", str(out))
    ran = run(nodes, "--json", "fleet", "collectives", *words)
    assert ran.returncode == 0, ran.stderr
    document = json.loads(ran.stdout)
    rows = document["results"]
    assert {row["params"]["collective"] for row in rows} == {"allreduce", "broadcast"}
    assert {row["metric"] for row in rows} == {"algbw", "busbw", "latency"}
    assert all(row["verified"] and row["value"] > 0 and row["devices"] == ["node-a", "node-b"] for row in rows)
    assert json.loads((out / "results.json").read_text(encoding="utf-8"))["results"] == rows
    mpi = run(
        nodes, "--json", "fleet", "collectives", "--engine", "mpi", *words[:4], "--size", "65536", "--out", f"{out}2"
    )
    assert mpi.returncode == 0, mpi.stderr
    assert {row["params"]["mode"] for row in json.loads(mpi.stdout)["results"]} == {"cpu"}
    # In place of the vendor's benchmark: rank 0 says a table, each rank says where it is.
    program, table = tmp_path / "benchmark", TESTS / "data/oneccl_benchmark/present-allreduce-2ranks.txt"
    program.write_text(f'#!/bin/sh\nhostname >{tmp_path}/rank-$PMI_RANK\n[ "$PMI_RANK" != 0 ] || cat "$1"\n')
    program.chmod(0o755)
    named = run(
        nodes, "--json", "fleet", "collectives", *words[:2], "--program", f"{program} {table}", "--out", f"{out}4"
    )
    assert named.returncode == 0, named.stderr
    measured = json.loads(named.stdout)["results"]
    assert {tuple(row["devices"]) for row in measured} == {("node-a", "node-b")}
    assert ("latency", 1024, 9.31) in [(row["metric"], row["params"]["bytes"], row["value"]) for row in measured]
    for rank, node in enumerate(nodes.nodes):
        there = subprocess.run(node.enter("cat", f"{tmp_path}/rank-{rank}"), capture_output=True, text=True, check=True)
        assert there.stdout.strip() == node.name
    absent = run(nodes, "fleet", "collectives", "--hosts", "node-a,10.77.0.200", "--out", f"{out}3", limit_s=60)
    assert absent.returncode == 3
    assert "10.77.0.200" in absent.stderr


@pytest.fixture(scope="module")
def engines(nodes: Nodes) -> Iterator[tuple[DockerEngine, DockerEngine]]:
    first, second = nodes.nodes
    with start_engine(network_of=first.pid, data_mb=DISK_MB) as one:
        make_ray_image(one, find_ray())
        with start_engine(network_of=second.pid, data_mb=DISK_MB, images_of=one) as two:
            yield one, two
            # Half a swarm takes long to end, and nobody needs it any more.
            kill_engine(two)
        kill_engine(one)


def test_ray_in_containers_on_two_docker_daemons(
    nodes: Nodes, engines: tuple[DockerEngine, DockerEngine], tmp_path: Path
) -> None:
    """The swarm form's scripts, one on each machine, as they are printed: swarm, overlay network, Ray, tear-down."""
    text = (DATA / "plans" / "ray.json").read_text(encoding="utf-8").replace("10.0.0.", "10.77.0.")
    plan = plan_here(msgspec.convert(json.loads(text), Plan))
    # Both machines on one processor would be too slow for Ray on a busy machine.
    plan = msgspec.structs.replace(
        plan, launches=tuple(msgspec.structs.replace(one, pin=Pin()) for one in plan.launches)
    )
    *scripts, _, end = write_files(render_form("swarm-ray", plan, FormOptions()), tmp_path)
    watching: list[subprocess.Popen[bytes]] = []
    token = ""
    try:
        for node, engine, script in zip(nodes.nodes, engines, scripts, strict=True):
            told = script.with_suffix(".log")
            with told.open("wb") as log:
                watching.append(
                    subprocess.Popen(
                        node.enter("bash", str(script), disk=False),
                        env={**ENVIRONMENT, "DOCKER_HOST": engine.address, "SWARM_TOKEN": token},
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                        start_new_session=True,
                    )
                )
            until = time.monotonic() + 60
            while script.stem not in engine.docker("ps", "-a", "--format", "{{.Names}}").split():
                assert time.monotonic() < until, told.read_text(encoding="utf-8")
                time.sleep(0.3)
            token = token or re.findall(r"SWARM_TOKEN=(\S+)", told.read_text(encoding="utf-8"))[0]
        lines = await_joined(engines)
        [own] = [line.partition("=")[2] for line in lines if line.startswith("env VLLM_HOST_IP=")]
        seen = [json.loads(engine.docker("inspect", f"xpukit-node{index}"))[0] for index, engine in enumerate(engines)]
        for one in seen:
            assert list(one["NetworkSettings"]["Networks"]) == ["xpukit"]
            assert one["HostConfig"]["Privileged"] is False
            assert one["HostConfig"]["CapDrop"] == ["ALL"]
        assert own == seen[0]["NetworkSettings"]["Networks"]["xpukit"]["IPAddress"]
        for engine in engines:
            seen_mtu = engine.docker("exec", engine.docker("ps", "-q"), "cat", "/sys/class/net/eth0/mtu")
            assert int(seen_mtu) == MTU - 50
        # By name, from the other machine, over the overlay.
        engines[1].docker("exec", "xpukit-node1", "bash", "-c", "timeout 5 bash -c ': </dev/tcp/xpukit-node0/6379'")
        joined = engines[1].docker("exec", "xpukit-node1", "ray", "status")
        assert len(re.findall(r"node_[0-9a-f]{20,}", joined)) == 2
        listed = engines[0].docker("node", "ls", "--format", "{{.Hostname}}").split()
        assert sorted(listed) == ["node-a", "node-b"]
        assert "a$b c" not in json.dumps(seen[1]["Config"])
        # Once more, without a token: swarm and network are there, and the container is left alone.
        for node, engine, script in zip(nodes.nodes, engines, scripts, strict=True):
            again = run_script(node, engine, script)
            assert again.returncode != 0
            assert f'"/{script.stem}" is already in use' in again.stderr
            assert script.stem in engine.docker("ps", "--format", "{{.Names}}").split()
    finally:
        ended = [
            run_script(node, engine, end) for node, engine in reversed(list(zip(nodes.nodes, engines, strict=True)))
        ]
        for process in watching:
            if process.poll() is None:
                os.killpg(process.pid, 15)
            process.wait(timeout=30)
    assert [one.returncode for one in ended] == [0, 0], [one.stderr for one in ended]
    assert [engine.list_left() for engine in engines] == [[], []]
    until = time.monotonic() + 30
    while "xpukit" in engines[0].docker("network", "ls", "--format", "{{.Name}}").split():
        assert time.monotonic() < until
        time.sleep(0.3)


def run_script(node: Node, engine: DockerEngine, script: Path) -> subprocess.CompletedProcess[str]:
    """On a machine, as who is logged in there would."""
    return subprocess.run(
        node.enter("bash", str(script), disk=False),
        env={**ENVIRONMENT, "DOCKER_HOST": engine.address}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def await_joined(engines: tuple[DockerEngine, DockerEngine]) -> list[str]:
    """The head's log, once its engine has been started. Ray gives a machine 30 s to start, and a busy one needs more:
    then it is started again."""
    until = time.monotonic() + 150
    while "ready" not in (lines := engines[0].docker("logs", "xpukit-node0").splitlines()):
        assert time.monotonic() < until, (lines[-5:], engines[1].docker("logs", "xpukit-node1").splitlines()[-20:])
        for index, engine in enumerate(engines):
            if engine.docker("inspect", "--format", "{{.State.Status}}", f"xpukit-node{index}") == "exited":
                engine.docker("start", f"xpukit-node{index}")
        time.sleep(0.5)
    return lines


def test_what_differs_between_machines_is_found_before(
    nodes: Nodes, engines: tuple[DockerEngine, DockerEngine], tmp_path: Path
) -> None:
    """After the swarm test: both daemons hold the image. Docker's own socket is not there: it is a variable's."""
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    words = ("--json", "fleet", "preflight", "--hosts", HOSTS, "--model", str(model), "--port", "8123")
    ran = run(nodes, *words, "--min-gbits", "0.01")
    assert ran.returncode == 0, ran.stdout
    rows = {(row["name"], row["where"]): row for row in json.loads(ran.stdout)["rows"]}
    assert rows["ssh", "node-a"]["value"] == "publickey"
    assert rows["model", "all"]["verdict"] == "pass"
    for pair in ("node-a -> node-b", "node-b -> node-a"):
        assert rows["port tcp 8123", pair]["verdict"] == "pass"
        assert "Gbit/s" in rows["bandwidth", pair]["value"]
    # One machine with another MTU, a port that is taken, another clock, another model: what the seeds' guide never asks.
    second = nodes.nodes[1]
    subprocess.run(second.enter("ip", "link", "set", "eth0", "mtu", "1300"), check=True)
    inside = model / "config.json"
    subprocess.run(second.enter("sh", "-c", f"echo other >{inside}"), check=True)
    holder = subprocess.Popen(
        second.enter(
            sys.executable, "-c", "import socket; s = socket.socket(); s.bind(('', 8123)); s.listen(); input()"
        ),
        stdin=subprocess.PIPE,
    )
    try:
        ran = run(nodes, *words)
    finally:
        subprocess.run(second.enter("ip", "link", "set", "eth0", "mtu", str(MTU)), check=True)
        holder.kill()
        holder.wait()
    assert ran.returncode == 1, ran.stdout
    failed = {(row["name"], row["where"]) for row in json.loads(ran.stdout)["rows"] if row["verdict"] == "fail"}
    assert {("MTU", "all"), ("port tcp 8123", "node-b")} <= failed
    gone = run(nodes, "fleet", "preflight", "--hosts", "node-a,10.77.0.200", "--no-network")
    assert gone.returncode == 3, gone.stdout
