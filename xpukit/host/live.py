"""The real machine."""

from __future__ import annotations

import errno
import os
import platform
import shutil
import socket
import stat as stat_bits
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from xpukit.host.answers import (
    FileAnswer,
    FoundAnswer,
    IdentityAnswer,
    LinkAnswer,
    MemoryAnswer,
    NamesAnswer,
    ProcessEntry,
    ProcessesAnswer,
    Ran,
    StatAnswer,
    UdevAnswer,
    UdevDevice,
)
from xpukit.host.deadline import DeadlineMissedError, DeadlineThread
from xpukit.host.door import READ_LIMIT_BYTES, READ_TIMEOUT_S, RUN_LIMIT_BYTES, Host
from xpukit.host.level_zero.snapshot import LevelZeroAnswer
from xpukit.host.read_file import read_file
from xpukit.host.runner import run_process

T = TypeVar("T")

_KINDS: tuple[tuple[Callable[[int], bool], str], ...] = (
    (stat_bits.S_ISREG, "file"),
    (stat_bits.S_ISDIR, "dir"),
    (stat_bits.S_ISCHR, "char"),
    (stat_bits.S_ISBLK, "block"),
    (stat_bits.S_ISFIFO, "fifo"),
    (stat_bits.S_ISSOCK, "socket"),
)


def name_errno(err: OSError) -> str:
    """'ENOENT' and the like; 'EIO' for an OSError without a number."""
    return errno.errorcode.get(err.errno or 0, "EIO")


class LiveHost(Host):
    """Really reads files, runs commands, asks libudev, psutil and Level Zero."""

    def __init__(self) -> None:
        self._local = threading.local()

    @property
    def _deadline(self) -> DeadlineThread:
        # One for each thread that asks: a read that is stuck must not hold up the others.
        found: DeadlineThread | None = getattr(self._local, "deadline", None)
        if found is None:
            found = self._local.deadline = DeadlineThread()
        return found

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float,
        input: bytes = b"",
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        limit_bytes: int = RUN_LIMIT_BYTES,
        log: Path | None = None,
        on_line: Callable[[str], None] | None = None,
    ) -> Ran:
        return run_process(
            argv,
            timeout_s=timeout_s,
            input=input,
            env=env,
            cwd=cwd,
            limit_bytes=limit_bytes,
            log=log,
            on_line=on_line,
        )

    def read(
        self,
        path: str,
        *,
        limit_bytes: int = READ_LIMIT_BYTES,
        timeout_s: float = READ_TIMEOUT_S,
        tail: bool = False,
    ) -> FileAnswer:
        try:
            return self._deadline.call(lambda: _read_now(path, limit_bytes, tail=tail), timeout_s)
        except DeadlineMissedError:
            return FileAnswer(error="ETIMEDOUT")

    def read_many(
        self, paths: Sequence[str], *, limit_bytes: int = READ_LIMIT_BYTES, timeout_s: float = READ_TIMEOUT_S
    ) -> tuple[FileAnswer, ...]:
        done: list[FileAnswer] = []

        def read_all() -> None:
            for path in paths:
                done.append(_read_now(path, limit_bytes))

        try:
            self._deadline.call(read_all, timeout_s, count_done=lambda: len(done))
            return tuple(done)
        except DeadlineMissedError:
            found = tuple(done)  # the thread that was left behind may still add to the list
            return found + (FileAnswer(error="ETIMEDOUT"),) * (len(paths) - len(found))

    def list(self, path: str, *, timeout_s: float = READ_TIMEOUT_S) -> NamesAnswer:
        try:
            names = self._deadline.call(lambda: os.listdir(path), timeout_s)
        except DeadlineMissedError:
            return NamesAnswer(error="ETIMEDOUT")
        except OSError as err:
            return NamesAnswer(error=name_errno(err))
        return NamesAnswer(names=tuple(sorted(_make_printable(name) for name in names)))

    def link(self, path: str) -> LinkAnswer:
        try:
            return LinkAnswer(target=_make_printable(self._deadline.call(lambda: os.readlink(path), READ_TIMEOUT_S)))
        except DeadlineMissedError:
            return LinkAnswer(error="ETIMEDOUT")
        except OSError as err:
            return LinkAnswer(error=name_errno(err))

    def resolve(self, path: str) -> LinkAnswer:
        try:
            real = self._deadline.call(lambda: os.path.realpath(path, strict=True), READ_TIMEOUT_S)
            return LinkAnswer(target=_make_printable(real))
        except DeadlineMissedError:
            return LinkAnswer(error="ETIMEDOUT")
        except OSError as err:
            return LinkAnswer(error=name_errno(err))

    def stat(self, path: str) -> StatAnswer:
        try:
            return self._deadline.call(lambda: _stat_path(path), READ_TIMEOUT_S)
        except DeadlineMissedError:
            return StatAnswer(error="ETIMEDOUT")
        except OSError as err:
            return StatAnswer(error=name_errno(err))

    def which(self, name: str) -> FoundAnswer:
        try:
            return FoundAnswer(value=self._deadline.call(lambda: shutil.which(name), READ_TIMEOUT_S))
        except DeadlineMissedError:  # a directory of PATH on a file server that is gone
            return FoundAnswer(error="ETIMEDOUT")

    def env(self, name: str) -> FoundAnswer:
        return FoundAnswer(value=os.environ.get(name))

    def env_names(self, prefix: str) -> NamesAnswer:
        return NamesAnswer(names=tuple(sorted(name for name in os.environ if name.startswith(prefix))))

    def udev(self, subsystem: str) -> UdevAnswer:
        return _list_udev(subsystem)

    def level_zero(self, *, timeout_s: float = 10.0) -> LevelZeroAnswer:
        from xpukit.host.level_zero.child import ask_in_child

        return ask_in_child(run_process, timeout_s=timeout_s)

    def memory(self) -> MemoryAnswer:
        import psutil

        try:
            memory = psutil.virtual_memory()
        except (OSError, RuntimeError, ValueError) as err:
            return MemoryAnswer(error=type(err).__name__)
        return MemoryAnswer(total_bytes=memory.total, available_bytes=memory.available)

    def processes(self) -> ProcessesAnswer:
        import psutil

        entries = []
        for process in psutil.process_iter(["pid", "name", "username", "cmdline"]):
            info = process.info
            entries.append(
                ProcessEntry(
                    pid=info["pid"],
                    name=info["name"] or "",
                    username=info["username"] or "",
                    argv=tuple(info["cmdline"] or ()),
                )
            )
        return ProcessesAnswer(processes=tuple(sorted(entries, key=lambda entry: entry.pid)))

    def identity(self) -> IdentityAnswer:
        import grp
        import pwd

        def group_name(gid: int) -> str:
            try:
                return grp.getgrgid(gid).gr_name
            except KeyError:
                return str(gid)

        try:
            username = pwd.getpwuid(os.geteuid()).pw_name
        except KeyError:  # a container with an arbitrary uid
            username = str(os.geteuid())
        return IdentityAnswer(
            hostname=socket.gethostname(),
            username=username,
            uid=os.geteuid(),
            groups=tuple(sorted({group_name(gid) for gid in (*os.getgroups(), os.getegid())})),
            machine=platform.machine(),
            python=f"{sys.version_info.major}.{sys.version_info.minor}.{sys.version_info.micro}",
            executable=sys.executable or "",
            site_packages=tuple(path for path in sys.path if path.endswith(("/site-packages", "/dist-packages"))),
        )


def _make_printable(name: str) -> str:
    """File names may hold any bytes; a recording is UTF-8."""
    return os.fsencode(name).decode("utf-8", errors="replace")


def _stat_path(path: str) -> StatAnswer:
    import grp
    import pwd

    found = os.stat(path)
    try:
        owner = pwd.getpwuid(found.st_uid).pw_name
    except KeyError:
        owner = str(found.st_uid)
    try:
        group = grp.getgrgid(found.st_gid).gr_name
    except KeyError:
        group = str(found.st_gid)
    kind = next((name for is_kind, name in _KINDS if is_kind(found.st_mode)), "")
    special = kind in ("char", "block")
    return StatAnswer(
        kind=kind,
        mode=stat_bits.S_IMODE(found.st_mode),
        uid=found.st_uid,
        gid=found.st_gid,
        owner=owner,
        group=group,
        size_bytes=found.st_size if kind == "file" else 0,
        rdev=f"{os.major(found.st_rdev)}:{os.minor(found.st_rdev)}" if special else "",
        readable=os.access(path, os.R_OK),
        writable=os.access(path, os.W_OK),
    )


def _list_udev(subsystem: str) -> UdevAnswer:
    try:
        import pyudev
    except ImportError as err:  # libudev.so itself may be missing in a small container
        return UdevAnswer(error=f"libudev: {err}")
    devices = []
    try:
        for device in pyudev.Context().list_devices(subsystem=subsystem):
            devices.append(
                UdevDevice(
                    sys_path=device.sys_path,
                    sys_name=device.sys_name,
                    subsystem=subsystem,
                    device_node=device.device_node or "",
                    device_links=tuple(sorted(device.device_links)),
                    driver=device.driver or "",
                    properties={str(key): str(value) for key, value in sorted(device.properties.items())},
                )
            )
    except (OSError, pyudev.DeviceNotFoundError) as err:
        return UdevAnswer(devices=tuple(devices), error=f"{type(err).__name__}: {err}")
    return UdevAnswer(devices=tuple(sorted(devices, key=lambda device: device.sys_path)))


def _read_now(path: str, limit_bytes: int, *, tail: bool = False) -> FileAnswer:
    try:
        return read_file(path, limit_bytes, tail=tail)
    except ValueError:  # a path with a null byte
        return FileAnswer(error="EINVAL")
    except OSError as err:
        return FileAnswer(error=name_errno(err))
