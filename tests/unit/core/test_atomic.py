from __future__ import annotations

import os
from pathlib import Path

import pytest

from xpukit.core.atomic import write_atomic
from xpukit.core.errors import OutputError


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "results.json"
    write_atomic(target, b"old")

    def refuse(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OutputError, match="No space left"):
        write_atomic(target, b"new")
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


def test_mode_and_missing_directory(tmp_path: Path) -> None:
    write_atomic(tmp_path / "secret", b"x", mode=0o600)
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600
    with pytest.raises(OutputError) as caught:
        write_atomic(tmp_path / "no" / "where", b"x")
    assert str(tmp_path / "no" / "where") in caught.value.message
    assert caught.value.hint


def test_a_device_or_pipe_is_written_to_and_stays(tmp_path: Path) -> None:
    """As root a rename would put a file in the place of /dev/null."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    handle = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_atomic(pipe, b"text")
        assert os.read(handle, 10) == b"text"
    finally:
        os.close(handle)
    assert pipe.is_fifo()
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]
