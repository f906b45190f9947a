"""A lock that ends with its holder, however that ends; and who holds the locks of others."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct

import msgspec

# struct flock of Linux on 64-bit machines: type, whence, padding, start, length, pid, padding.
_FLOCK = "hhxxxxqqixxxx"


class LockHolder(msgspec.Struct, frozen=True, kw_only=True):
    """Who holds a lock: `pid` 0 when nobody does; `name` as the kernel calls the process, "" when it cannot be seen."""

    pid: int = 0
    name: str = ""

    @property
    def text(self) -> str:
        return f"process {self.pid} ({self.name})" if self.name else f"process {self.pid}"


class FileLock:
    """An advisory lock (flock) on a file of our own, with a line in it about the holder."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._handle = -1

    def take(self, about: str) -> str:
        """Try once: "" when it is ours, "EAGAIN" when another holds it, else an errno name."""
        try:
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as err:
            return errno.errorcode.get(err.errno or 0, "EIO")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(handle, 0)
            os.pwrite(handle, about.encode(), 0)
        except OSError as err:
            os.close(handle)
            return "EAGAIN" if err.errno in (errno.EAGAIN, errno.EACCES) else errno.errorcode.get(err.errno or 0, "EIO")
        self._handle = handle
        return ""

    def read_holder(self) -> str:
        """What the holder wrote about itself."""
        try:
            with open(self.path, encoding="utf-8", errors="replace") as file:
                return file.read(500).strip()
        except OSError:
            return ""

    def release(self) -> None:
        if self._handle >= 0:
            with contextlib.suppress(OSError):
                os.ftruncate(self._handle, 0)
            os.close(self._handle)
            self._handle = -1


def find_record_lock(path: str) -> LockHolder:
    """Who holds a POSIX record lock on a file (dpkg's and apt's are such)."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return LockHolder()
    try:
        asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind, _, _, _, pid = struct.unpack(_FLOCK, fcntl.fcntl(handle, fcntl.F_GETLK, asked))
    except OSError:
        return LockHolder()
    finally:
        os.close(handle)
    return LockHolder() if kind == fcntl.F_UNLCK else LockHolder(pid=pid, name=_read_comm(pid))


def _read_comm(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read(64).strip()
    except OSError:
        return ""
