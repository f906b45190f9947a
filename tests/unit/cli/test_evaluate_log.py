"""`xpukit evaluate --log`: existing logs, judged."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from xpukit.cli.app import run

LOGS = Path(__file__).resolve().parents[2] / "data" / "logs"
RECORDED = Path(__file__).resolve().parents[2] / "machines" / "recorded"
UPSTREAM = LOGS / "upstream-2xB60.txt"
Golden = Callable[[str, str], None]


@pytest.fixture(autouse=True)
def beside_the_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    """File names in the output are then the same everywhere."""
    monkeypatch.chdir(LOGS)
    monkeypatch.setenv("COLUMNS", "140")


@pytest.mark.parametrize(
    ("name", "arguments", "code"),
    [
        ("upstream-2xB60", [], 0),
        ("stopped", ["--device", "b60"], 3),
        ("wrong-data", ["--device", "8086:e211"], 1),
    ],
)
def test_a_log_is_judged(
    name: str, arguments: list[str], code: int, golden: Golden, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["evaluate", "--log", f"{name}.txt", *arguments]) == code
    said = capsys.readouterr()
    lines = [line.rstrip() for line in said.out.splitlines()]
    golden(f"evaluate-log-{name}.txt", "\n".join(lines) + f"\n--- standard error\n{said.err}")


def test_strict_wants_references(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["evaluate", "--strict", "--log", UPSTREAM.name]) == 3
    assert run(["evaluate", "--log", "/dev/null"]) == 3
    assert "no output of a tool" in capsys.readouterr().err


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["evaluate", "--json", "--log", UPSTREAM.name]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "xpukit.evaluate/1"
    assert {device["device_id"] for device in document["devices"]} == {"e211"}
    rows = {
        (row["metric"], row["params"].get("collective"), row["params"].get("bytes")): row for row in document["results"]
    }
    row = rows["busbw", "allreduce", 134217728]
    assert row["value"] == pytest.approx(18.25 * 1.048576)
    assert row["reference"]["kind"] == "measured"
    assert "18.25 busbw" in row["note"]


def test_standard_input(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    text = io.TextIOWrapper(io.BytesIO(b"\xff\xfe" + UPSTREAM.read_bytes()))
    monkeypatch.setattr("sys.stdin", text)
    assert run(["evaluate", "--json", "--log", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["conditions"]["logs"] == ["standard input"]


def test_csv(tmp_path: Path, golden: Golden, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "report.csv"
    assert run(["evaluate", "--log", UPSTREAM.name, "--csv", str(out), "--csv-form", "upstream"]) == 0
    golden("evaluate-log-upstream.csv", out.read_text(encoding="utf-8"))
    capsys.readouterr()
    assert run(["evaluate", "--log", UPSTREAM.name, "--csv", "-"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert len(rows) > 60
    assert {row["engine"] for row in rows} == {"log"}


def test_with_a_recorded_machine(capsys: pytest.CaptureFixture[str]) -> None:
    bundle = str(RECORDED / "b60x4_bmc.tar.xz")
    assert run(["--from", bundle, "evaluate", "--json", "--log", UPSTREAM.name]) == 0
    before = json.loads(capsys.readouterr().out)
    assert run(["evaluate", "--from", bundle, "--json", "--log", UPSTREAM.name]) == 0
    after = json.loads(capsys.readouterr().out)
    assert before["results"] == after["results"]
    assert all(device["bdf"] for device in before["devices"])
    assert before["host"] == after["host"] != ""


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--log", "no-such-file.txt"], "No such file"),
        (["--log", "."], "Is a directory"),
        (["--log", "-", "--log", "-"], "given twice"),
        (["--log", "upstream-2xB60.txt", "--only", "gemm"], "leave out --only"),
        (["--log", "upstream-2xB60.txt", "--device", "0", "--device", "1"], "one --device"),
        (["--log", "upstream-2xB60.txt", "--device", "nothing"], "no such GPU"),
        (["--log", "upstream-2xB60.txt", "--csv", "-", "--json"], "standard output"),
        (["--log", "upstream-2xB60.txt", "--csv-form", "odd"], "--csv-form odd"),
        (["--csv-file", "x.csv"], "but not what"),
        (["--csv", "x.csv", "--csv-file", "y.csv"], "both name a file"),
        (["--json", "--csv", "upstream", "--log", UPSTREAM.name], "both want standard output"),
    ],
)
def test_bad_usage(
    argv: list[str], words: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"")))
    assert run(["evaluate", *argv]) == 2
    said = capsys.readouterr()
    assert words in said.err
    assert said.out == "" or "--json" in argv


def test_other_encodings_and_loggers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = UPSTREAM.read_text(encoding="utf-8")
    (tmp_path / "utf16.log").write_bytes(text.encode("utf-16"))
    (tmp_path / "compose.log").write_text("".join(f"bench-1  | {line}\n" for line in text.splitlines()))
    shown = []
    for path in (UPSTREAM, tmp_path / "utf16.log", tmp_path / "compose.log"):
        assert run(["evaluate", "--log", str(path), "--csv", "upstream"]) == 0
        shown.append(capsys.readouterr())
    assert shown[0].out == shown[1].out == shown[2].out
    assert "what docker compose put before each line was taken off" in shown[2].err


def test_what_is_no_text_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "my log.gz").write_bytes(gzip.compress(UPSTREAM.read_bytes()))
    assert run(["evaluate", "--log", str(tmp_path / "my log.gz")]) == 2
    assert f"zcat '{tmp_path / 'my log.gz'}' | xpukit evaluate --log -" in capsys.readouterr().err
    assert run(["evaluate", "--log", str(tmp_path)]) == 2
    assert "Is a directory" in capsys.readouterr().err
