"""What the machine answers. A failure is an answer like any other and is recorded like one.

`error` fields hold an errno name ("ENOENT", "EACCES", "ETIMEDOUT" for a missed deadline, "UNRECORDED" when a recording
made by another version does not hold the question) or "" when the question was answered.
"""

from __future__ import annotations

import shlex

import msgspec


class Ran(msgspec.Struct, frozen=True, kw_only=True):
    """A finished command. `failure` is "" , "not-found", "denied", "timeout", "signal:N" or an errno name."""

    argv: tuple[str, ...]
    rc: int
    out: bytes = b""
    err: bytes = b""
    seconds: float = 0.0
    failure: str = ""
    dropped_bytes: int = 0

    @property
    def ok(self) -> bool:
        return self.rc == 0 and not self.failure

    @property
    def text(self) -> str:
        return self.out.decode("utf-8", errors="replace")

    @property
    def err_text(self) -> str:
        return self.err.decode("utf-8", errors="replace")

    @property
    def command(self) -> str:
        """The command as one could paste it."""
        return shlex.join(self.argv)

    def describe_failure(self) -> str:
        """One line: what happened, with the last line the command said."""
        if self.failure == "not-found":
            return f"{self.argv[0]}: not installed"
        if self.failure == "denied":
            return f"{self.argv[0]}: permission denied"
        last = (self.err_text.strip() or self.text.strip()).splitlines()[-1:] or [""]
        said = f": {last[0].strip()[:200]}" if last[0].strip() else ""
        if self.failure == "timeout":
            return f"{self.command}: stopped after {self.seconds:.0f} s{said}"
        if self.failure.startswith("signal:"):
            return f"{self.command}: killed by signal {self.failure.removeprefix('signal:')}{said}"
        return f"{self.command}: exit {self.rc}{said}"


class FileAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A file's first bytes."""

    data: bytes = b""
    error: str = ""
    truncated: bool = False

    @property
    def ok(self) -> bool:
        return not self.error

    @property
    def text(self) -> str:
        """The content as text without surrounding white space; "" when it could not be read."""
        return self.data.decode("utf-8", errors="replace").strip()


class NamesAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A directory's entries, sorted."""

    names: tuple[str, ...] = ()
    error: str = ""


class LinkAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What a symbolic link says (not resolved further), or a fully resolved path."""

    target: str = ""
    error: str = ""


class FoundAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A path, value or name that is there (`value`) or not (None)."""

    value: str | None = None
    error: str = ""


class StatAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Existence and who may use a path. `kind`: file, dir, char, block, fifo, socket, link-broken or ""."""

    kind: str = ""
    mode: int = 0
    uid: int = -1
    gid: int = -1
    owner: str = ""
    group: str = ""
    size_bytes: int = 0
    rdev: str = ""
    readable: bool = False
    writable: bool = False
    error: str = ""


class UdevDevice(msgspec.Struct, frozen=True, kw_only=True):
    """One libudev device: its sysfs path, driver and properties."""

    sys_path: str
    sys_name: str
    subsystem: str
    device_node: str = ""
    device_links: tuple[str, ...] = ()
    driver: str = ""
    properties: dict[str, str] = {}


class UdevAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """All devices of a subsystem, sorted by sysfs path."""

    devices: tuple[UdevDevice, ...] = ()
    error: str = ""


class MemoryAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Main memory."""

    total_bytes: int = 0
    available_bytes: int = 0
    error: str = ""


class ProcessEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A running process, as far as it may be seen."""

    pid: int
    name: str
    username: str = ""
    argv: tuple[str, ...] = ()


class ProcessesAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Running processes, sorted by pid."""

    processes: tuple[ProcessEntry, ...] = ()
    error: str = ""


class IdentityAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Who we are on this machine. `executable` is the Python that runs us, `site_packages` where its packages lie."""

    hostname: str = ""
    username: str = ""
    uid: int = -1
    groups: tuple[str, ...] = ()
    machine: str = ""
    python: str = ""
    executable: str = ""
    site_packages: tuple[str, ...] = ()
    error: str = ""
