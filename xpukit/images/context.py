"""Files of a build context: what they are, and those that stay where they lie on this host until they are needed."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from xpukit.core.errors import UsageError
from xpukit.images.build import ContextFile, Rendered

_CHUNK_BYTES = 1 << 20


class ContextEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a context listing: `mode` in octal, `sha256` in hex."""

    path: str
    size_bytes: int
    mode: str
    sha256: str


def hash_file(path: Path) -> tuple[str, int]:
    """SHA-256 in hex and size in bytes of a file. Raises UsageError when it cannot be read."""
    digest, size = hashlib.sha256(), 0
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
                size += len(chunk)
    except OSError as err:
        raise UsageError(f"{path}: cannot be read: {err.strerror or err}", hint="check the path") from err
    return digest.hexdigest(), size


def read_bytes(path: Path) -> bytes:
    """A small file's content. Raises UsageError when it cannot be read."""
    require_file(path)
    try:
        return path.read_bytes()
    except OSError as err:
        raise UsageError(f"{path}: cannot be read: {err.strerror or err}", hint="check the path") from err


def require_file(path: Path) -> int:
    """Size in bytes of a regular file. Raises UsageError for what is none: a pipe would never end."""
    try:
        found = path.stat()
    except OSError as err:
        raise UsageError(f"{path}: cannot be read: {err.strerror or err}", hint="check the path") from err
    if not stat.S_ISREG(found.st_mode):
        raise UsageError(f"{path} is not a regular file", hint="a build context holds files and directories only")
    return found.st_size


def link_file(source: Path, path: str) -> ContextFile:
    """A large file of this host as a file of the context, hashed now; only whether it is executable counts."""
    require_file(source)
    digest, size = hash_file(source)
    mode = 0o755 if source.stat().st_mode & 0o100 else 0o644
    return ContextFile(path=path, source=str(source), sha256=digest, size_bytes=size, mode=mode)


def walk_folder(folder: Path) -> Iterator[Path]:
    """Every file under `folder`, sorted. Raises UsageError for what cannot be read, and for a link to a directory:
    left out silently it would be missing in the image.
    """
    try:
        for place, folders, files in os.walk(folder, onerror=_fail_walk):
            folders.sort()
            for linked in (Path(place) / name for name in folders):
                if linked.is_symlink():
                    raise UsageError(f"{linked} is a link to a directory", hint="put the directory itself there")
            yield from (Path(place) / name for name in sorted(files))
    except OSError as err:
        raise UsageError(
            f"{err.filename or folder}: cannot be read: {err.strerror}", hint="check the path and its permissions"
        ) from err


def link_folder(folder: Path, path: str, *, wanted: Callable[[str], bool] | None = None) -> Iterator[ContextFile]:
    """Every file under `folder` whose name is `wanted`, as files under `path` of the context, sorted.

    Raises UsageError for no folder, and for what walk_folder and link_file refuse.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder", hint="check the path")
    for file in sorted(walk_folder(folder)):
        if wanted is None or wanted(file.name):
            yield link_file(file, f"{path}/{file.relative_to(folder)}")


def _fail_walk(err: OSError) -> None:
    raise err


def list_entries(rendered: Rendered) -> tuple[ContextEntry, ...]:
    """The context's files with sizes and hashes."""
    return tuple(
        ContextEntry(
            path=file.path,
            size_bytes=file.size_bytes if file.source else len(file.content),
            mode=f"{file.mode:04o}",
            sha256=file.sha256 or hashlib.sha256(file.content).hexdigest(),
        )
        for file in rendered.files
    )


def split_linked(rendered: Rendered) -> tuple[Rendered, dict[str, Path]]:
    """The rendered files alone, and beside them the linked ones by their path in the context, for a builder."""
    linked = {file.path: Path(file.source) for file in rendered.files if file.source}
    kept = tuple(file for file in rendered.files if not file.source)
    return msgspec.structs.replace(rendered, files=kept), linked
