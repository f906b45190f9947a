"""The recipe `exporter`: built of this checkout, beside Prometheus as `monitor up` starts it, and as its own user."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.live.docker_engine import DockerEngine, await_health
from tests.live.smoke_base import BASE, REPO, make_environment, run_build
from tests.live.test_exporter import find_tool, make_images, wait_for
from tests.machines.record import RECORDED
from xpukit.facts.recipes import load_recipe

pytestmark = [pytest.mark.live, pytest.mark.slow, pytest.mark.timeout(400)]
TAG = "xpukit-test/exporter:1"
LIMIT_S = 60.0


def fetch_wheels(folder: Path) -> Path:
    """This checkout as a wheel, and with this machine's pip what it needs: a container may not know its index."""
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    client = next(pin for pin in load_recipe("exporter").pins if pin.name == "prometheus-client")
    target = ["--only-binary", ":all:", "--python-version", "3.11", "--implementation", "cp"]
    for words in (
        ["wheel", "--no-deps", "--wheel-dir", str(folder), str(REPO)],
        [
            "download",
            "--dest",
            str(folder),
            "--find-links",
            str(folder),
            *target,
            "xpukit",
            f"{client.name}=={client.version}",
        ],
    ):
        ran = subprocess.run([*pip, *words], capture_output=True, text=True, timeout=200, check=False)
        if ran.returncode:
            pytest.skip(f"no index of Python packages: {ran.stderr.splitlines()[-1:]}")
    return folder


@pytest.fixture(scope="module")
def image(closed_engine: DockerEngine, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Built and tried as a user would, in a daemon without a network."""
    wheels = fetch_wheels(tmp_path_factory.mktemp("wheels"))
    environment = make_environment(closed_engine.address, tmp_path_factory.mktemp("state"))
    ran = run_build(
        environment, "exporter", "--base-image", BASE, "--wheelhouse", str(wheels), "--tag", TAG, "--json", "--force"
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return TAG


def test_its_own_user_reads_a_machine_and_is_healthy(closed_engine: DockerEngine, image: str) -> None:
    machine = RECORDED / "b60x4_bmc.tar.xz"
    told = closed_engine.docker(
        "run", "--rm", "--read-only", "-v", f"{machine}:/machine.tar.xz:ro", image,
        "xpukit", "exporter", "--from", "/machine.tar.xz",
    )  # fmt: skip
    assert told.count("hw_gpu_info{") == 4
    running = closed_engine.docker("run", "-d", "--read-only", image)
    try:
        assert await_health(closed_engine, running, limit_s=LIMIT_S) == "healthy"
        assert closed_engine.docker("exec", running, "id", "-u") == "10001"
    finally:
        closed_engine.docker("rm", "-f", running)


def test_monitor_up_runs_it_and_prometheus_scrapes_it(closed_engine: DockerEngine, image: str, tmp_path: Path) -> None:
    find_tool("prometheus")
    if shutil.which("docker-compose") is None:
        pytest.skip("docker-compose is not installed")
    make_images(closed_engine, tmp_path)
    stack = tmp_path / "stack"
    environment = {**os.environ, "DOCKER_HOST": closed_engine.address}
    images = ["--prometheus-image", "xpukit-test/prometheus:1", "--grafana-image", "xpukit-test/grafana:1"]
    up = [sys.executable, "-m", "xpukit", "monitor", "up", "--dir", str(stack), *images, "--exporter-image", image]

    def run(*argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=120, check=False)

    def ask(expr: str) -> Any:
        code = (
            "import sys, urllib.parse, urllib.request; query = urllib.parse.urlencode({'query': sys.argv[1]});"
            "print(urllib.request.urlopen(f'http://127.0.0.1:9090/api/v1/query?{query}', timeout=10).read().decode())"
        )
        ran = run("nsenter", f"--net=/proc/{closed_engine.pid}/ns/net", sys.executable, "-c", code, expr)
        return [] if ran.returncode else json.loads(ran.stdout)["data"]["result"]

    try:
        ran = run(*up, "--scrape-interval-s", "1")
        assert ran.returncode == 0, ran.stderr
        wait_for("a scrape", lambda: bool(ask('up{job="xpukit"} == 1')), LIMIT_S)
        wait_for("its metrics", lambda: bool(ask("xpukit_exporter_info")), LIMIT_S)
        # Up again, with more to scrape: Prometheus reads its configuration anew.
        ran = run(*up, "--scrape-interval-s", "1", "--engine", "vllm=127.0.0.1:9")
        assert ran.returncode == 0, ran.stderr
        wait_for("the engine", lambda: bool(ask('up{job="engine", engine="vllm"} == 0')), LIMIT_S)
        [identity] = [
            name for name in closed_engine.docker("ps", "--format", "{{.Names}}").split() if "exporter" in name
        ]
        [seen] = json.loads(closed_engine.docker("inspect", identity))
        assert seen["HostConfig"]["PidMode"] == "host"
        assert sorted(name.removeprefix("CAP_") for name in seen["HostConfig"]["CapAdd"]) == [
            "DAC_READ_SEARCH",
            "SYS_PTRACE",
        ]
        # What the kernel gave it: the two, and of all processes of the host those that it may look into.
        status = closed_engine.docker("exec", identity, "cat", "/proc/self/status")
        effective = next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff"))
        assert int(effective, 16) == 1 << 2 | 1 << 19
        others = f"/proc/{os.getpid()}/fd"
        assert closed_engine.docker("exec", identity, "ls", others), "the host's processes can be looked into"
    finally:
        down = run("docker-compose", "-f", str(stack / "compose.yaml"), "down", "--timeout", "2")
    assert down.returncode == 0, down.stderr
