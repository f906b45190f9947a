"""`xpukit sysinfo` as a command, on recorded machines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.machines.recorded_machines import RECORDED
from xpukit.cli.app import run
from xpukit.cli.sysinfo_output import choose_target, parse_size
from xpukit.core.errors import UsageError
from xpukit.host.recording_format import read_archive
from xpukit.sysinfo.collector import conform_error
from xpukit.sysinfo.registry import list_collectors

BUNDLES = Path(__file__).resolve().parents[2] / "data" / "bundles"


def drop_created(text: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(text)
    document.pop("created")
    return document


def drop_names(document: dict[str, Any]) -> None:
    """What redaction replaces in these documents: the host's name, and Level Zero's UUID of its driver."""
    document.pop("host")
    document.get("machine", {}).pop("host", None)
    for driver in document.get("level_zero", {}).get("drivers", ()):
        driver.pop("uuid")


def make_bundle(machine: str, directory: Path, *arguments: str) -> Path:
    assert run(["--from", str(RECORDED / f"{machine}.tar.xz"), "sysinfo", "-o", str(directory), *arguments]) == 0
    (path,) = directory.glob("*.tar.*")
    return path


@pytest.mark.parametrize("redact", [True, False])
@pytest.mark.parametrize("machine", ["b60x4_bmc", "max1550", "vm"])
def test_a_bundle_says_what_the_machine_said(
    machine: str, redact: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_bundle(machine, tmp_path, "--preset", "minimal", *([] if redact else ["--no-redact"] * 2))
    assert path.name in capsys.readouterr().err
    source = str(RECORDED / f"{machine}.tar.xz")
    for command, member in (("probe", "probe.json"), ("doctor", "findings.json"), ("serve Qwen/Qwen3-8B", "")):
        code = run([*command.split(), "--json", "--from", source])
        direct = drop_created(capsys.readouterr().out)
        assert run([*command.split(), "--json", "--from", str(path)]) == code
        told = capsys.readouterr()
        # Nothing was asked that the bundle does not hold.
        assert "warning" not in told.err
        replayed = drop_created(told.out)
        if member:
            assert run(["sysinfo", "show", str(path), member]) == 0
            assert drop_created(capsys.readouterr().out) == replayed
        if redact:
            drop_names(direct)
            drop_names(replayed)
        # Versions, addresses of devices and topology stay.
        assert replayed == direct
    assert run(["sysinfo", "show", str(path), "summary.md"]) == 0
    assert "### Machine" in capsys.readouterr().out


def test_the_json_document(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = make_bundle("b60x4_bmc", tmp_path, "--only", "os,pci", "--json", "--format", "xz")
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "xpukit.sysinfo/1"
    assert document["path"] == str(path)
    assert path.name.endswith(".tar.xz")
    assert document["archive_bytes"] == path.stat().st_size
    assert [one["name"] for one in document["collection"]["collectors"]] == ["os", "pci"]
    assert [one["name"] for one in document["collection"]["rooms"]] == ["probe", "doctor", "serve"]


def test_packing_a_bundle_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    path = make_bundle("b60x4_bmc", first, "--no-redact", "--no-redact")
    assert "-unredacted" in path.name
    assert "nothing was redacted" in capsys.readouterr().err
    assert run(["--from", str(path), "sysinfo", "-o", str(second), "--format", "xz"]) == 0
    (again,) = second.iterdir()
    assert "-unredacted" not in again.name
    capsys.readouterr()
    assert run(["sysinfo", "show", str(again), "redaction.json"]) == 0
    assert "rules" in json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["--no-redact"], "passwords", "say it twice"),
        (["--only", "dockr"], "no such collector", "did you mean docker"),
        (["--preset", "huge"], "no such preset", "minimal, default, full"),
        (["--max-size", "lots"], "not a size", "50M"),
        (["--max-size", "1K"], "out of range", "64K"),
        (["--format", "zip"], "no such format", "zst, xz"),
        (["-o", "/nowhere/at/all/b.tar.zst"], "no such directory", "-o"),
        (["-o", "bundle.zip"], "tar.zst or .tar.xz", "-o DIR"),
        (["-o", "-"], "standard output", "-o"),
        (["--list", "--estimate"], "exclude each other", ""),
    ],
)
def test_wrong_usage_is_explained(
    arguments: list[str], message: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["--from", str(RECORDED / "vm.tar.xz"), "sysinfo", *arguments]) == 2
    said = capsys.readouterr().err.replace("every password found", "passwords")
    assert message in said
    assert hint in said


def test_recording_a_recording_makes_no_sense(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--record", str(tmp_path), "sysinfo"]) == 2
    assert "--record" in capsys.readouterr().err


def test_list_and_estimate(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["sysinfo", "--list", "--preset", "minimal", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["collectors"]
    assert [row["name"] for row in rows] == [collector.name for collector in list_collectors()]
    assert {row["preset"] for row in rows if row["chosen"]} == {"minimal"}
    assert run(["sysinfo", "--list"]) == 0
    assert list_collectors()[0].summary in capsys.readouterr().out
    assert run(["--from", str(RECORDED / "b60x4_bmc.tar.xz"), "sysinfo", "--estimate"]) == 0
    assert "together" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("collector", list_collectors(), ids=lambda collector: collector.name)
def test_collectors_have_the_right_shape(collector: object) -> None:
    assert conform_error(collector) == ""  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "size"), [("50M", 50 << 20), ("64k", 64 << 10), ("1.5 MiB", 3 << 19), ("1GB", 1 << 30)]
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


def test_names(tmp_path: Path) -> None:
    path = choose_target(tmp_path, None, "host-1", redacted=True)
    assert path.name.startswith("xpukit-sysinfo-host-1-20")
    assert path.name.endswith("Z.tar.zst")
    path.write_bytes(b"")
    assert choose_target(tmp_path, None, "host-1", redacted=True) != path
    assert choose_target(tmp_path / "b.tar.xz", None, "host-1", redacted=False).name == "b-unredacted.tar.xz"
    with pytest.raises(UsageError, match="not named as"):
        choose_target(tmp_path / "b.tar.xz", "zst", "host-1", redacted=True)


def test_a_bundle_of_the_first_format_stays_readable(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Made by the version that first wrote bundles, never made again: tests/data/bundles/README.md."""
    (archive,) = BUNDLES.glob("*.tar.zst")
    path = tmp_path / "first"
    for name, content in read_archive(archive).items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    # Its number was not raised until the first release: what is asked since then, an older version did not ask.
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps({**manifest, "xpukit_version": "0.0.1"}))
    assert run(["--from", str(path), "probe", "--json"]) == 0
    machine = json.loads(capsys.readouterr().out)
    assert [device["device_id"] for device in machine["devices"]] == ["e211"] * 4
    assert run(["--from", str(path), "doctor", "--json"]) in (0, 1, 3)
    assert json.loads(capsys.readouterr().out)["schema"] == "xpukit.doctor/1"
    assert run(["sysinfo", "show", str(path)]) == 0
    assert "summary.md" in capsys.readouterr().out
    assert run(["sysinfo", "show", str(path), "/proc/cmdline"]) == 0


def test_what_is_damaged_costs_only_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2 is for what cannot be opened at all; 3 where what was asked for could not be had."""
    folder = tmp_path / "bundle"
    folder.mkdir()
    manifest = {"format": "xpukit.recording/1", "xpukit_version": "0.1.0", "created": "2026-11-21T00:00:00Z"}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    lines = [
        {"question": ["read", "/a"], "answer": {"data": 5}},
        {"question": ["read", "/b"], "answer": {"data": "whole"}},
        {"question": ["run", "dmesg"], "answer": {"argv": ["dmesg"], "rc": 0, "out": {"blob": "gone"}}},
    ]
    (folder / "answers.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"question": ["re')
    (folder / "collection.json").write_text('{"collection": {"pre')
    for what, code, said in (
        ("/a", 3, "damaged"),
        ("/b", 0, "whole"),
        ("dmesg", 3, "gone is missing"),
        ("/c", 2, "/c"),
    ):
        assert run(["sysinfo", "show", str(folder), what]) == code, what
        told = capsys.readouterr()
        assert said in told.out + told.err
        assert "its collection.json is damaged" in told.err
    assert run(["sysinfo", "show", str(folder)]) == 0
    assert run(["sysinfo", "show", str(folder), "--unpack", str(tmp_path / "out")]) == 3
    assert (tmp_path / "out/read/b").read_text() == "whole"
    assert "[xpukit: damaged:" in (tmp_path / "out/read/a").read_text()
    assert "the answer to run dmesg is damaged" in capsys.readouterr().err
    (folder / "manifest.json").write_text("{")
    assert run(["sysinfo", "show", str(folder), "/b"]) == 2


def test_sizes_are_told_from_the_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = make_bundle("vm", tmp_path, "--only", "os")
    capsys.readouterr()
    assert run(["sysinfo", "show", str(path), "--entries"]) == 0
    sizes = dict(line.split("  ")[3:1:-1] for line in capsys.readouterr().out.splitlines())
    assert run(["sysinfo", "show", str(path), "/etc/os-release"]) == 0
    assert int(sizes["read /etc/os-release"]) == len(capsys.readouterr().out.encode())


def test_what_a_bundle_is_called_does_not_reach_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = {
        "format": "xpukit.recording/1",
        "xpukit_version": "0.1.0",
        "created": "x",
        "host": "h\x1b[31m\x07\nroot",
    }
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    (tmp_path / "answers.jsonl").write_text('{"question": ["re\\u001b[2Jad", "/a"], "answer": {}}\n')
    assert run(["sysinfo", "show", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert "\x1b" not in told
    assert "\x07" not in told
    assert "h?[31m? root" in told
