"""Reading a file of any kind without waiting for it and without taking more of it than was asked for."""

from __future__ import annotations

import os
import stat

from xpukit.host.answers import FileAnswer
from xpukit.host.head_tail import HeadTail

_CHUNK_BYTES = 1 << 16
# A file without a size (procfs, a device) may never end; the caller's deadline ends the wait, this ends the reading.
_STREAM_LIMIT_BYTES = 64 << 20


def read_file(path: str, limit_bytes: int, *, tail: bool = False) -> FileAnswer:
    """The first `limit_bytes`; with `tail` half of them from the start and half from the end. Raises OSError."""
    # O_NONBLOCK: opening a FIFO without a writer, or /proc/kmsg, must not wait.
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        head = _read_bytes(handle, limit_bytes + 1)
        if len(head) <= limit_bytes:
            return FileAnswer(data=head)
        if not tail:
            return FileAnswer(data=head[:limit_bytes], truncated=True)
        return _read_rest(handle, head, limit_bytes)
    finally:
        os.close(handle)


def _read_bytes(handle: int, count: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while size < count:
        chunk = os.read(handle, min(_CHUNK_BYTES, count - size))
        if not chunk:
            break
        chunks.append(chunk)
        size += len(chunk)
    return b"".join(chunks)


def _read_rest(handle: int, head: bytes, limit_bytes: int) -> FileAnswer:
    found = os.fstat(handle)
    kept = HeadTail(limit_bytes)
    kept.write(head)
    tail_at = found.st_size - limit_bytes // 2
    if stat.S_ISREG(found.st_mode) and tail_at > len(head):
        # Not read through: a log may be larger than the deadline allows.
        kept.skip(tail_at - len(head))
        os.lseek(handle, tail_at, os.SEEK_SET)
        kept.write(_read_bytes(handle, limit_bytes // 2))
    else:
        read = len(head)
        while read < _STREAM_LIMIT_BYTES and (chunk := os.read(handle, _CHUNK_BYTES)):
            kept.write(chunk)
            read += len(chunk)
    return FileAnswer(data=kept.content(), truncated=kept.dropped > 0)
