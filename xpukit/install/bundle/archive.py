"""A bundle as a tar archive: written file by file, read front to back without seeking."""

from __future__ import annotations

import contextlib
import io
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import msgspec

from xpukit.core.errors import OutputError
from xpukit.install.bundle.parts import PartReader, PartWriter


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a bundle as it comes. `odd` says why it is no plain file, "" for one."""

    path: str
    size_bytes: int
    content: IO[bytes]
    odd: str = ""

    def read(self, size: int = -1) -> bytes:
        """The next bytes. Raises BrokenArchiveError where the archive ends before the file does."""
        try:
            return self.content.read(size)
        except (tarfile.TarError, EOFError, OSError) as err:
            raise BrokenArchiveError(f"{self.path}: cut short ({err})") from err


class BrokenArchiveError(Exception):
    """The archive ends early or is no archive; says where."""


def write_archive(path: Path, tree: Path, names: Sequence[str], *, part_bytes: int = 0) -> tuple[Path, ...]:
    """Pack files of `tree` in this order; the files made. The same tree gives the same bytes. Raises OutputError."""
    writer = PartWriter(path, part_bytes)
    try:
        # Not compressed: packages, wheels and images are already.
        with tarfile.open(fileobj=writer, mode="w|", format=tarfile.GNU_FORMAT) as archive:
            for name in names:
                source = tree / name
                info = tarfile.TarInfo(name)
                info.size = source.stat().st_size
                info.mode = 0o644
                with source.open("rb") as file:
                    archive.addfile(info, file)
        return writer.finish()
    except OSError as err:
        writer.abandon()
        raise OutputError(f"{path}: cannot be written: {err.strerror or err}", hint="check free space") from err
    except BaseException:
        writer.abandon()
        raise


def read_archive(reader: PartReader) -> Iterator[Member]:
    """Members in order; each must be read before the next is asked for. Raises BrokenArchiveError."""
    try:
        with tarfile.open(fileobj=reader, mode="r|") as archive:
            for info in archive:
                content = archive.extractfile(info) if info.isreg() else None
                yield Member(
                    path=info.name,
                    size_bytes=info.size,
                    content=content if content is not None else io.BytesIO(),
                    odd="" if info.isreg() else "is no plain file",
                )
            end = archive.offset
    except (tarfile.TarError, EOFError, OSError) as err:
        raise BrokenArchiveError(
            f"{reader.name}: cut short or damaged after {reader.read_bytes} bytes ({err})"
        ) from err
    # Two blocks of zeros end an archive, filled up to a record.
    whole = -(-(end + 2 * tarfile.BLOCKSIZE) // tarfile.RECORDSIZE) * tarfile.RECORDSIZE
    if reader.total_bytes < whole:
        raise BrokenArchiveError(f"{reader.name}: cut short: {reader.total_bytes} bytes instead of at least {whole}")
    if reader.total_bytes > whole:
        raise BrokenArchiveError(f"{reader.name}: {reader.total_bytes - whole} bytes too many behind the archive's end")


def read_tree(tree: Path) -> Iterator[Member]:
    """The same for an unpacked bundle: the head files first, then all others by path. Raises OSError."""
    from xpukit.install.bundle.manifest import HEAD_FILES

    there = sorted(path for path in tree.rglob("*") if path.is_symlink() or not path.is_dir())
    by_name = {str(path.relative_to(tree)): path for path in there}
    ordered = [name for name in HEAD_FILES if name in by_name]
    ordered += [name for name in by_name if name not in HEAD_FILES]
    for name in ordered:
        path = by_name[name]
        if path.is_symlink() or not path.is_file():
            yield Member(path=name, size_bytes=0, content=io.BytesIO(), odd="is no plain file")
            continue
        with contextlib.closing(path.open("rb")) as file:
            yield Member(path=name, size_bytes=path.stat().st_size, content=file)
