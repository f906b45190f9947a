"""The build context as a directory (BuildKit) or a tar (classic builder): same input, same bytes, times and modes."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import IO

import msgspec

from xpukit.core.errors import OutputError, UsageError
from xpukit.images.build import Rendered
from xpukit.images.context import require_file, walk_folder

DIRECTORY_MODE = 0o755


class ContextEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a context. `source` is where it is copied from, "" for a rendered one."""

    path: str
    mode: int
    size_bytes: int
    source: str = ""


def list_context(rendered: Rendered, trees: Mapping[str, Path] | None = None) -> tuple[ContextEntry, ...]:
    """Every file of the context by its path. `trees` names files and folders of this machine by their place in it.

    Raises UsageError for a path that leaves the context, that occurs twice, or a tree that cannot be read.
    """
    entries: dict[str, ContextEntry] = {}
    for file in rendered.files:
        entry = ContextEntry(path=_check_path(file.path), mode=file.mode, size_bytes=len(file.content))
        _add(entries, entry)
    for name, source in sorted((trees or {}).items()):
        for entry in _walk_tree(_check_path(name), Path(source)):
            _add(entries, entry)
    return tuple(entries[path] for path in sorted(entries))


def name_context(rendered: Rendered, trees: Mapping[str, Path] | None = None, *, epoch: int = 0) -> str:
    """A name for the context's directory that no other content has.

    buildx keeps what was sent last under the directory's name, and takes a file of the same size and time for the same
    file. All our times are `epoch`: under one name, a build would get a file of the build before it.
    """
    digest = hashlib.sha256(f"{epoch}".encode())
    for file in rendered.files:
        digest.update(f"\0{file.path}\0{file.mode:o}\0".encode() + hashlib.sha256(file.content).digest())
    for entry in list_context(rendered, trees):
        if entry.source:
            found = os.stat(entry.source)
            digest.update(f"\0{entry.path}\0{entry.source}\0{found.st_size}\0{found.st_mtime_ns}\0".encode())
    return f"context-{digest.hexdigest()[:16]}"


def write_context(
    rendered: Rendered, directory: Path, *, trees: Mapping[str, Path] | None = None, epoch: int = 0
) -> tuple[ContextEntry, ...]:
    """Write the context into an empty directory; every time in it is `epoch` (seconds since 1970)."""
    entries = list_context(rendered, trees)
    contents = {file.path: file.content for file in rendered.files}
    directories = {directory}
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for entry in entries:
            target = directory / entry.path
            target.parent.mkdir(parents=True, exist_ok=True)
            directories |= {parent for parent in target.parents if parent.is_relative_to(directory)}
            if entry.source:
                shutil.copyfile(entry.source, target)
            else:
                target.write_bytes(contents[entry.path])
            target.chmod(entry.mode)
            os.utime(target, (epoch, epoch))
        for made in directories:
            made.chmod(DIRECTORY_MODE)
            os.utime(made, (epoch, epoch))
    except OSError as err:
        raise OutputError(
            f"{directory}: the build context cannot be written: {err.strerror or err}",
            hint="free space there, or set TMPDIR to a directory with room for the context",
        ) from err
    return entries


def pack_context(
    rendered: Rendered, target: IO[bytes], *, trees: Mapping[str, Path] | None = None, epoch: int = 0
) -> tuple[ContextEntry, ...]:
    """Write the context as a tar; owner root, every time `epoch`."""
    entries = list_context(rendered, trees)
    contents = {file.path: file.content for file in rendered.files}
    try:
        with tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for path in _list_directories(entries):
                header = _make_header(path, DIRECTORY_MODE, epoch)
                header.type = tarfile.DIRTYPE
                tar.addfile(header)
            for entry in entries:
                header = _make_header(entry.path, entry.mode, epoch)
                header.size = entry.size_bytes
                if entry.source:
                    with open(entry.source, "rb") as file:
                        tar.addfile(header, file)
                else:
                    tar.addfile(header, io.BytesIO(contents[entry.path]))
    except OSError as err:
        raise OutputError(
            f"the build context cannot be packed: {err.strerror or err}",
            hint="free space in TMPDIR; check that all files of the context can be read and do not change",
        ) from err
    return entries


def _check_path(path: str) -> str:
    pure = PurePosixPath(path)
    if not path or pure.is_absolute() or ".." in pure.parts or str(pure) == ".":
        raise UsageError(f"{path!r} is no path inside a build context", hint="give a relative path without '..'")
    return str(pure)


def _add(entries: dict[str, ContextEntry], entry: ContextEntry) -> None:
    if entry.path in entries:
        raise UsageError(f"{entry.path} is twice in the build context", hint="rename one of the two")
    entries[entry.path] = entry


def _walk_tree(name: str, source: Path) -> Iterator[ContextEntry]:
    if not source.is_dir():
        yield _describe(name, source)
        return
    for file in walk_folder(source):
        yield _describe(str(PurePosixPath(name) / file.relative_to(source).as_posix()), file)


def _describe(path: str, source: Path) -> ContextEntry:
    size = require_file(source)
    # Only whether it is executable counts: other bits differ between checkouts and umasks.
    mode = 0o755 if source.stat().st_mode & 0o100 else 0o644
    return ContextEntry(path=path, mode=mode, size_bytes=size, source=str(source))


def _list_directories(entries: tuple[ContextEntry, ...]) -> list[str]:
    parents = {str(parent) for entry in entries for parent in PurePosixPath(entry.path).parents}
    return sorted(parents - {"."})


def _make_header(path: str, mode: int, epoch: int) -> tarfile.TarInfo:
    header = tarfile.TarInfo(path)
    header.mode = mode
    header.mtime = epoch
    return header
