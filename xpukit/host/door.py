"""`Host`: about a dozen questions to a machine, plain values in and out."""

from __future__ import annotations

import builtins
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from xpukit.host.answers import (
    FileAnswer,
    FoundAnswer,
    IdentityAnswer,
    LinkAnswer,
    MemoryAnswer,
    NamesAnswer,
    ProcessesAnswer,
    Ran,
    StatAnswer,
    UdevAnswer,
)
from xpukit.host.level_zero.snapshot import LevelZeroAnswer

READ_LIMIT_BYTES = 1 << 20
READ_TIMEOUT_S = 2.0
RUN_LIMIT_BYTES = 8 << 20


class Host(ABC):
    """A machine as a value. No method raises for what the machine says; the answer holds the failure."""

    @abstractmethod
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
        """Run a command in its own process group; `env` is added to a fixed small environment.

        `log` receives the whole output as it comes; `on_line` each line of standard output.
        """

    @abstractmethod
    def read(
        self,
        path: str,
        *,
        limit_bytes: int = READ_LIMIT_BYTES,
        timeout_s: float = READ_TIMEOUT_S,
        tail: bool = False,
    ) -> FileAnswer:
        """The first `limit_bytes` of a file, within `timeout_s`; with `tail` half from its start, half from its end."""

    def read_many(
        self, paths: Sequence[str], *, limit_bytes: int = READ_LIMIT_BYTES, timeout_s: float = READ_TIMEOUT_S
    ) -> tuple[FileAnswer, ...]:
        """`read` of each, in their order, cheaper on a live host. After one that hangs nothing more is read."""
        found: builtins.list[FileAnswer] = []
        for path in paths:
            found.append(self.read(path, limit_bytes=limit_bytes, timeout_s=timeout_s))
            if found[-1].error == "ETIMEDOUT":
                break
        return (*found, *(FileAnswer(error="ETIMEDOUT") for _ in paths[len(found) :]))

    @abstractmethod
    def list(self, path: str, *, timeout_s: float = READ_TIMEOUT_S) -> NamesAnswer:
        """A directory's entries, sorted."""

    @abstractmethod
    def link(self, path: str) -> LinkAnswer:
        """What a symbolic link says."""

    @abstractmethod
    def resolve(self, path: str) -> LinkAnswer:
        """The path with all links followed; error ENOENT when it does not exist."""

    @abstractmethod
    def stat(self, path: str) -> StatAnswer:
        """Existence, owner and access of a path (links followed)."""

    @abstractmethod
    def which(self, name: str) -> FoundAnswer:
        """A program's path, from PATH."""

    @abstractmethod
    def env(self, name: str) -> FoundAnswer:
        """An environment variable of this process."""

    @abstractmethod
    def env_names(self, prefix: str) -> NamesAnswer:
        """The names of the environment variables that begin with `prefix`."""

    @abstractmethod
    def udev(self, subsystem: str) -> UdevAnswer:
        """All devices of a subsystem, as libudev lists them."""

    @abstractmethod
    def level_zero(self, *, timeout_s: float = 10.0) -> LevelZeroAnswer:
        """What the Level Zero loader and drivers say, asked in a child process."""

    @abstractmethod
    def memory(self) -> MemoryAnswer:
        """Main memory, total and available."""

    @abstractmethod
    def processes(self) -> ProcessesAnswer:
        """Running processes."""

    @abstractmethod
    def identity(self) -> IdentityAnswer:
        """Host name, user and groups."""

    def exists(self, path: str) -> bool:
        """Whether a path is there (links followed)."""
        return not self.stat(path).error
