"""The checks of containers against a real Docker daemon, started here with a socket and a data directory of its own.

The image is made of this machine's own bash and sleep; containers have no network. There is no GPU to hand over here, so
the good container is created and never started.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.live.docker_engine import make_image_tar, start_engine
from xpukit.core.finding import Finding
from xpukit.core.machine import Device, Machine
from xpukit.doctor.check import Patient
from xpukit.doctor.examine import Diagnosis, examine_machine
from xpukit.doctor.registry import list_checks
from xpukit.host.live import LiveHost
from xpukit.host.recording import RecordingHost
from xpukit.host.replay import ReplayHost

pytestmark = [pytest.mark.live, pytest.mark.slow, pytest.mark.timeout(300)]

CONTAINER_CHECKS = (
    "container_devices", "container_memory", "container_privileges", "container_groups", "container_cpus", "image_tag",
    "setvars", "docker_daemon",
)  # fmt: skip
IMAGE = "intel/llm-scaler-vllm"
SECRET = "sk-livetestsecret0123456789"
SERVE = f"sleep 600; : vllm serve /models/m -tp 2 --api-key {SECRET}"


def docker(*arguments: str, stdin: bytes = b"") -> str:
    ran = subprocess.run(["docker", *arguments], input=stdin, capture_output=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr.decode()
    return ran.stdout.decode().strip()


@pytest.fixture(scope="module")
def daemon() -> Iterator[str]:
    """DOCKER_HOST of a daemon of our own, with the image under two tags."""
    with start_engine() as engine, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", engine.address)
        docker("import", "-", f"{IMAGE}:latest", stdin=make_image_tar())
        docker("tag", f"{IMAGE}:latest", f"{IMAGE}:0.26.0-b1")
        yield engine.address
        names = docker("ps", "-aq").split()
        if names:
            docker("rm", "-f", *names)


@pytest.fixture(autouse=True)
def _speak_to_it(daemon: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", daemon)
    for name in docker("ps", "-aq").split():
        docker("rm", "-f", name)


def examine(host: LiveHost | RecordingHost | ReplayHost, machine: Machine | None = None) -> Diagnosis:
    chosen = [check for check in list_checks() if check.name in CONTAINER_CHECKS]
    return examine_machine(host, machine or Machine(), checks=chosen)


def list_ids(diagnosis: Diagnosis) -> set[str]:
    return {found.id for found in diagnosis.findings}


def test_careless_container_is_found_out() -> None:
    # Docker's defaults: no device, 64 MiB of /dev/shm.
    docker(
        "run", "-d", "--name", "careless", "--network", "none", "--entrypoint", "bash", f"{IMAGE}:latest", "-c", SERVE
    )
    said = examine(LiveHost())
    assert list_ids(said) == {"XPK-CONTAINER-NO-GPU", "XPK-CONTAINER-SHM-SMALL", "XPK-IMAGE-LATEST"}
    assert {found.subject for found in said.findings} == {"careless"}
    assert said.unchecked == ()
    text = msgspec.json.encode(said).decode()
    assert "64 MiB" in text or "67108864 bytes" in text
    assert SECRET not in text


def test_careful_container_lacks_only_what_this_machine_lacks() -> None:
    careful = (
        "--network", "none", "--shm-size", "16g", "--cap-add", "SYS_PTRACE", "-v", "/tmp:/dev/dri/by-path:ro",
        "--entrypoint", "bash",
    )  # fmt: skip
    command = (f"{IMAGE}:0.26.0-b1", "-c", f"source /opt/intel/oneapi/setvars.sh --force && {SERVE}")
    docker("create", "--name", "careful", *careful, *command)
    assert list_ids(examine(LiveHost())) == {"XPK-CONTAINER-NO-GPU"}
    docker("rm", "-f", "careful")
    # Nothing is below /dev/dri here: Docker looks for the device at the start only, so this one is never started.
    docker("create", "--name", "given", "--device", "/dev/dri", *careful, *command)
    assert examine(LiveHost()).findings == ()


def test_settings_that_cannot_start_here_are_read_from_created_containers() -> None:
    docker(
        "create", "--name", "mighty", "--privileged", "--memory", "2g", "--ipc", "host", f"{IMAGE}:0.26.0-b1", "bash",
        "-c", SERVE,
    )  # fmt: skip
    gpus = tuple(
        Device(index=index, bdf=f"0000:0{index}:00.0", vendor_id="8086", device_id="e211", name="B60", known=True)
        for index in range(2)
    )
    ids = list_ids(examine(LiveHost(), Machine(devices=gpus)))
    expected = {
        "XPK-CONTAINER-PRIVILEGED", "XPK-CONTAINER-MEMORY-LIMIT", "XPK-CONTAINER-NO-BY-PATH", "XPK-SETVARS-MISSING",
    }  # fmt: skip
    assert ids == expected


def test_ended_and_foreign_containers_are_left_alone() -> None:
    docker(
        "run", "--name", "ended", "--network", "none", "--entrypoint", "bash", f"{IMAGE}:latest", "-c", ": vllm serve m"
    )
    docker("tag", f"{IMAGE}:latest", "web:latest")
    docker("run", "-d", "--name", "web", "--network", "none", "--entrypoint", "bash", "web:latest", "-c", "sleep 600")
    assert examine(LiveHost()).findings == ()


def test_replayed_answers_give_the_same_findings_and_hold_no_foreign_variable(tmp_path: Path) -> None:
    docker(
        "run", "-d", "--name", "careless", "--network", "none", "-e", "DB_PASS=never-recorded", "-e", "SYCL_BE=x",
        "--entrypoint", "bash", f"{IMAGE}:latest", "-c", SERVE,
    )  # fmt: skip
    recording = RecordingHost(LiveHost(), tmp_path / "r")
    live = examine(recording)
    recording.close()
    assert live.findings
    assert examine(ReplayHost(tmp_path / "r", strict=True)) == live
    written = b"".join(path.read_bytes() for path in (tmp_path / "r").rglob("*") if path.is_file())
    assert b"never-recorded" not in written
    assert b"SYCL_BE=x" in written


def test_daemon_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/socket")
    gpu = Device(index=0, bdf="0000:03:00.0", vendor_id="8086", device_id="e211", name="B60", known=True)
    said = examine(LiveHost(), Machine(devices=(gpu,)))
    assert [found.id for found in said.findings] == ["XPK-DOCKER-NOT-RUNNING"]
    assert isinstance(said.findings[0], Finding)
    patient = Patient(machine=Machine(), host=LiveHost())
    assert [item for check in list_checks() if check.name in CONTAINER_CHECKS for item in check.look(patient)] == []
