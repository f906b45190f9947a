"""Changing files so that a crash leaves the old or the new one: fsynced, renamed into place, directory fsynced.

Every function answers "" or the errno name, as the door does; none raises for what the machine says.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable


def _name(err: OSError) -> str:
    return errno.errorcode.get(err.errno or 0, "EIO")


def _attempt(act: Callable[[], object]) -> str:
    try:
        act()
    except OSError as err:
        return _name(err)
    return ""


def sync_directory(path: str) -> None:
    """Make a rename or a removal in a directory survive a power cut. Raises OSError."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _name_part(path: str) -> str:
    """Where a file is written before it gets its name."""
    return os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.xpukit-part")


def write_file(path: str, data: bytes, *, mode: int, uid: int = -1, gid: int = -1) -> str:
    """A file with this content, mode and owner, whole or not at all; -1 leaves the owner as it comes."""
    temporary = _name_part(path)

    def act() -> None:
        with contextlib.suppress(FileNotFoundError):  # what a run that was killed left behind
            os.unlink(temporary)
        try:
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                if uid >= 0 or gid >= 0:
                    os.fchown(handle, uid, gid)
                os.fchmod(handle, mode)
                os.fsync(handle)
            os.replace(temporary, path)
            sync_directory(os.path.dirname(path))
        finally:
            with contextlib.suppress(OSError):
                os.unlink(temporary)

    return _attempt(act)


def write_link(path: str, target: str) -> str:
    """A symbolic link, in place of whatever file or link is there."""
    temporary = _name_part(path)

    def act() -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        os.symlink(target, temporary)
        os.replace(temporary, path)
        sync_directory(os.path.dirname(path))

    return _attempt(act)


def remove_file(path: str) -> str:
    """Remove a file or link, and what a write of it that was killed left behind; one that is not there is no error."""

    def act() -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(_name_part(path))
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
            sync_directory(os.path.dirname(path))

    return _attempt(act)


def make_directory(path: str, *, mode: int = 0o755) -> str:
    """One directory; "EEXIST" when it was there."""

    def act() -> None:
        os.mkdir(path)
        os.chmod(path, mode)
        sync_directory(os.path.dirname(path))

    return _attempt(act)


def remove_directory(path: str) -> str:
    """An empty directory; "ENOTEMPTY" and the like are answers."""
    return _attempt(lambda: os.rmdir(path))


def append_synced(path: str, data: bytes, *, mode: int = 0o600) -> str:
    """Add to a file's end and wait until it is on the disk. A last line that was torn by a crash is ended first."""

    def act() -> None:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, mode)
        try:
            size = os.fstat(handle).st_size
            torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
            pending = memoryview((b"\n" if torn else b"") + data)
            while pending:
                pending = pending[os.write(handle, pending) :]
            os.fsync(handle)
        finally:
            os.close(handle)
        if size == 0:
            sync_directory(os.path.dirname(path))

    return _attempt(act)
