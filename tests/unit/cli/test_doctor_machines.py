"""`xpukit doctor` on the recorded machines: what it finds on each is golden, and so is the exit code."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from xpukit.cli.app import run

RECORDED = Path(__file__).resolve().parents[2] / "machines" / "recorded"
MACHINES = sorted(RECORDED.glob("*.tar.xz"))
Golden = Callable[[str, str], None]
# 1: a critical finding; 0: none. No machine is 3: where something could not be checked, a critical finding is there too.
EXIT_CODES = {"a770_small_bar": 1, "b60_no_render": 1, "unbound": 1, "vm": 1}


def name_of(path: Path) -> str:
    return path.name.removesuffix(".tar.xz")


@pytest.mark.parametrize("machine", MACHINES, ids=name_of)
def test_findings(machine: Path, capsys: pytest.CaptureFixture[str], golden: Golden) -> None:
    code = run(["doctor", "--brief", "--from", str(machine)])
    golden(f"doctor-{name_of(machine)}.txt", capsys.readouterr().out)
    assert code == EXIT_CODES.get(name_of(machine), 0)


@pytest.mark.parametrize("machine", MACHINES, ids=name_of)
def test_json_is_the_same_each_time_and_every_finding_has_evidence(
    machine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    documents = []
    for _ in range(2):
        run(["doctor", "--json", "--from", str(machine)])
        document = json.loads(capsys.readouterr().out)
        document.pop("created")
        documents.append(document)
    assert documents[0] == documents[1]
    for finding in documents[0]["findings"]:
        assert finding["evidence"], finding["id"]
        assert finding["remedy"] or finding["severity"] == "info", finding["id"]
        assert finding["explanation"], finding["id"]
        assert all(link.startswith("https://") for link in finding["links"]), finding["id"]
        assert finding["links"], finding["id"]


def test_full_text_of_a_big_server(capsys: pytest.CaptureFixture[str], golden: Golden) -> None:
    run(["doctor", "--from", str(RECORDED / "b60x8_2s.tar.xz")])
    said = capsys.readouterr().out
    golden("doctor-full-b60x8_2s.txt", said)
    # Eight cards with the same old firmware are one paragraph, not eight.
    assert said.count("XPK-FIRMWARE-OLDER-THAN-TESTED") == 1
    assert "0000:1b:00.0 and 7 more" in said


def test_the_script_of_fixes_is_shell(capsys: pytest.CaptureFixture[str], golden: Golden) -> None:
    run(["doctor", "--fix", "--from", str(RECORDED / "b60_x4_slot.tar.xz")])
    golden("doctor-fix-b60_x4_slot.txt", capsys.readouterr().out)


def test_no_module_is_loaded_into_a_kernel_that_does_not_know_the_device(capsys: pytest.CaptureFixture[str]) -> None:
    run(["doctor", "--fix", "--from", str(RECORDED / "unbound.tar.xz")])
    said = capsys.readouterr().out
    assert "\nsudo apt-get install linux-generic-hwe-24.04\n" in said
    assert "\nsudo modprobe xe\n" not in said
