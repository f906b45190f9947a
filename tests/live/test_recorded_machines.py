"""The recorded machines are what the real libudev, sysfs readers and Level Zero loader say before umockdev today."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.machines.catalog import MACHINES, STACKS
from tests.machines.ordinary_user import find_python
from tests.machines.record import RECORDED, record_machine
from tests.machines.recorded_machines import open_machine, read_machine
from tests.native.build import find_missing
from xpukit.host.recording_format import ANSWERS, read_archive
from xpukit.host.replay import ReplayHost
from xpukit.probe.config_space import read_port_type
from xpukit.probe.machine import probe_machine
from xpukit.probe.pci import list_functions

pytestmark = pytest.mark.live


@pytest.fixture
def umockdev() -> None:
    if shutil.which("umockdev-run") is None:
        pytest.skip("umockdev is not installed (package umockdev)")


def read_lines(answers: str) -> list[dict[str, Any]]:
    """The answers without what another release of the loader says otherwise: how it reaches sysman, which calls it
    lacks, and whether it can still be asked for its version when there is no driver."""
    lines: list[dict[str, Any]] = [json.loads(line) for line in answers.splitlines()]
    for line in lines:
        if line["question"] == ["level-zero"]:
            for name in ("sysman_mode", "errors", "loader_version"):
                line["answer"].pop(name, None)
    return lines


@pytest.fixture
def shared_directory() -> Iterator[Path]:
    """A directory that an ordinary user may write to."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o777)
        yield Path(directory)


@pytest.mark.skipif(bool(find_missing()), reason=find_missing() or "built")
@pytest.mark.parametrize("name", MACHINES)
def test_recording_again_gives_the_same_answers(name: str, shared_directory: Path, umockdev: None) -> None:
    if STACKS[name].level_zero == "denied":
        problem = find_python(shared_directory)[1]
        if problem:
            pytest.skip(problem)
    record_machine(name, shared_directory / name)
    again = read_lines((shared_directory / name / ANSWERS).read_text(encoding="utf-8"))
    committed = read_lines(read_archive(RECORDED / f"{name}.tar.xz")[ANSWERS].decode())
    assert again == committed, "probe asks differently: run tests/machines/record.py"
    fresh = probe_machine(ReplayHost(shared_directory / name), include_all=True)
    assert len(fresh.devices) >= 1


_LSPCI_PORTS = {"Root Port": "root-port", "Upstream Port": "upstream", "Downstream Port": "downstream"}
_LSPCI_ACS = {
    "SrcValid": "SourceValidation",
    "TransBlk": "TranslationBlocking",
    "ReqRedir": "RequestRedirect",
    "CmpltRedir": "CompletionRedirect",
    "UpstreamFwd": "UpstreamForwarding",
    "EgressCtrl": "EgressControl",
    "DirectTrans": "DirectTranslated",
}


@pytest.mark.skipif(shutil.which("lspci") is None, reason="lspci is not installed (package pciutils)")
@pytest.mark.parametrize("name", ["b60x8_2s", "dual_card", "a770"])
def test_lspci_reads_the_same_from_configuration_space(name: str, tmp_path: Path, umockdev: None) -> None:
    """An independent reader agrees on port types and Access Control Services of every bridge above a GPU."""
    description = tmp_path / "machine.umockdev"
    description.write_text(MACHINES[name]().write_description())
    replay = open_machine(name)
    functions = {function.bdf: function for function in list_functions(replay).functions}
    argv = ["umockdev-run", "-d", str(description), "--", "lspci", "-D", "-vv"]
    ran = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
    blocks = {block.split(maxsplit=1)[0]: block for block in ran.stdout.split("\n\n") if block.strip()}
    assert blocks.keys() == functions.keys()
    compared = 0
    for device in read_machine(name).devices:
        acs = {port.bdf: port for port in device.acs}
        for bdf in device.path:
            port = re.search(r"Express \(v2\) (Root Port|Upstream Port|Downstream Port)", blocks[bdf])
            config = replay.read(f"{functions[bdf].sys_path}/config").data
            assert port is not None
            assert read_port_type(config) == _LSPCI_PORTS[port[1]]
            control = re.search(r"ACSCtl:\t(.+)", blocks[bdf])
            assert (control is None) == (bdf not in acs)
            if control is not None:
                enabled = {_LSPCI_ACS[word[:-1]] for word in control[1].split() if word.endswith("+")}
                assert set(acs[bdf].enabled) == enabled
                compared += 1
    assert compared
