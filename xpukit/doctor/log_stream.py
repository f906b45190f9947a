"""Reads a log of any size in blocks of whole lines: plain, gzip, xz, bzip2, zstd or UTF-16; bounded memory."""

from __future__ import annotations

import codecs
import io
from collections.abc import Callable, Iterator
from typing import BinaryIO, cast

from xpukit.doctor.log_lines import LINE_LIMIT_BYTES

BLOCK_BYTES = 1 << 20
_CONTROL = bytes({*range(32)} - set(b"\t\n\v\f\r\x1b\b"))
# Random bytes are a tenth control characters, programs more; a log has some where a disk lost power.
_CONTROL_AT_MOST = 0.05
# Beyond this a line without an end is cut: its head and what came last are kept.
_PENDING_LIMIT = 16 * LINE_LIMIT_BYTES


class LogStream:
    """The blocks of one source. `complaint` says why it ended early, or that it can be no log, "" for neither;
    `read_bytes` counts what was read after unpacking."""

    def __init__(self, raw: BinaryIO) -> None:
        self._raw = raw
        self.complaint = ""
        self.read_bytes = 0

    def blocks(self) -> Iterator[bytes]:
        """Blocks of whole lines, each ending in a newline except perhaps the last. Never raises for the content."""
        pending = b""
        for chunk in self._chunks():
            if not self.read_bytes and len(chunk) - len(chunk.translate(None, _CONTROL)) > _CONTROL_AT_MOST * len(
                chunk
            ):
                self.complaint = "it looks like no text, and was read as if it were"
            self.read_bytes += len(chunk)
            cut = chunk.rfind(b"\n") + 1
            if not cut:
                pending += chunk
                if len(pending) > _PENDING_LIMIT:
                    pending = pending[: _PENDING_LIMIT // 2] + pending[-_PENDING_LIMIT // 4 :]
                continue
            yield pending + chunk[:cut]
            pending = chunk[cut:]
        if pending:
            yield pending
        if not self.read_bytes and not self.complaint:
            self.complaint = "it is empty"

    def _chunks(self) -> Iterator[bytes]:
        try:
            head = _read_up_to(self._raw, 6)
            joined = _Joined(head, self._raw)
            stream, decode = _choose_reader(head, joined)
            while True:
                chunk, problem = _fill_block(stream)
                if chunk:
                    yield decode(chunk) if decode else chunk
                if problem is not None:
                    raise problem
                if not chunk:
                    return
        except Exception as err:  # damaged or cut-off archives raise errors of many modules; what was read still counts
            self.complaint = f"reading ended early: {type(err).__name__}: {err}"


class _Joined(io.RawIOBase):
    """What was read to look at it, then the rest."""

    def __init__(self, head: bytes, rest: BinaryIO) -> None:
        self._head = head
        self._rest = rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(cast(bytearray, buffer))
        if self._head:
            chunk, self._head = self._head[: len(view)], self._head[len(view) :]
        else:
            chunk = self._rest.read(len(view)) or b""
        view[: len(chunk)] = chunk
        return len(chunk)


def _fill_block(stream: BinaryIO) -> tuple[bytes, Exception | None]:
    """Up to a block, and what ended it early: what came before the damage counts."""
    # The readers of gzip, xz and bzip2 lose a whole block at a cut-off end, unless asked for what one step unpacks.
    read: Callable[[int], bytes] = getattr(stream, "read1", stream.read)
    parts: list[bytes] = []
    size = 0
    while size < BLOCK_BYTES:
        try:
            part = read(BLOCK_BYTES - size)
        except Exception as err:
            return b"".join(parts), err
        if not part:
            break
        parts.append(part)
        size += len(part)
    return b"".join(parts), None


def _read_up_to(raw: BinaryIO, count: int) -> bytes:
    head = b""
    while len(head) < count:
        more = raw.read(count - len(head))
        if not more:
            break
        head += more
    return head


def _choose_reader(head: bytes, joined: _Joined) -> tuple[BinaryIO, Callable[[bytes], bytes] | None]:
    buffered = cast(BinaryIO, io.BufferedReader(joined, BLOCK_BYTES))
    if head.startswith(b"\x1f\x8b"):
        import gzip

        return cast(BinaryIO, gzip.GzipFile(fileobj=buffered)), None
    if head.startswith(b"\xfd7zXZ\x00"):
        import lzma

        return cast(BinaryIO, lzma.LZMAFile(buffered)), None
    if head.startswith(b"BZh"):
        import bz2

        return cast(BinaryIO, bz2.BZ2File(buffered)), None
    if head.startswith(b"\x28\xb5\x2f\xfd"):
        import zstandard

        reader = zstandard.ZstdDecompressor(max_window_size=1 << 31).stream_reader(buffered, read_across_frames=True)
        return cast(BinaryIO, reader), None
    if head[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        decoder = codecs.getincrementaldecoder("utf-16")(errors="replace")
        return buffered, lambda chunk: decoder.decode(chunk).encode("utf-8", errors="replace")
    return buffered, None
