"""Several files under one deadline thread: the same answers as one by one, and one that hangs costs one wait."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.machines.dict_host import DictHost
from xpukit.host import live
from xpukit.host.answers import FileAnswer
from xpukit.host.live import LiveHost


@pytest.mark.live
def test_answers_are_those_of_read(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("1\n")
    (tmp_path / "long").write_text("x" * 100)
    paths = [str(tmp_path / name) for name in ("one", "missing", "long", "nul\0byte")] + [str(tmp_path)]
    host = LiveHost()
    together = host.read_many(paths, limit_bytes=10)
    assert together == tuple(host.read(path, limit_bytes=10) for path in paths)
    assert [one.error for one in together] == ["", "ENOENT", "", "EINVAL", "EISDIR"]
    assert together[2].truncated
    assert host.read_many([]) == ()


@pytest.mark.live
def test_one_that_hangs_ends_the_reading_and_the_next_call_works(monkeypatch: pytest.MonkeyPatch) -> None:
    free = threading.Event()
    read: list[str] = []

    def read_file(path: str, limit_bytes: int, *, tail: bool = False) -> FileAnswer:
        if path == "hangs":
            free.wait(60)
        read.append(path)
        return FileAnswer(data=path.encode())

    monkeypatch.setattr(live, "read_file", read_file)
    host = LiveHost()
    try:
        first, *others = host.read_many(["a", "hangs", "b", "c"], timeout_s=0.2)
        assert first.data == b"a"
        assert [one.error for one in others] == ["ETIMEDOUT"] * 3
        assert read == ["a"]
        assert host.read_many(["d"])[0].data == b"d"
    finally:
        free.set()


@pytest.mark.live
def test_the_time_is_that_of_one_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that take a moment each, more of them than one wait could last."""
    pause = threading.Event()

    def read_file(path: str, limit_bytes: int, *, tail: bool = False) -> FileAnswer:
        pause.wait(0.15)
        return FileAnswer(data=path.encode())

    monkeypatch.setattr(live, "read_file", read_file)
    names = [str(number) for number in range(20)]
    answers = LiveHost().read_many(names, timeout_s=2.0)
    assert [one.text for one in answers] == names


def test_other_hosts_answer_one_by_one_and_stop_after_one_that_hangs() -> None:
    host = DictHost({"/a": "1", "/b": FileAnswer(error="ETIMEDOUT"), "/c": "3"})
    answers = host.read_many(["/a", "/b", "/c"])
    assert [(one.text, one.error) for one in answers] == [("1", ""), ("", "ETIMEDOUT"), ("", "ETIMEDOUT")]
    assert [question[1] for question in host.asked] == ["/a", "/b"]
