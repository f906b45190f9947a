"""Recording, replay and overlay: a machine as a value."""

from __future__ import annotations

import contextlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xpukit.core.errors import BadRecordingError, OutputError, UnrecordedQuestionError, UsageError, XpukitError
from xpukit.host.answers import FileAnswer, FoundAnswer, IdentityAnswer, NamesAnswer, Ran
from xpukit.host.live import LiveHost
from xpukit.host.mediated import MediatedHost, Question
from xpukit.host.overlay import OverlayHost
from xpukit.host.recording import RecordingHost, pack_recording
from xpukit.host.recording_format import read_archive
from xpukit.host.replay import LenientView, ReplayHost
from xpukit.host.scrub import build_scrubber, keep_everything


class ScriptedHost(MediatedHost):
    """Answers from a list per question; the stand-in for a machine whose answers change."""

    def __init__(self, answers: dict[Question, list[msgspec.Struct]]) -> None:
        super().__init__(None)
        self.answers = {("identity",): [IdentityAnswer(hostname="gpu-rack-07", username="melinda")], **answers}

    def mediate(self, question: Question, answer_type: type, ask: Callable[[], object]) -> object:  # type: ignore[override]
        queue = self.answers[question]
        return queue.pop(0) if len(queue) > 1 else queue[0]


def record(tmp_path: Path, host: ScriptedHost, ask: Callable[[RecordingHost], None], **options: object) -> Path:
    directory = tmp_path / "rec"
    recording = RecordingHost(host, directory, command=("xpukit", "probe"), **options)  # type: ignore[arg-type]
    ask(recording)
    recording.close()
    return directory


def test_every_kind_of_answer_survives(tmp_path: Path) -> None:
    answers: dict[Question, list[msgspec.Struct]] = {
        ("read", "/a"): [FileAnswer(data=b"text\n")],
        ("read", "/config"): [FileAnswer(data=bytes(range(256)), truncated=True)],
        ("read", "/gone"): [FileAnswer(error="EACCES")],
        ("read", "/big"): [FileAnswer(data=b"y" * 200_000)],
        ("list", "/d"): [NamesAnswer(names=("a", "b"))],
        ("run", "tool", "-x"): [Ran(argv=("tool", "-x"), rc=-9, out=b"\xff\x00", err=b"e", failure="signal:9")],
        ("env", "X"): [FoundAnswer(value=None)],
    }

    def ask(host: RecordingHost) -> None:
        for path in ("/a", "/config", "/gone", "/big"):
            host.read(path)
        host.list("/d")
        host.run(["tool", "-x"], timeout_s=1)
        host.env("X")

    directory = record(tmp_path, ScriptedHost({k: list(v) for k, v in answers.items()}), ask, scrub=keep_everything)
    replay = ReplayHost(directory)
    for path in ("/a", "/config", "/gone", "/big"):
        assert replay.read(path) == answers["read", path][0]
    assert replay.list("/d") == answers["list", "/d"][0]
    assert replay.run(["tool", "-x"], timeout_s=99) == answers["run", "tool", "-x"][0]
    assert replay.env("X").value is None
    assert list((directory / "blobs").iterdir())


def test_an_unrecorded_question_cannot_be_hidden(tmp_path: Path) -> None:
    directory = record(tmp_path, ScriptedHost({}), lambda host: None)
    replay = ReplayHost(directory)

    def shrug_off() -> None:
        try:
            replay.read("/etc/passwd")
        except Exception:
            pytest.fail("an ordinary handler caught it")

    with pytest.raises(UnrecordedQuestionError, match="read /etc/passwd"):
        shrug_off()


def test_a_recording_of_another_version_answers_unrecorded(tmp_path: Path) -> None:
    directory = record(tmp_path, ScriptedHost({}), lambda host: None)
    manifest = json.loads((directory / "manifest.json").read_text(encoding="utf-8"))
    manifest["xpukit_version"] = "0.0.1"
    (directory / "manifest.json").write_text(json.dumps(manifest))
    replay = ReplayHost(directory)
    assert replay.read("/new").error == "UNRECORDED"
    assert replay.run(["new"], timeout_s=1).failure == "UNRECORDED"
    assert replay.level_zero().status == "unrecorded"
    assert replay.memory().error == replay.udev("pci").error == "UNRECORDED"
    assert ("read", "/new") in replay.unrecorded


def test_what_a_machine_need_not_have_had_is_asked_without_a_complaint(tmp_path: Path) -> None:
    answers = {("read", "/kept"): [FileAnswer(data=b"1")]}
    directory = record(
        tmp_path, ScriptedHost({k: list(v) for k, v in answers.items()}), lambda h: h.read("/kept") and None
    )
    replay = ReplayHost(directory, strict=False)
    state = LenientView(replay)
    assert (state.read("/kept").text, state.read("/gone").error) == ("1", "UNRECORDED")
    assert replay.unrecorded == []
    # A recording that must hold it stays strict.
    with pytest.raises(UnrecordedQuestionError):
        LenientView(ReplayHost(directory)).read("/gone")


def test_repeated_questions_replay_in_order_and_the_last_stays(tmp_path: Path) -> None:
    host = ScriptedHost({("read", "/t"): [FileAnswer(data=b"1"), FileAnswer(data=b"2"), FileAnswer(data=b"3")]})
    directory = record(tmp_path, host, lambda h: [h.read("/t") for _ in range(5)] and None)
    replay = ReplayHost(directory)
    assert [replay.read("/t").text for _ in range(5)] == ["1", "2", "3", "3", "3"]


def test_commands_differ_by_input_environment_and_directory(tmp_path: Path) -> None:
    host = LiveScript()
    directory = tmp_path / "rec"
    recording = RecordingHost(host, directory, scrub=keep_everything)
    recording.run(["t"], timeout_s=1)
    recording.run(["t"], timeout_s=1, input=b"i")
    recording.run(["t"], timeout_s=1, env={"A": "1"})
    recording.run(["t"], timeout_s=1, cwd="/x")
    recording.close()
    replay = ReplayHost(directory)
    assert replay.run(["t"], timeout_s=1).text == "1"
    assert replay.run(["t"], timeout_s=1, env={"A": "1"}).text == "3"
    assert replay.run(["t"], timeout_s=1, input=b"i").text == "2"
    assert replay.run(["t"], timeout_s=1, cwd="/x").text == "4"
    with pytest.raises(UnrecordedQuestionError):
        replay.run(["t"], timeout_s=1, env={"A": "2"})


class LiveScript(ScriptedHost):
    """Counts its commands."""

    def __init__(self) -> None:
        super().__init__({})
        self.count = 0

    def mediate(self, question: Question, answer_type: type, ask: Callable[[], object]) -> object:  # type: ignore[override]
        if question[0] != "run":
            return super().mediate(question, answer_type, ask)
        self.count += 1
        return Ran(argv=question[1:], rc=0, out=str(self.count).encode())


def test_scrubbing_reaches_text_arguments_paths_and_the_manifest(tmp_path: Path) -> None:
    secret = "hf_" + "A1b2C3d4E5f6G7h8I9"
    host = ScriptedHost(
        {
            ("read", "/home/melinda/x"): [
                FileAnswer(
                    data=f"gpu-rack-07 token={secret} aa:bb:cc:dd:ee:0f Serial: ABCD1234".encode()
                    + b'{"serial_number": "WXYZ5678"}'
                )
            ],
            ("run", "curl", "http://me:pw@proxy"): [
                Ran(argv=("curl", "http://me:pw@proxy"), rc=0, out=secret.encode())
            ],
        }
    )

    def ask(recording: RecordingHost) -> None:
        assert secret in recording.read("/home/melinda/x").text  # the asker sees the machine as it is
        recording.run(["curl", "http://me:pw@proxy"], timeout_s=1)

    directory = record(tmp_path, host, ask)
    everything = b"".join(path.read_bytes() for path in directory.rglob("*") if path.is_file()).decode()
    for word in ("melinda", "gpu-rack-07", secret, "aa:bb:cc:dd:ee:0f", "ABCD1234", "WXYZ5678", "me:pw"):
        assert word not in everything
    assert "user-1" in everything


def test_scrubber_leaves_bdfs_versions_and_root_alone() -> None:
    scrub = build_scrubber(IdentityAnswer(hostname="vm", username="root"))
    text = "0000:03:00.0 8086:e211 6.14.0-1011-intel /root vm 70.55.3"
    assert scrub(text) == text


def test_a_recording_is_useful_before_it_is_closed(tmp_path: Path) -> None:
    host = ScriptedHost({("read", "/a"): [FileAnswer(data=b"1")]})
    recording = RecordingHost(host, tmp_path / "rec")
    recording.read("/a")
    recording._answers.flush()
    replay = ReplayHost(tmp_path / "rec")
    assert not replay.manifest.complete
    assert replay.read("/a").text == "1"


@pytest.mark.parametrize("suffix", [".tar.zst", ".tar.xz", ".tar.gz", ".tar"])
def test_archives_replay_like_directories_and_are_reproducible(tmp_path: Path, suffix: str) -> None:
    host = ScriptedHost({("read", "/big"): [FileAnswer(data=b"z" * 100_000)]})
    directory = record(tmp_path, host, lambda h: h.read("/big") and None)
    first, second = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    pack_recording(directory, first)
    pack_recording(directory, second)
    assert ReplayHost(first).read("/big").data == b"z" * 100_000
    assert first.stat().st_mode & 0o777 == 0o600
    if suffix != ".tar.gz":  # gzip writes the time
        assert first.read_bytes() == second.read_bytes()


def test_an_archive_with_a_top_folder_is_read_too(tmp_path: Path) -> None:
    directory = record(
        tmp_path, ScriptedHost({("read", "/a"): [FileAnswer(data=b"1")]}), lambda h: h.read("/a") and None
    )
    archive = tmp_path / "x.tar.gz"
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(directory, arcname="bundle-of-someone")
    assert ReplayHost(archive).read("/a").text == "1"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: (d / "manifest.json").unlink(), "not an xpukit recording"),
        (lambda d: (d / "answers.jsonl").unlink(), "missing"),
        (lambda d: (d / "manifest.json").write_text("{"), "damaged"),
        (
            lambda d: (d / "manifest.json").write_text(
                '{"format":"xpukit.recording/9","xpukit_version":"7","created":""}'
            ),
            "xpukit 7",
        ),
        (lambda d: (d / "manifest.json").write_text('{"format":"sos/1","xpukit_version":"7","created":""}'), "sos/1"),
    ],
)
def test_what_is_no_recording_is_said(tmp_path: Path, change: Callable[[Path], None], words: str) -> None:
    directory = record(tmp_path, ScriptedHost({}), lambda h: None)
    change(directory)
    with pytest.raises(BadRecordingError) as caught:
        ReplayHost(directory)
    assert words in caught.value.message + caught.value.hint


def test_damaged_lines_are_counted_and_the_rest_is_used(tmp_path: Path) -> None:
    host = ScriptedHost({("read", "/a"): [FileAnswer(data=b"1")], ("read", "/b"): [FileAnswer(data=b"2")]})
    directory = record(tmp_path, host, lambda h: [h.read(path) for path in ("/a", "/b")].clear())
    raw = (directory / "answers.jsonl").read_bytes()
    (directory / "answers.jsonl").write_bytes(raw[:-20])
    replay = ReplayHost(directory)
    assert replay.damaged_lines == 1
    assert replay.read("/a").text == "1"
    assert replay.read("/b").error == "UNRECORDED"


@pytest.mark.parametrize(
    "line",
    [
        b'{"question":["read","/b"],"answer":{"data":"\xe3x"}}',
        b'{"question":[],"answer":{}}',
        b'{"question":' + b"[" * 9999,
    ],
    ids=["no UTF-8", "no question", "bottomless"],
)
def test_a_damaged_line_costs_its_answer(tmp_path: Path, line: bytes) -> None:
    directory = record(
        tmp_path, ScriptedHost({("read", "/a"): [FileAnswer(data=b"1")]}), lambda h: h.read("/a") and None
    )
    with (directory / "answers.jsonl").open("ab") as answers:
        answers.write(line + b"\n")
    replay = ReplayHost(directory)
    assert replay.damaged_lines == 1
    assert replay.read("/a").text == "1"
    assert replay.read("/b").error == "UNRECORDED"


def test_an_answer_of_another_shape_costs_itself(tmp_path: Path) -> None:
    directory = record(tmp_path, ScriptedHost({}), lambda h: None)
    (directory / "answers.jsonl").write_text('{"question":["read","/a"],"answer":{"data":5}}\n')
    replay = ReplayHost(directory)
    assert replay.read("/a").error == "UNRECORDED"
    assert replay.misshapen == {("read", "/a"): "read /a: an answer holds int where text or bytes belong"}


def test_a_bundle_knows_no_folder_below_the_working_directory(tmp_path: Path) -> None:
    """`serve Qwen/Qwen3-8B` looks whether that is a folder: of a recorded machine nobody knows."""
    directory = record(tmp_path, ScriptedHost({}), lambda h: None)
    replay = ReplayHost(directory, strict=True)
    assert replay.stat("Qwen/Qwen3-8B").error == "ENOENT"
    assert replay.unrecorded == []
    with pytest.raises(UnrecordedQuestionError):
        replay.stat("/models/Qwen3-8B")


def test_a_missing_blob_is_named(tmp_path: Path) -> None:
    host = ScriptedHost({("read", "/big"): [FileAnswer(data=b"z" * 100_000)]})
    directory = record(tmp_path, host, lambda h: h.read("/big") and None)
    next((directory / "blobs").iterdir()).unlink()
    replay = ReplayHost(directory)
    assert replay.read("/big").error == "UNRECORDED"
    assert list(replay.misshapen) == [("read", "/big")]
    assert "blobs/" in replay.misshapen["read", "/big"]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damaged_archives_never_give_a_traceback(tmp_path: Path, data: st.DataObject) -> None:
    directory = tmp_path / "rec"
    if not directory.exists():
        record(tmp_path, ScriptedHost({("read", "/a"): [FileAnswer(data=b"1" * 500)]}), lambda h: h.read("/a") and None)
        for suffix in (".tar.zst", ".tar.xz", ".tar.gz", ".tar"):
            pack_recording(directory, tmp_path / f"whole{suffix}")
    # In a plain .tar nothing tells that a byte of an answer is another.
    suffix = data.draw(st.sampled_from([".tar.zst", ".tar.xz", ".tar.gz", ".tar", ".tar"]))
    raw = bytearray((tmp_path / f"whole{suffix}").read_bytes())
    if data.draw(st.booleans()):
        raw = raw[: data.draw(st.integers(0, len(raw) - 1))]
    else:
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    damaged = tmp_path / f"damaged{suffix}"
    damaged.write_bytes(raw)
    with contextlib.suppress(XpukitError):  # anything else is a defect
        ReplayHost(damaged).read("/a")


def test_a_hostile_archive_cannot_reach_outside(tmp_path: Path) -> None:
    archive = tmp_path / "evil.tar"
    with tarfile.open(archive, "w") as packed:
        for name in ("../../escape", "/abs"):
            member = tarfile.TarInfo(name)
            member.size = 1
            packed.addfile(member, io.BytesIO(b"x"))
    assert not (tmp_path.parent / "escape").exists()
    assert set(read_archive(archive)) == {"../../escape", "/abs"}  # only names in memory


def test_a_small_archive_cannot_fill_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a member says of its size counts before anything of it is read."""
    import zstandard

    from xpukit.host import recording_format

    monkeypatch.setattr(recording_format, "_UNPACKED_LIMIT_BYTES", 1 << 20)
    member = tarfile.TarInfo("blobs/x")
    member.size = 1 << 40
    archive = tmp_path / "bomb.tar.zst"
    # No content at all: whoever tries to read it meets the end of the archive, not the limit.
    archive.write_bytes(zstandard.ZstdCompressor().compress(member.tobuf()))
    with pytest.raises(BadRecordingError, match="more than 1 MiB"):
        read_archive(archive)
    archive.write_bytes(zstandard.ZstdCompressor().compress(bytes(8 << 20)))
    assert read_archive(archive) == {}, "zeros behind the end are not kept"


def test_recording_into_a_used_or_unwritable_place(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    with pytest.raises(UsageError):
        RecordingHost(ScriptedHost({}), tmp_path)
    with pytest.raises(OutputError):
        RecordingHost(ScriptedHost({}), tmp_path / "x" / "y")


def test_overlay_changes_only_what_it_names(tmp_path: Path) -> None:
    host = ScriptedHost({("read", "/a"): [FileAnswer(data=b"1")], ("read", "/b"): [FileAnswer(data=b"2")]})
    overlay = OverlayHost(host, {("read", "/a"): FileAnswer(error="ENODEV")})
    assert overlay.read("/a").error == "ENODEV"
    assert overlay.read("/b").text == "2"
    with pytest.raises(TypeError):
        OverlayHost(host, {("read", "/a"): Ran(argv=(), rc=0)}).read("/a")


@pytest.mark.live
def test_live_answers_equal_their_replay(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    import os

    os.mkfifo(fifo)
    (tmp_path / "link").symlink_to("nowhere")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")

    def ask(host: object) -> list[object]:
        assert isinstance(host, MediatedHost)
        return [
            host.read("/proc/self/status").ok,
            host.read("/proc/version"),
            host.read(str(fifo)),
            host.read(str(tmp_path / "bytes")),
            host.read(str(tmp_path)),
            host.list(str(tmp_path / "nothing")),
            host.link(str(tmp_path / "link")),
            host.resolve(str(tmp_path / "link")),
            host.stat("/dev/null"),
            host.which("sh"),
            host.run(["sh", "-c", "echo hi; exit 3"], timeout_s=5).rc,
            host.udev("cpu"),
            host.identity(),
        ]

    recording = RecordingHost(LiveHost(), tmp_path / "rec", scrub=keep_everything)
    live = ask(recording)
    recording.close()
    assert ask(ReplayHost(tmp_path / "rec")) == live
    assert live[4].error == "EISDIR"  # type: ignore[attr-defined]


@pytest.mark.live
def test_reads_have_a_deadline_and_a_limit(tmp_path: Path) -> None:
    import time

    host = LiveHost()
    begun = time.monotonic()
    for path in ("/proc/kmsg", "/dev/zero"):
        answer = host.read(path, limit_bytes=1000, timeout_s=0.5)
        assert answer.error or (len(answer.data) == 1000 and answer.truncated)
    assert time.monotonic() - begun < 3
    assert host.read("/proc/version").ok  # a stuck reader does not stop the next read
