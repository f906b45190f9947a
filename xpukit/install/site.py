"""The machine that is installed: a host and the directory that is its root.

Paths given to a `Site` are the machine's own ("/etc/default/grub"); with another root they lie below it, links
included, and commands run inside it (chroot). A recorded machine can be planned for, not changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from xpukit.core.errors import UsageError
from xpukit.host.answers import FileAnswer, LinkAnswer, NamesAnswer, Ran, StatAnswer
from xpukit.host.door import Host
from xpukit.host.network_environment import read_proxies
from xpukit.host.writable import WritableHost

STATE_DIR = "/var/lib/xpukit/install"
# Firmware images and package lists are larger than what the door reads without being asked.
WHOLE_FILE_LIMIT_BYTES = 256 << 20
_MAX_LINKS = 40
# The program itself, or behind `env --chdir=…`.
_PROGRAM_WORDS = 3


class Site:
    """A machine by its root directory. Reads never raise; `changer` raises UsageError where nothing may be changed."""

    def __init__(self, host: Host, root: str = "/") -> None:
        self.host = host
        self.root = "/" if root in ("", "/") else root.rstrip("/")

    @property
    def is_whole(self) -> bool:
        """Whether this is the machine itself and not a directory: only then /proc and /sys are about it."""
        return self.root == "/"

    @property
    def can_change(self) -> bool:
        return isinstance(self.host, WritableHost)

    @property
    def changer(self) -> WritableHost:
        """The host that writes."""
        if not isinstance(self.host, WritableHost):
            raise UsageError("a recorded machine cannot be changed", hint="leave --from out, or use: install plan")
        return self.host

    def locate(self, path: str, *, follow: bool = True) -> str:
        """Where a path of the machine lies on this one. Links are followed within the root; `follow=False` leaves the
        last name as it is."""
        if self.root == "/":
            return path
        done: list[str] = []
        todo = [part for part in reversed(PurePosixPath(path).parts) if part != "/"]
        links = 0
        while todo:
            part = todo.pop()
            if part == "..":
                done = done[:-1]
                continue
            here = self.root + "/" + "/".join([*done, part])
            answer = self.host.link(here) if (follow or todo) and links < _MAX_LINKS else LinkAnswer(error="EINVAL")
            if answer.error or not answer.target:
                done.append(part)
                continue
            links += 1
            target = PurePosixPath(answer.target)
            if target.is_absolute():
                done = []
            todo.extend(name for name in reversed(target.parts) if name != "/")
        return self.root + "/" + "/".join(done)

    def read(self, path: str, *, limit_bytes: int = WHOLE_FILE_LIMIT_BYTES) -> FileAnswer:
        return self.host.read(self.locate(path), limit_bytes=limit_bytes, timeout_s=20.0)

    def list(self, path: str) -> NamesAnswer:
        return self.host.list(self.locate(path))

    def stat(self, path: str) -> StatAnswer:
        return self.host.stat(self.locate(path))

    def link(self, path: str) -> LinkAnswer:
        return self.host.link(self.locate(path, follow=False))

    def exists(self, path: str) -> bool:
        return not self.stat(path).error

    def has_program(self, name: str) -> bool:
        """Whether a program is on the machine (not on the one that looks at it), also where PATH does not lead."""
        if self.root == "/" and self.host.which(name).value:
            return True
        return (self.root != "/" or self.can_change) and any(
            self.exists(f"{place}/{name}") for place in ("/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/sbin")
        )

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float,
        input: bytes = b"",
        env: Mapping[str, str] | None = None,
        log: Path | None = None,
        on_line: Callable[[str], None] | None = None,
    ) -> Ran:
        """Run a command of the machine, inside its root. Programs that fetch get the proxies of who runs this."""
        command = tuple(argv) if self.root == "/" else ("chroot", self.root, *argv)
        if self.can_change and "apt-get" in argv[:_PROGRAM_WORDS]:
            env = {**read_proxies(self.host), **(env or {})}
        return self.host.run(command, timeout_s=timeout_s, input=input, env=env, log=log, on_line=on_line)

    def ask(self, argv: Sequence[str], *, timeout_s: float = 20.0) -> Ran:
        """Run a command that only looks."""
        return self.run(argv, timeout_s=timeout_s)
