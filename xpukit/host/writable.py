"""The only host that changes a machine. Install steps and tuning get it; nothing else does."""

from __future__ import annotations

import os

from xpukit.host import change_files
from xpukit.host.file_lock import FileLock, LockHolder, find_record_lock
from xpukit.host.live import LiveHost, name_errno


class WritableHost(LiveHost):
    """A live host that can also write settings (sysfs attributes) and files. Answers are "" or an errno name."""

    def write(self, path: str, text: str) -> str:
        """Write a setting in place; "" or the errno name. Never creates a file: an attribute is there or it is not."""
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOCTTY)
            try:
                data = text.encode()
                if os.write(handle, data) != len(data):
                    return "EIO"
            finally:
                os.close(handle)
        except OSError as err:
            return name_errno(err)
        return ""

    def write_file(self, path: str, data: bytes, *, mode: int, uid: int = -1, gid: int = -1) -> str:
        """A file, whole or not at all, also when the power goes."""
        return change_files.write_file(path, data, mode=mode, uid=uid, gid=gid)

    def write_link(self, path: str, target: str) -> str:
        """A symbolic link, in place of the file or link that is there."""
        return change_files.write_link(path, target)

    def remove_file(self, path: str) -> str:
        """Remove a file or link; one that is not there is no error."""
        return change_files.remove_file(path)

    def make_directory(self, path: str, *, mode: int = 0o755) -> str:
        """One directory; "EEXIST" when it was there."""
        return change_files.make_directory(path, mode=mode)

    def remove_directory(self, path: str) -> str:
        """An empty directory."""
        return change_files.remove_directory(path)

    def append_synced(self, path: str, data: bytes) -> str:
        """Add to a file's end and wait until it is on the disk."""
        return change_files.append_synced(path, data)

    def make_lock(self, path: str) -> FileLock:
        """A lock of our own, not yet taken."""
        return FileLock(path)

    def find_record_lock(self, path: str) -> LockHolder:
        """Who holds a POSIX record lock, as dpkg's and apt's are."""
        return find_record_lock(path)
