"""The fleet's driver on an existing cluster, with a Ray that is one machine: this one. The task really runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from xpukit import __version__

pytestmark = [pytest.mark.live]

# What the driver uses of Ray. Tasks run at once, where they are submitted.
RAY = """
import json, os
__version__ = "2.0.0"
asked = []
def init(**words):
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


def run_fleet(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    place = folder / "ray"
    place.mkdir(exist_ok=True)
    (place / "ray.py").write_text(RAY)
    (place / "python3").write_text(f'#!/bin/sh\nPYTHONPATH={place} exec {sys.executable} "$@"\n')
    (place / "ray").write_text(f"#!{place}/python3\n")
    for name in ("ray", "python3"):
        (place / name).chmod(0o755)
    argv = [sys.executable, "-m", "xpukit", "--json", "fleet", "run", *words, "--ray", str(place)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=100, check=False)


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
