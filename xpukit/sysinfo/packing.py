"""The bundle's archive: one compressed tar, written file by file."""

from __future__ import annotations

import contextlib
import os
import shutil
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, cast

from xpukit.core.errors import UsageError

SUFFIXES = {"zst": ".tar.zst", "xz": ".tar.xz"}
# Measured 2026-11-21 with zstandard 0.25 on the tar of a default bundle (540 KiB; two shared cores of an AMD EPYC; best
# of 3, CPU time; size told beforehand): level 10 80 KiB in 10 ms, 15 79 KiB in 24 ms, 17 75.6 KiB in 61 ms, 19 74.7 KiB
# in 126 ms, 22 74.7 KiB in 152 ms; xz -6 69.2 KiB in 105 ms, the same for text (below) 68.8 KiB in 109 ms. A bundle of
# 350 KiB takes zstd -17 twice as long when it is not told the size: it makes its tables for any.
_ZSTD_LEVEL = 17
_TAR_BLOCK_BYTES = 512


def find_format(path: Path) -> str:
    """The key of SUFFIXES that a file name ends with. Raises UsageError."""
    for name, suffix in SUFFIXES.items():
        if path.name.endswith(suffix) and path.name != suffix:
            return name
    raise UsageError(f"{path}: name the bundle .tar.zst or .tar.xz", hint="or give a directory: -o DIR")


def pack_directory(directory: Path, archive: Path) -> int:
    """Write the files below `directory` to `archive` (by its name), mode 0600; their size together, in bytes.

    Members are sorted, carry no owner or time, and lie below one folder named like the archive, so that unpacking
    makes no mess. Raises OSError.
    """
    top = archive.name.removesuffix(SUFFIXES[find_format(archive)])
    members: list[tuple[tarfile.TarInfo, Path]] = []
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            member = tarfile.TarInfo(f"{top}/{path.relative_to(directory)}")
            member.size = path.stat().st_size
            member.mode = 0o600
            members.append((member, path))
    with (
        _open_compressed(archive, _measure_tar([member for member, _ in members])) as stream,
        tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as packed,
    ):
        for member, path in members:
            with path.open("rb") as content:
                packed.addfile(member, content)
    return sum(member.size for member, _ in members)


def _measure_tar(members: Sequence[tarfile.TarInfo]) -> int:
    """Bytes of the tar of these members: head and padded content of each, two blocks at the end, padded to records."""
    size = 2 * _TAR_BLOCK_BYTES
    for member in members:
        size += len(member.tobuf(tarfile.PAX_FORMAT)) + _round_up(member.size, _TAR_BLOCK_BYTES)
    return _round_up(size, tarfile.RECORDSIZE)


def _round_up(size: int, unit: int) -> int:
    return -(-size // unit) * unit


@contextlib.contextmanager
def _open_compressed(archive: Path, size: int) -> Iterator[IO[bytes]]:
    handle = os.open(archive, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as raw:
        if find_format(archive) == "zst":
            import zstandard

            # With a checksum (4 bytes): a flipped bit is no other answer.
            compressor = zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_checksum=True)
            with compressor.stream_writer(raw, size=size, closefd=False) as writer:
                yield cast(IO[bytes], writer)
        else:
            import lzma

            # For text: the byte before says more than the place in a word of memory.
            text = {"id": lzma.FILTER_LZMA2, "preset": 6, "lc": 4, "lp": 0, "pb": 0}
            with lzma.LZMAFile(raw, "wb", filters=[text]) as packed:
                yield cast(IO[bytes], packed)
        raw.flush()
        os.fsync(raw.fileno())


def measure_directory(directory: Path) -> int:
    """Bytes in the files below a directory; what vanishes meanwhile counts nothing."""
    total = 0
    for path in directory.rglob("*"):
        with contextlib.suppress(OSError):
            total += path.stat().st_size if path.is_file() else 0
    return total


def find_free_bytes(directory: Path) -> int | None:
    """Free space where a directory lies, None when that cannot be told."""
    try:
        return shutil.disk_usage(directory).free
    except OSError:
        return None
