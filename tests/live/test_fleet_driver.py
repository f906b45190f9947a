"""The fleet's driver on an existing cluster, with a Ray that is one machine: this one. The task really runs."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from xpukit import __version__
from xpukit.host.fleet.own_cluster import JOIN
from xpukit.host.fleet.ray_folders import MARKER, PREFIX, sweep_folders

pytestmark = [pytest.mark.live]

# What the driver uses of Ray. Tasks run at once, where they are submitted.
RAY = """
import json, os
__version__ = "2.0.0"
asked = []
class AuthenticationError(Exception):
    pass
def init(**words):
    if words["address"] == "10.0.0.2:6379" and os.environ.get("RAY_AUTH_TOKEN") != "right":
        try:
            raise AuthenticationError("RPC error: InvalidAuthToken")
        except AuthenticationError:
            raise ConnectionError("Failed to connect to Ray cluster at 10.0.0.2:6379")
    if words["address"] == "10.0.0.2:6379":
        return
    if words["address"] != "10.0.0.1:6379":
        raise ConnectionError("nobody there")
def nodes():
    return [
        {"NodeID": "1", "Alive": True, "NodeManagerAddress": "10.0.0.1", "NodeManagerHostname": "here",
         "Resources": {"GPU": 2.0, "CPU": 8.0, "node:10.0.0.1": 1.0}},
        {"NodeID": "2", "Alive": False, "NodeManagerAddress": "10.0.0.2", "NodeManagerHostname": "dead",
         "Resources": {}},
    ]
def put(value):
    return value
class Task:
    def __init__(self, function):
        self.function = function
    def options(self, **words):
        asked.append(words)
        with open(os.path.dirname(__file__) + "/asked.json", "w") as file:
            json.dump(asked, file)
        return self
    def remote(self, *words):
        return lambda: self.function(*words)
def remote(**words):
    return Task
def wait(references, num_returns, timeout):
    return references[:num_returns], references[num_returns:]
def get(reference):
    return reference()
def shutdown():
    pass
"""


def run_fleet(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    place = folder / "ray"
    place.mkdir(exist_ok=True)
    (place / "ray.py").write_text(RAY)
    (place / "python3").write_text(f'#!/bin/sh\nPYTHONPATH={place} exec {sys.executable} "$@"\n')
    (place / "ray").write_text(f"#!{place}/python3\n")
    for name in ("ray", "python3"):
        (place / name).chmod(0o755)
    argv = [sys.executable, "-m", "xpukit", "--json", "fleet", "run", *words, "--ray", str(place)]
    env = {**os.environ, **environment}
    return subprocess.run(argv, env=env, capture_output=True, text=True, timeout=100, check=False)


def test_a_sent_xpukit_runs_on_every_machine_of_a_cluster(tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ("probe", "--address", "10.0.0.1:6379", "--send", "--hold", "GPU=all", "--hold", "CPU=3")
    ran = run_fleet(tmp_path, *words, "--out", str(out))
    assert ran.returncode in (0, 1), ran.stderr
    [host] = json.loads(ran.stdout)["hosts"]
    assert (host["host"], host["status"], host["address"]) == ("10.0.0.1", "done", "10.0.0.1"), ran.stderr
    document = json.loads((out / "hosts/10.0.0.1/probe.json").read_text(encoding="utf-8"))
    assert (document["schema"], document["xpukit_version"]) == ("xpukit.probe/1", __version__)
    [options] = json.loads((tmp_path / "ray/asked.json").read_text(encoding="utf-8"))
    assert options == {"num_cpus": 3.0, "num_gpus": 2.0, "resources": {"node:10.0.0.1": 0.6}}


def test_what_is_no_machine_of_the_cluster_is_lost(tmp_path: Path) -> None:
    words = ("probe", "--address", "10.0.0.1:6379", "--program", "/no/such/xpukit", "--hosts", "here,dead,other")
    ran = run_fleet(tmp_path, *words, "--out", str(tmp_path / "out"))
    assert ran.returncode == 3, ran.stderr
    hosts = {one["host"]: one for one in json.loads(ran.stdout)["hosts"]}
    assert {name: one["status"] for name, one in hosts.items()} == {"here": "failed", "dead": "lost", "other": "lost"}
    assert "/no/such/xpukit" in hosts["here"]["why"]
    assert "no machine of the Ray cluster" in hosts["other"]["why"]


def test_a_cluster_that_is_not_there_is_said(tmp_path: Path) -> None:
    ran = run_fleet(tmp_path, "probe", "--address", "10.0.0.9:1", "--out", str(tmp_path / "out"))
    assert ran.returncode == 3
    assert "no Ray cluster at 10.0.0.9:1: nobody there" in ran.stdout + ran.stderr


def test_a_cluster_with_a_token_is_reached_with_it(tmp_path: Path) -> None:
    """The token of the caller is handed on to Ray; without it Ray itself speaks of a lost connection only."""
    words = ("probe", "--address", "10.0.0.2:6379", "--send", "--hosts", "here", "--out")
    refused = run_fleet(tmp_path, *words, str(tmp_path / "one"), RAY_AUTH_TOKEN="wrong")
    assert refused.returncode == 3
    assert "it wants its token: RAY_AUTH_MODE=token and RAY_AUTH_TOKEN" in refused.stdout + refused.stderr
    taken = run_fleet(tmp_path, *words, str(tmp_path / "two"), RAY_AUTH_TOKEN="right")
    assert taken.returncode in (0, 1), taken.stderr
    assert json.loads(taken.stdout)["hosts"][0]["status"] == "done"


@pytest.fixture
def left() -> Iterator[Path]:
    """A folder as a killed run leaves it."""
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir="/tmp"))
    (folder / MARKER).write_text(f"{os.uname().nodename}\n")
    (folder / "ray").mkdir()
    (folder / "ray" / "session").write_text("x")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def test_what_a_killed_run_left_is_taken_away(tmp_path: Path, left: Path) -> None:
    ran = run_fleet(tmp_path, "probe", "--address", "10.0.0.9:1", "--hosts", "a", "--out", str(tmp_path / "out"))
    assert not left.exists(), ran.stderr
    assert f"took away {left}" in ran.stderr


@pytest.mark.parametrize("use", ["held", "environment", "words", "other machine", "unmarked", "link"])
def test_what_is_in_use_or_of_others_is_left_alone(use: str, left: Path) -> None:
    own = left.parent / f"{PREFIX}own"
    inside = left / "ray" / "session"
    folder = left
    process = None
    if use == "environment":
        process = subprocess.Popen(["sleep", "100"], env={**os.environ, "RAY_TMPDIR": str(left)})
    elif use == "words":
        process = subprocess.Popen(["sh", "-c", "sleep 100; :", "raylet", f"--socket={left}/ray/x"])
    elif use == "other machine":
        (left / MARKER).write_text("another\n")
    elif use == "unmarked":
        (left / MARKER).unlink()
    elif use == "link":
        folder = left.parent / f"{PREFIX}link-{os.getpid()}"
        (left / MARKER).rename(left / "ray" / MARKER)
        folder.symlink_to(left / "ray")
    try:
        with (
            (left / "lock").open("w") as nothing,
            (left / MARKER if use == "held" else Path(nothing.name)).open() as file,
        ):
            fcntl.flock(file, fcntl.LOCK_SH)
            assert folder not in sweep_folders(own)
        assert inside.exists()
    finally:
        if process is not None:
            process.kill()
            process.wait()
        if folder != left:
            folder.unlink()


JOINER = """#!/bin/sh
echo "$@" >"$0.asked"
"""


@pytest.mark.parametrize("used", [False, True])
def test_a_host_takes_away_what_a_killed_run_left_there(used: bool, tmp_path: Path, left: Path) -> None:
    """What runs on a host over ssh, with a `ray` that joins nothing."""
    ray = tmp_path / "ray"
    ray.write_text(JOINER)
    ray.chmod(0o755)
    new = left.parent / f"{PREFIX}test-{os.getpid()}"
    other = subprocess.Popen(["sleep", "100"], env={**os.environ, "RAY_TMPDIR": str(left)}) if used else None
    said = tmp_path / "said"
    try:
        # The end of its input would be the end of the run: it stays open until the script is done.
        with (
            said.open("w") as log,
            subprocess.Popen(
                ["sh", "-c", JOIN, "xpukit", str(ray), str(new), "10.0.0.1:6379", "{}"],
                stdin=subprocess.PIPE, stdout=log, stderr=log, text=True, start_new_session=True,
                env={**os.environ, "SSH_CONNECTION": "10.0.0.9 1 10.0.0.1 22"},
            ) as joining,
        ):  # fmt: skip
            assert joining.stdin is not None
            joining.stdin.write("token\n")
            joining.stdin.flush()
            joining.wait(timeout=120)
    finally:
        if other is not None:
            other.kill()
            other.wait()
    assert "--node-ip-address=10.0.0.1" in (tmp_path / "ray.asked").read_text(), said.read_text()
    assert left.exists() is used, said.read_text()
    assert not new.exists()
