"""`xpukit probe` as a command: on mocked machines through real libudev and loader, and as a user without rights."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.machines.ordinary_user import REPO, find_python
from tests.machines.record import RECORDED, run_on_machine
from tests.native.build import find_missing
from xpukit.cli.app import run

pytestmark = pytest.mark.live
PROBE = ["-m", "xpukit", "probe", "--json", "--all"]
# What this computer answers in place of the mocked machine: its kernel, tools and owners of device nodes.
NOT_MOCKED = ("driver_version", "sycl_index", "xpu_smi_index")


@pytest.fixture
def mocked() -> None:
    if shutil.which("umockdev-run") is None:
        pytest.skip("umockdev is not installed (package umockdev)")
    if find_missing():
        pytest.skip(find_missing())


@pytest.fixture
def ordinary() -> Iterator[list[str]]:
    """The command that runs Python as a user without rights."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        command, problem = find_python(Path(directory))
        if problem:
            pytest.skip(problem)
        yield command


def keep_mocked(document: dict[str, Any]) -> dict[str, Any]:
    """What /sys, /dev, udev and Level Zero say."""
    devices = []
    for device in document["devices"]:
        kept = {name: value for name, value in device.items() if name not in NOT_MOCKED}
        kept["sources"] = {name: value for name, value in device["sources"].items() if name not in NOT_MOCKED}
        kept["extra"] = {name: value for name, value in device["extra"].items() if name != "node_access"}
        devices.append(kept)
    numa = [
        {name: value for name, value in node.items() if name not in ("allowed_cpus", "memory_allowed")}
        for node in document["numa"]
    ]
    return {
        "devices": devices,
        "numa": numa,
        "others": document["others"],
        "topology": document["topology"],
        "level_zero": {name: document["level_zero"][name] for name in ("status", "drivers", "devices", "peers")},
        "findings": [found for found in document["findings"] if found["id"] != "XPK-PROBE-VM"],
    }


@pytest.mark.parametrize("name", ["b60x8_2s", "a770", "max1550"])
def test_the_command_says_what_the_recording_says(name: str, mocked: None, capsys: pytest.CaptureFixture[str]) -> None:
    ran = run_on_machine(name, PROBE)
    assert ran.returncode == 0, ran.stderr.decode()
    assert run(["probe", "--json", "--all", "--from", str(RECORDED / f"{name}.tar.xz")]) == 0
    recorded = keep_mocked(json.loads(capsys.readouterr().out))
    live = keep_mocked(json.loads(ran.stdout))
    assert live.keys() == recorded.keys()
    for part in recorded:
        assert live[part] == recorded[part], part


def list_unread(document: dict[str, Any]) -> list[dict[str, str]]:
    return [row for device in document["devices"] for row in device["unread"]] + list(document["unread"])


def test_an_ordinary_user_on_this_machine(ordinary: list[str], tmp_path: Path) -> None:
    # As after `su` or setpriv: the first directory of PATH is root's, and tools are not there.
    env = {**os.environ, "PATH": f"{tmp_path}:/usr/bin:/bin"}
    tmp_path.chmod(0o700)
    ran = subprocess.run([*ordinary, *PROBE], cwd=REPO, env=env, capture_output=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr.decode()
    document = json.loads(ran.stdout)
    notes = {item["name"]: item["note"] for item in document["software"]}
    assert shutil.which("xpu-smi", path="/usr/bin:/bin") or notes["xpu-smi"] == "not installed"
    assert document["schema"] == "xpukit.probe/1"
    assert document["cpu"]["online"]
    assert all(row["why"] for row in list_unread(document))
    assert not [row for row in list_unread(document) if row["why"].startswith("defect")]


def test_an_ordinary_user_on_a_server(mocked: None, ordinary: list[str]) -> None:
    ran = run_on_machine("b60x4_bmc", PROBE, ordinary=True)
    assert ran.returncode == 0, ran.stderr.decode()
    document = json.loads(ran.stdout)
    assert [device["bdf"] for device in document["devices"]] == [f"0000:{bus}:00.0" for bus in ("18", "3a", "5c", "7e")]
    closed = {"what": "/sys/kernel/debug/dri", "why": "permission denied", "remedy": "run as root"}
    for device in document["devices"]:
        assert device["link"]["current_width"]
        assert closed in device["unread"]
        # What sysfs and Level Zero say needs no rights.
        assert {firmware["name"] for firmware in device["firmware"]} >= {"fan control", "GFX"}
        assert (device["memory_bytes"], device["bar_bytes"]) == (24 << 30, 32 << 30)
    denied = [found for found in document["findings"] if found["id"] == "XPK-PROBE-NODE-DENIED"]
    assert [found["subject"] for found in denied] == [device["bdf"] for device in document["devices"]]
    assert all("usermod" in found["remedy"][0] or "udev rules" in found["remedy"][0] for found in denied)
