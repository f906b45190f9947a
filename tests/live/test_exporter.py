"""The exporter and the monitoring stack before the real tools: mocked GPUs behind real sysfs readers, promtool,
Prometheus (Debian's package prometheus), docker-compose.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.live.docker_engine import TINY_PROGRAMS, DockerEngine, make_image_tar, start_engine
from tests.machines.record import run_on_machine
from xpukit.facts.exporter_engines import load_engine_meanings
from xpukit.facts.exporter_metrics import ExporterMetric, load_exporter_metrics
from xpukit.operate.exporter.expose import render_text, start_server
from xpukit.operate.exporter.sample import Sample
from xpukit.operate.monitor.dashboards import load_dashboards
from xpukit.operate.monitor.settings import make_settings
from xpukit.operate.monitor.start import write_stack

pytestmark = pytest.mark.live
BUCKETS = ("0.5", "1", "2", "+Inf")


def find_tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed (package prometheus)")
    return found


def run_tool(*argv: str, folder: Path | None = None, input: str | None = None) -> str:
    ran = subprocess.run(argv, cwd=folder, input=input, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def read_once(name: str) -> dict[str, list[tuple[dict[str, str], float]]]:
    if shutil.which("umockdev-run") is None:
        pytest.skip("umockdev is not installed (package umockdev)")
    ran = run_on_machine(name, ["-m", "xpukit", "exporter", "--once", "--no-xpu-smi"])
    assert ran.returncode == 0, ran.stderr.decode()
    text = ran.stdout.decode()
    if shutil.which("promtool"):
        run_tool("promtool", "check", "metrics", input=text)
    return {
        sample.name: [(dict(other.labels), other.value) for other in family.samples if other.name == sample.name]
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_four_b60_read_from_a_real_sysfs() -> None:
    told = read_once("b60x4_bmc")
    cards = [labels["hw_id"] for labels, _ in told["hw_gpu_info"]]
    assert len(cards) == 4
    narrow = [labels["hw_id"] for labels, value in told["hw_gpu_pcie_link_degraded"] if value]
    assert narrow == [cards[3]], "the card that trained to x4"
    held = {(labels["hw_id"], labels["reason"]) for labels, value in told["hw_gpu_throttled"] if value}
    assert {card for card, _ in held} == {cards[1]}
    assert {value for labels, value in told["hw_temperature_celsius"] if labels["hw_sensor_location"] == "pkg"} == {52}
    # Two readings, a second apart, of counters that stand still.
    assert {value for _, value in told["hw_power_watts"]} == {0.0}
    assert "hw_gpu_pcie_throughput_bytes_per_second" not in told, "nothing here says it: absent, not 0"


def test_tiles_and_old_drivers() -> None:
    told = read_once("max1550")
    assert {labels["tile"] for labels, _ in told["hw_gpu_speed_hertz"]} == {"0", "1"}
    assert len(told["hw_gpu_info"]) == 2


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())


def wait_for(what: str, ready: Callable[[], bool], limit_s: float) -> None:
    until = time.monotonic() + limit_s
    while not ready():
        assert time.monotonic() < until, f"{what}: not within {limit_s} s"
        time.sleep(0.2)


def test_serving_on_loopback_until_sigterm() -> None:
    argv = [sys.executable, "-m", "xpukit", "exporter", "--port", "0", "--no-level-zero", "--no-xpu-smi"]
    process = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        line = process.stderr.readline()
        match = re.search(r"http://127\.0\.0\.1:(\d+)/metrics", line)
        assert match, line
        first = fetch(match[0])
        assert "xpukit_exporter_info" in first
        for _ in range(20):
            fetch(match[0])
        threads = len(os.listdir(f"/proc/{process.pid}/task"))
        assert threads < 15, "a thread is left behind by each scrape"
        argv[argv.index("0")] = match[1]
        second = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
        assert second.returncode == 4
        assert "cannot listen" in second.stderr
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def test_clients_that_say_nothing_are_let_go(capfd: pytest.CaptureFixture[str]) -> None:
    server = start_server(list, address="127.0.0.1", port=0, silence_s=0.1)
    try:
        for said in (b"", b"GET /metr"):
            with socket.create_connection(("127.0.0.1", server.server_port), timeout=20) as client:
                client.sendall(said)
                assert client.recv(1000) == b"", "the connection is closed, and its thread ends"
        assert fetch(f"http://127.0.0.1:{server.server_port}/metrics") == ""
        assert fetch(f"http://127.0.0.1:{server.server_port}/-/healthy") == "ok\n"
    finally:
        server.shutdown()
        server.server_close()
    assert capfd.readouterr().err == ""


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    write_stack(tmp_path, make_settings(exporters=(), engines=("vllm=127.0.0.1:8000", "sglang=127.0.0.1:30000")))
    return tmp_path


def test_promtool_accepts_the_configuration_and_every_alert_fires_when_it_should(stack: Path, repo: Path) -> None:
    promtool = find_tool("promtool")
    run_tool(promtool, "check", "config", str(stack / "prometheus" / "prometheus.yml"))
    for path in (repo / "tests" / "data" / "monitor").glob("*_test.yml"):
        shutil.copy(path, stack / "prometheus")
        run_tool(promtool, "test", "rules", path.name, folder=stack / "prometheus")


def test_docker_compose_reads_the_compose_file(stack: Path) -> None:
    compose = shutil.which("docker-compose")
    if compose is None:
        pytest.skip("docker-compose is not installed")
    told = run_tool(compose, "-f", str(stack / "compose.yaml"), "config")
    assert "127.0.0.1:9090" in told
    checker = Path(sys.executable).parent / "check-jsonschema"
    if checker.exists():
        run_tool(str(checker), "--builtin-schema", "vendor.compose-spec", str(stack / "compose.yaml"))


class Endpoint:
    """Serves text that `write` makes of the seconds since it was started."""

    def __init__(self, write: Callable[[float], str]) -> None:
        begun_s = time.monotonic()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = write(time.monotonic() - begun_s).encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def make_hardware(seconds: float) -> str:
    """Every metric of the exporter, for two GPUs."""

    def fill(metric: ExporterMetric, gpu: str) -> tuple[tuple[str, str], ...]:
        given = {"hw_id": gpu, "hw_parent": gpu, "hw_type": "gpu", "hw_limit_type": "max", "tile": "0", "gt": "0"}
        labels = {label: given.get(label, "x") for label in metric.labels}
        if metric.name == "hw_status":
            labels["hw_state"] = "failed"
        if metric.name == "hw_errors_total":
            labels["error_type"] = "pcie_fatal"
        return tuple(sorted(labels.items()))

    value = {"counter": 10 * seconds, "gauge": 1.0}
    seen = {
        (metric.name, fill(metric, gpu)): value[metric.kind]
        for metric in load_exporter_metrics().values()
        for gpu in ("0000:03:00.0", "0000:04:00.0")
    }
    return render_text([Sample(name, labels, number) for (name, labels), number in seen.items()])


def make_engine(engine: str, *, old: bool) -> Callable[[float], str]:
    """An engine's metrics under the names of its old or its new versions."""

    def write(seconds: float) -> str:
        lines = []
        labels = 'model_name="m"' + (',engine="0"' if engine == "vllm" else "")
        for meaning in load_engine_meanings():
            for name in meaning.names:
                if name.engine != engine or (name.since if old else name.until):
                    continue
                if meaning.kind == "histogram":
                    lines += [f'{name.name}_bucket{{{labels},le="{le}"}} {seconds * i}' for i, le in enumerate(BUCKETS)]
                else:
                    lines.append(f"{name.name}{{{labels}}} {seconds if meaning.kind == 'counter' else 0.5}")
        return "\n".join(lines) + "\n"

    return write


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """A Prometheus that scrapes a stub exporter and three stub engines; its address, and the engines' addresses."""
    program = find_tool("prometheus")
    stubs = {
        "hardware": Endpoint(make_hardware),
        "new": Endpoint(make_engine("vllm", old=False)),
        "old": Endpoint(make_engine("vllm", old=True)),
        "sglang": Endpoint(make_engine("sglang", old=False)),
    }
    spare = Endpoint(lambda seconds: "")
    address = spare.address
    spare.server.shutdown()
    spare.server.server_close()
    settings = make_settings(
        exporters=(stubs["hardware"].address,),
        engines=(f"vllm={stubs['new'].address}", f"vllm={stubs['old'].address}", f"sglang={stubs['sglang'].address}"),
        scrape_interval_s=1,
        prometheus_port=int(address.rpartition(":")[2]),
    )
    write_stack(tmp_path, settings)
    argv = [program, f"--config.file={tmp_path}/prometheus/prometheus.yml", f"--web.listen-address={address}"]
    log = (tmp_path / "prometheus.log").open("wb")
    process = subprocess.Popen([*argv, f"--storage.tsdb.path={tmp_path}/data/prometheus"], stdout=log, stderr=log)
    try:
        yield address, {name: stub.address for name, stub in stubs.items()}
    finally:
        process.terminate()
        process.wait(timeout=20)
        log.close()
        for stub in stubs.values():
            stub.server.shutdown()
            stub.server.server_close()


def query(address: str, expr: str) -> Any:
    try:
        answer = json.loads(fetch(f"http://{address}/api/v1/query?{urllib.parse.urlencode({'query': expr})}"))
    except urllib.error.HTTPError as err:
        if err.code == HTTPStatus.SERVICE_UNAVAILABLE:  # it listens before it is ready
            return []
        raise AssertionError(f"{expr}\n{err.read().decode()}") from err
    except OSError:
        return []
    return answer["data"]["result"]


def has_numbers(result: Any) -> bool:
    return any(sample["value"][1] not in ("NaN", "+Inf", "-Inf") for sample in result)


@pytest.mark.slow
def test_every_panel_has_data_in_a_real_prometheus(prometheus: tuple[str, dict[str, str]]) -> None:
    address, stubs = prometheus
    wait_for("four targets", lambda: len(query(address, 'up{job=~"engine|xpukit"} == 1')) == 4, 20)
    # As Grafana writes them: all, and some that were chosen.
    chosen = {"host": [stubs["hardware"]], "gpu": ["0000:03:00.0"], "engine": [stubs["new"], stubs["sglang"]]}
    written = {
        name: "|".join(re.escape(value).replace("\\", "\\\\") for value in values) for name, values in chosen.items()
    }
    exprs = {
        re.sub(r"\$(?!__)(\w+)", choose, target.expr).replace("$__rate_interval", "5s")
        for choose in (lambda match: ".*", lambda match: f"({written[match[1]]})")
        for dashboard in load_dashboards().values()
        for row in dashboard.rows
        for panel in row.panels
        for target in panel.targets
        if "haproxy_" not in target.expr  # see test_monitor_balancer.py
    }
    assert len(exprs) > 60
    missing = set(exprs)

    def all_have_data() -> bool:
        missing.difference_update([expr for expr in missing if has_numbers(query(address, expr))])
        return not missing

    try:
        wait_for("data for every panel", all_have_data, 25)
    except AssertionError:
        pytest.fail("no data for:\n" + "\n".join(sorted(missing)))

    # Whatever the engine and its version, each meaning is there, from every engine that has a name for it.
    for meaning in load_engine_meanings():
        wanted = {name.engine for name in meaning.names}
        found = query(address, meaning.record)
        told = {sample["metric"]["instance"] for sample in found}
        expected = {stubs["new"], stubs["old"]} if "vllm" in wanted else set()
        expected |= {stubs["sglang"]} if "sglang" in wanted else set()
        assert told == expected, meaning.record
        assert {sample["metric"]["engine"] for sample in found} == wanted, "the job's label, not the engine's number"
    # What holds up as an alert on these values is pending or firing.
    wanted_alerts = {"GpuLost", "GpuErrors", "RotationFailed"}

    def are_told() -> bool:
        return wanted_alerts <= {sample["metric"]["alertname"] for sample in query(address, "ALERTS")}

    wait_for("alerts", are_told, 15)
    for dashboard in load_dashboards().values():
        for variable in dashboard.variables:
            match = re.fullmatch(r"label_values\((.+), (\w+)\)", variable.query)
            assert match, variable.query
            series = query(address, re.sub(r"\$\w+", ".*", match[1]))
            assert all(match[2] in sample["metric"] for sample in series)
            assert series


# In Grafana's place: says what it can read and write, and stays.
GRAFANA = r"""#!/bin/bash
echo "password $(cat "$GF_SECURITY_ADMIN_PASSWORD__FILE" | tr -d '\n' | wc -c)"
echo "user $(id -u)"
echo kept >/var/lib/grafana/kept && echo "data written"
echo x >/etc/x 2>/dev/null || echo "root read-only"
ls /etc/grafana/provisioning/datasources /etc/grafana/dashboards
trap 'exit 0' TERM
while :; do sleep 0.2; done
"""


def make_images(engine: DockerEngine, folder: Path) -> None:
    """Debian's Prometheus, and a script in Grafana's place: the real image of Grafana cannot be had here."""
    program = find_tool("prometheus")
    inside = f"/bin/{Path(program).name}" if program.startswith(("/bin", "/usr/bin")) else program
    entry = ["-c", f'ENTRYPOINT ["{inside}"]']
    engine.docker("import", *entry, "-", "xpukit-test/prometheus:1", stdin=make_image_tar(("prometheus",)))
    engine.docker("import", "-", "base:1", stdin=make_image_tar((*TINY_PROGRAMS, "tr", "wc")))
    script = folder / "grafana"
    script.write_text(GRAFANA)
    script.chmod(0o755)
    identity = engine.docker("create", "base:1", "true")
    engine.docker("cp", str(script), f"{identity}:/bin/grafana")
    change = ["--change", "ENV PATH=/bin", "--change", 'ENTRYPOINT ["/bin/grafana"]']
    engine.docker("commit", *change, identity, "xpukit-test/grafana:1")


@pytest.mark.slow
def test_up_starts_prometheus_and_grafana_under_docker_compose(tmp_path: Path) -> None:
    find_tool("prometheus")
    if shutil.which("docker-compose") is None:
        pytest.skip("docker-compose is not installed")
    with start_engine() as engine:
        make_images(engine, tmp_path)
        stack = tmp_path / "stack"
        images = ["--prometheus-image", "xpukit-test/prometheus:1", "--grafana-image", "xpukit-test/grafana:1"]
        ran = subprocess.run(
            [sys.executable, "-m", "xpukit", "monitor", "up", "--dir", str(stack), *images],
            env={**os.environ, "DOCKER_HOST": engine.address},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        password = (stack / "secrets" / "grafana_admin_password").read_text(encoding="utf-8")
        assert password not in ran.stdout + ran.stderr
        assert password not in engine.docker("inspect", *engine.list_left())
        names = engine.docker("ps", "-a", "--format", "{{.Names}}").split()
        prometheus = next(name for name in names if "prometheus" in name)
        grafana = next(name for name in names if "grafana" in name)

        def read_log(name: str) -> str:
            ran = subprocess.run(
                ["docker", "--host", engine.address, "logs", name],
                capture_output=True,
                text=True,
                timeout=30,
                check=True,
            )
            return ran.stdout + ran.stderr

        wait_for("Prometheus", lambda: "Server is ready to receive web requests" in read_log(prometheus), 20)
        wait_for("Grafana's stand-in", lambda: "hardware.json" in read_log(grafana), 20)
        told = read_log(grafana)
        assert f"password {len(password)}" in told
        assert "data written" in told
        assert "root read-only" in told
        assert "xpukit.yml" in told
        listening = subprocess.run(
            ["nsenter", f"--net=/proc/{engine.pid}/ns/net", "cat", "/proc/net/tcp", "/proc/net/tcp6"],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        ).stdout
        open_to = {line.split()[1].partition(":")[0] for line in listening.splitlines() if " 0A " in line}
        assert open_to == {"0100007F"}, "something listens on more than 127.0.0.1"
