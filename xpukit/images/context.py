"""Files of a build context: what they are, and those that stay where they lie on this host until they are needed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
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
    try:
        return path.read_bytes()
    except OSError as err:
        raise UsageError(f"{path}: cannot be read: {err.strerror or err}", hint="check the path") from err


def link_file(source: Path, path: str) -> ContextFile:
    """A large file of this host as a file of the context, hashed now."""
    digest, size = hash_file(source)
    return ContextFile(path=path, source=str(source), sha256=digest, size_bytes=size)


def link_folder(folder: Path, path: str) -> Iterator[ContextFile]:
    """Every file under `folder`, as files under `path` of the context, sorted. Raises UsageError for no folder."""
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder", hint="check the path")
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            yield link_file(file, f"{path}/{file.relative_to(folder)}")


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
