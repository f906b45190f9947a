"""The archive: whole, closed to others, scanned, or not there."""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.machines.dict_host import DictHost
from xpukit.core.errors import BadRecordingError, ExternalError, OutputError, UsageError
from xpukit.host.answers import FileAnswer
from xpukit.host.recording_format import read_archive
from xpukit.host.replay import ReplayHost
from xpukit.sysinfo import bundle as bundle_module
from xpukit.sysinfo.bundle import Document, Order, Redaction, write_bundle
from xpukit.sysinfo.collection import Room
from xpukit.sysinfo.collector import Asker, Collector
from xpukit.sysinfo.opened import OpenedBundle
from xpukit.sysinfo.packing import pack_directory

FILES: dict[str, str | bytes | FileAnswer] = {
    "/etc/os-release": "ID=debian from secrethost\n",
    "/etc/shadow": FileAnswer(error="EACCES"),
    "/var/log/big": "line\n" * 40_000,
    "/etc/binary": b"\0\xff\xfe",
}


def scrub(text: str) -> str:
    return text.replace("secrethost", "host-1")


def look(asker: Asker) -> None:
    for path in FILES:
        asker.read(path, limit_bytes=1 << 20)
    asker.run("uname", "-a")
    asker.list("/etc")


def stop(asker: Asker) -> None:
    asker.read("/etc/os-release")
    raise KeyboardInterrupt


def make_order(target: Path, collect: object = look) -> Order:
    collector = Collector(name="look", summary="Looks.", preset="minimal", collect=collect)  # type: ignore[arg-type]
    return Order(
        target=target,
        collectors=(collector,),
        preset="default",
        timeout_s=60,
        max_bytes=10 << 20,
        rooms=(Room(name="probe", summary="x", ask=lambda host: host.read("/etc/os-release")),),
        documents=(Document(name="probe.json", make=lambda host, _: host.read("/etc/os-release").text),),
        command=("xpukit", "sysinfo", "-o", "/home/secrethost"),
    )


SAFE = Redaction(scrub=scrub, report=lambda: {"rules": {"host": 3}}, count=lambda: {"host": 3})


@pytest.mark.parametrize("suffix", [".tar.zst", ".tar.xz"])
def test_a_bundle_replays_what_was_asked(tmp_path: Path, suffix: str) -> None:
    target = tmp_path / f"b{suffix}"
    report = write_bundle(DictHost(FILES), make_order(target), SAFE)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == [target.name]
    assert (report.path, report.archive_bytes) == (str(target), target.stat().st_size)
    assert report.unpacked_bytes > 200_000 > report.archive_bytes
    assert report.redactions == {"host": 3}
    replay = ReplayHost(target, command="probe")
    assert replay.strict
    assert replay.manifest.covers == ("probe",)
    assert not ReplayHost(target, command="serve").strict, "what was not asked is missing, not a defect"
    assert replay.manifest.command[-1] == "/home/host-1"
    assert replay.read("/etc/os-release").text == "ID=debian from host-1"
    assert replay.read("/etc/shadow").error == "EACCES"
    assert replay.read("/etc/binary").data == b"\0\xff\xfe"
    assert len(replay.read("/var/log/big").data) == 200_000
    opened = OpenedBundle(target)
    assert opened.find_text("probe.json") == b"ID=debian from host-1"
    assert opened.report is not None
    (collector,) = opened.report.collection.collectors
    assert {entry.status for entry in collector.entries} == {"ok", "denied", "missing"}
    assert collector.status == "partial"
    assert json.loads(opened.find_text("redaction.json")) == {"rules": {"host": 3}}


def test_the_scan_fails_closed(tmp_path: Path) -> None:
    leaking = Redaction(
        scrub=scrub, scan=lambda archive: (f"answers.jsonl, line 3: mac ({archive.stat().st_size > 0})",)
    )
    with pytest.raises(ExternalError, match=r"answers.jsonl, line 3: mac \(True\)"):
        write_bundle(DictHost(FILES), make_order(tmp_path / "b.tar.zst"), leaking)
    assert os.listdir(tmp_path) == []


def test_ctrl_c_leaves_a_readable_bundle(tmp_path: Path) -> None:
    target = tmp_path / "b.tar.zst"
    report = write_bundle(DictHost(FILES), make_order(target, stop), SAFE)
    assert report.collection.interrupted
    replay = ReplayHost(target, command="probe")
    assert not replay.manifest.complete
    assert not replay.strict
    assert replay.read("/etc/os-release").ok
    assert replay.read("/etc/never-asked").error == "UNRECORDED"


def test_giving_up_leaves_nothing(tmp_path: Path) -> None:
    def give_up(_: Path) -> tuple[str, ...]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_bundle(DictHost(FILES), make_order(tmp_path / "b.tar.zst"), Redaction(scrub=scrub, scan=give_up))
    assert os.listdir(tmp_path) == []


def test_a_full_disk_while_packing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(bundle_module, "pack_directory", fail)
    with pytest.raises(OutputError) as caught:
        write_bundle(DictHost(FILES), make_order(tmp_path / "b.tar.zst"), SAFE)
    assert "no space left" in caught.value.message
    assert "b.tar.zst" in caught.value.message
    assert "MiB" in caught.value.hint
    assert os.listdir(tmp_path) == []


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        write_bundle(DictHost(FILES), make_order(tmp_path / "none" / "b.tar.zst"), SAFE)


def test_a_defect_in_a_document_costs_that_document(tmp_path: Path) -> None:
    def fail(*_: object) -> str:
        raise KeyError("oops")

    order = make_order(tmp_path / "b.tar.zst")
    order = Order(
        **{name: getattr(order, name) for name in order.__struct_fields__}
        | {"documents": (Document(name="summary.md", make=fail), *order.documents)}
    )
    report = write_bundle(DictHost(FILES), order, SAFE)
    assert "summary.md" in report.problems[0]
    assert OpenedBundle(tmp_path / "b.tar.zst").find_text("probe.json")


def test_looking_into_a_bundle(tmp_path: Path) -> None:
    target = tmp_path / "b.tar.zst"
    write_bundle(DictHost(FILES), make_order(target), SAFE)
    opened = OpenedBundle(target)
    wanted = b"ID=debian from host-1\n"
    assert opened.find_text("read /etc/os-release") == opened.find_text("/etc/os-release") == wanted
    assert opened.find_text("os-release") == wanted
    assert b"not installed" in opened.find_text("uname -a")
    assert opened.find_text("list /etc").splitlines()[0] == b"binary"
    assert opened.find_text("/etc/shadow") == b"[xpukit: EACCES]\n"
    with pytest.raises(UsageError, match="questions match"):
        opened.find_text("etc")
    with pytest.raises(UsageError, match="no answer to"):
        opened.find_text("/etc/fstab")
    out = tmp_path / "out"
    count = opened.unpack(out)
    assert (out / "read/etc/os-release").read_bytes() == wanted
    assert "not installed" in (out / "run/uname_-a.txt").read_text(encoding="utf-8")
    assert count == sum(1 for path in out.rglob("*") if path.is_file())
    with pytest.raises(UsageError, match="not empty"):
        opened.unpack(out)


def write_recording(directory: Path, manifest: Mapping[str, object], questions: list[list[str]]) -> Path:
    directory.mkdir()
    (directory / "manifest.json").write_text(json.dumps(manifest))
    lines = [json.dumps({"question": question, "answer": {"data": "text"}}) for question in questions]
    (directory / "answers.jsonl").write_text("\n".join(lines))
    return directory


MANIFEST = {"format": "xpukit.recording/1", "xpukit_version": "0.0.1", "created": "2026-01-01T00:00:00Z"}


def test_unpacking_a_hostile_bundle_stays_inside(tmp_path: Path) -> None:
    questions = [
        ["read", "/../../../evil"],
        ["read", "/a"],
        ["read", "/a/b"],
        ["read", "/x\n\x1b[2J"],
        ["read", ""],
        ["read", "/" + "n" * 5000],
        ["read", "/x?"],
        ["read", "/x*"],
        ["unheard-of", "/a"],
    ]
    recording = write_recording(tmp_path / "r", MANIFEST, questions)
    opened = OpenedBundle(recording)
    out = tmp_path / "deep" / "out"
    count = opened.unpack(out)
    files = [path for path in out.rglob("*") if path.is_file()]
    assert len(files) == count == len(questions) - 1 + 2
    assert {path.name for path in tmp_path.iterdir()} == {"r", "deep"}
    assert os.listdir(tmp_path / "deep") == ["out"]


def test_a_newer_format_is_refused_with_words(tmp_path: Path) -> None:
    newer = write_recording(tmp_path / "r", {**MANIFEST, "format": "xpukit.recording/2", "xpukit_version": "9.1"}, [])
    with pytest.raises(BadRecordingError, match="this xpukit reads xpukit") as caught:
        OpenedBundle(newer)
    assert "9.1" in caught.value.hint


@pytest.mark.parametrize("suffix", [".tar.zst", ".tar.xz"])
def test_any_file_names_and_sizes_are_packed(tmp_path: Path, suffix: str) -> None:
    """The compressor is told the tar's size beforehand, and refuses another."""
    content = tmp_path / "content"
    names = {"empty": 0, "a/block": 512, "a/one-more": 513, "é" * 60: 1, "/".join(["long" * 30] * 3): 20_000}
    for name, size in names.items():
        path = content / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * size)
    archive = tmp_path / f"b{suffix}"
    assert pack_directory(content, archive) == sum(names.values())
    packed = read_archive(archive)
    assert {name.removeprefix("b/"): len(data) for name, data in packed.items()} == names


def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    """zstd takes much damage for other content, unless there is a checksum."""
    target = tmp_path / "b.tar.zst"
    write_bundle(DictHost(FILES), make_order(target), SAFE)
    whole = target.read_bytes()
    damaged = tmp_path / "damaged.tar.zst"
    for place in range(0, len(whole), 97):
        damaged.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with pytest.raises(BadRecordingError, match=str(damaged)):
            ReplayHost(damaged)
