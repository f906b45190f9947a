"""A bundle's bytes in one file or in parts for media that hold less: written and read as one stream."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from xpukit.core.errors import OutputError, UsageError

_PART = re.compile(r"^(?P<stem>.+)\.(?P<number>\d{3})$")
_MAX_PARTS = 999


class PartWriter(io.RawIOBase):
    """Writes NAME, or NAME.001, NAME.002, … of `part_bytes` each. Files have a temporary name until `finish`."""

    def __init__(self, path: Path, part_bytes: int = 0) -> None:
        self._path = path
        self._part_bytes = part_bytes
        self._room = 0
        self._file: BinaryIO | None = None
        self._made: list[tuple[Path, Path]] = []

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        """All of it. Raises OutputError."""
        view = memoryview(data).cast("B")  # type: ignore[arg-type]
        at = 0
        try:
            while at < len(view):
                if self._file is None or (self._part_bytes and self._room == 0):
                    self._open_next()
                assert self._file is not None
                size = min(len(view) - at, self._room) if self._part_bytes else len(view) - at
                self._file.write(view[at : at + size])
                at += size
                self._room -= size
        except OSError as err:
            raise OutputError(
                f"{self._path}: cannot be written: {err.strerror or err}",
                hint="check free space and permissions; run it again, what was downloaded is kept",
            ) from err
        return len(view)

    def _open_next(self) -> None:
        self._close_file()
        number = len(self._made) + 1
        if number > _MAX_PARTS:
            raise UsageError(f"--split makes more than {_MAX_PARTS} parts", hint="choose larger parts")
        final = self._path.with_name(f"{self._path.name}.{number:03d}") if self._part_bytes else self._path
        part = final.with_name(f".{final.name}.part")
        self._file = part.open("wb")
        self._made.append((part, final))
        self._room = self._part_bytes

    def _close_file(self) -> None:
        if self._file is not None:
            self._file.flush()
            self._file.close()
            self._file = None

    def finish(self) -> tuple[Path, ...]:
        """Give the files their names; those of an earlier, other split go. Raises OutputError."""
        try:
            self._close_file()
            finals = {final for _, final in self._made}
            for old in [self._path, *list_parts(self._path)]:
                if old not in finals:
                    old.unlink(missing_ok=True)
            for part, final in self._made:
                part.replace(final)
        except OSError as err:
            raise OutputError(
                f"{self._path}: cannot be written: {err.strerror or err}", hint="check the place"
            ) from err
        return tuple(final for _, final in self._made)

    def abandon(self) -> None:
        """Remove what was written."""
        self._close_file()
        for part, _ in self._made:
            part.unlink(missing_ok=True)


def list_parts(path: Path) -> tuple[Path, ...]:
    """The parts of a bundle that lie beside its name, in order."""
    try:
        beside = sorted(path.parent.iterdir())
    except OSError:
        return ()
    found = [file for file in beside if (match := _PART.match(file.name)) and match["stem"] == path.name]
    return tuple(found)


def find_files(path: Path) -> tuple[tuple[Path, ...], str]:
    """The files that make up a bundle, named whole or by any of its parts; or () and what is missing, by its name."""
    if match := _PART.match(path.name):
        whole = path.with_name(match["stem"])
        if list_parts(whole):
            path = whole
    if path.is_file():
        return (path,), ""
    parts = list_parts(path)
    if not parts:
        return (), f"{path}: no such file"
    for number, part in enumerate(parts, start=1):
        wanted = f"{path.name}.{number:03d}"
        if part.name != wanted:
            return (), f"{wanted}: this part is missing"
    return parts, ""


class PartReader(io.RawIOBase):
    """Reads files one after the other as one. `read_bytes` counts what came, `name` is the file it came from."""

    def __init__(self, files: tuple[Path, ...], on_bytes: Callable[[int], None] | None = None) -> None:
        self._todo = list(files)
        self._file: BinaryIO | None = None
        self._on_bytes = on_bytes
        self.name = files[0].name if files else ""
        self.read_bytes = 0
        self.total_bytes = sum(file.stat().st_size for file in files)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes, also across files; OSError when one cannot be read."""
        chunks: list[bytes] = []
        left = self.total_bytes if size is None or size < 0 else size
        while left > 0:
            if self._file is None:
                if not self._todo:
                    break
                path = self._todo.pop(0)
                self.name = path.name
                self._file = path.open("rb")
            chunk = self._file.read(left)
            if not chunk:
                self._file.close()
                self._file = None
                continue
            chunks.append(chunk)
            left -= len(chunk)
        data = b"".join(chunks)
        self.read_bytes += len(data)
        if self._on_bytes is not None:
            self._on_bytes(self.read_bytes)
        return data

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        super().close()
