"""`xpukit probe` on recorded machines: what is printed is golden, and the same each time."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import pytest

from xpukit.cli.app import run

RECORDED = Path(__file__).resolve().parents[2] / "machines" / "recorded"
MACHINES = sorted(RECORDED.glob("*.tar.xz"))
Golden = Callable[[str, str], None]


def name_of(path: Path) -> str:
    return path.name.removesuffix(".tar.xz")


def test_there_are_recorded_machines() -> None:
    assert len(MACHINES) >= 8


@pytest.mark.parametrize("machine", MACHINES, ids=name_of)
def test_tables(machine: Path, capsys: pytest.CaptureFixture[str], golden: Golden) -> None:
    assert run(["probe", "--from", str(machine)]) == 0
    golden(f"probe-{name_of(machine)}.txt", capsys.readouterr().out)


@pytest.mark.parametrize("machine", MACHINES, ids=name_of)
def test_json_is_the_same_each_time(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    documents = []
    for argv in (["--json", "--from", str(machine), "probe"], ["probe", "--json", "--from", str(machine)]):
        assert run(argv) == 0
        document = json.loads(capsys.readouterr().out)
        document.pop("created")
        documents.append(document)
    assert documents[0] == documents[1]
    assert documents[0]["schema"] == "xpukit.probe/1"


@pytest.mark.parametrize("machine", MACHINES, ids=name_of)
def test_all_drawings(machine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["probe", "--from", str(machine), "--svg", str(tmp_path / "t.svg"), "--dot", "-"]) == 0
    assert capsys.readouterr().out.startswith("digraph")
    assert ET.parse(tmp_path / "t.svg").getroot().tag.endswith("svg")


def test_verbose_says_what_was_not_found(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["-v", "probe", "--from", str(MACHINES[0])]) == 0
    assert "Could not be read" in capsys.readouterr().out


def test_a_drawing_that_cannot_be_written_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["probe", "--from", str(MACHINES[0]), "--svg", str(tmp_path / "no" / "t.svg")]) == 4
    assert str(tmp_path / "no" / "t.svg") in capsys.readouterr().err
