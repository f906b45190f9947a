"""`xpukit cdi` on recorded machines."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from xpukit.cli.app import run
from xpukit.images.cdi import check_cdi

CAPTURED = pytest.CaptureFixture[str]
RECORDED = Path(__file__).resolve().parents[2] / "machines" / "recorded"
FOUR = str(RECORDED / "b60x4_bmc.tar.xz")
NONE = str(RECORDED / "unbound.tar.xz")


def test_the_document_alone_is_printed(capsys: CAPTURED) -> None:
    assert run(["cdi", "--from", FOUR]) == 0
    document = json.loads(capsys.readouterr().out)
    assert check_cdi(document) == ()
    assert len(document["devices"]) == 9
    assert document["cdiVersion"] == "0.7.0"


def test_an_older_form_on_request(capsys: CAPTURED) -> None:
    assert run(["cdi", "--from", FOUR, "--no-groups"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["cdiVersion"] == "0.5.0"
    assert "additionalGids" not in json.dumps(document)


def test_a_machine_without_usable_gpus_says_why(capsys: CAPTURED) -> None:
    assert run(["cdi", "--from", NONE]) == 3
    said = capsys.readouterr()
    assert said.out == ""
    assert "no driver is bound" in said.err
    assert "vfio-pci" in said.err


def test_a_recording_is_not_written_for(tmp_path: Path, capsys: CAPTURED) -> None:
    assert run(["cdi", "--from", FOUR, "--write", "--output", str(tmp_path / "x.json")]) == 2
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_nobody_read_cannot_be_judged(capsys: CAPTURED) -> None:
    assert run(["cdi", "--from", FOUR, "--check", "--json"]) == 3
    document = json.loads(capsys.readouterr().out)
    assert (document["schema"], document["state"]) == ("xpukit.cdi-check/1", "unreadable")
    assert document["path"] == "/etc/cdi/intel.com-gpu.json"


def test_the_services_path_is_the_files(capsys: CAPTURED) -> None:
    assert run(["cdi", "--from", FOUR, "--systemd", "--no-groups", "--output", "/srv/cdi/a.json"]) == 0
    said = capsys.readouterr().out
    assert "cdi --write --no-groups --output /srv/cdi/a.json" in said
    assert "ReadWritePaths=-/srv/cdi" in said


@pytest.mark.parametrize(
    "argv",
    [
        ["--write", "--check"],
        ["--check", "--systemd"],
        ["--dynamic", "--output", "/x"],
        ["--systemd", "--output", "x.json"],
    ],
)
def test_options_that_exclude_each_other(argv: list[str], capsys: CAPTURED) -> None:
    assert run(["cdi", "--from", FOUR, *argv]) == 2
    assert "next:" in capsys.readouterr().err


def test_the_checks_document_fits_its_schema(repo: Path, capsys: CAPTURED) -> None:
    assert run(["cdi", "--from", FOUR, "--check", "--json"]) == 3
    schema = json.loads((repo / "docs" / "schemas" / "xpukit.cdi-check-1.json").read_text(encoding="utf-8"))
    jsonschema.validate(json.loads(capsys.readouterr().out), schema)
