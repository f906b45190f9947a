"""A host that puts itself between the asker and the answer: the base of recording, replay and overlay."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

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
from xpukit.host.door import READ_LIMIT_BYTES, READ_TIMEOUT_S, RUN_LIMIT_BYTES, Host
from xpukit.host.level_zero.snapshot import LevelZeroAnswer

A = TypeVar("A", bound=msgspec.Struct)

# A question's name in a recording: its kind and what it was asked about. Limits and time-outs are not part of it:
# they say how patient the asker was, not what was asked. Neither is `tail`: a replay gives what was kept.
Question = tuple[str, ...]


def name_run(argv: Sequence[str], input: bytes, env: Mapping[str, str] | None, cwd: str | None) -> Question:
    """The question that a command is, with what changes its answer."""
    settings = [f"{key}={value}" for key, value in sorted((env or {}).items())]
    if input:
        settings.append(f"stdin=sha256:{hashlib.sha256(input).hexdigest()}")
    if cwd:
        settings.append(f"cwd={cwd}")
    return ("run", *argv) if not settings else ("run", *argv, "\0", *settings)


class MediatedHost(Host):
    """Every question goes through `mediate`; `inner` is where an answer comes from if one is needed."""

    def __init__(self, inner: Host | None) -> None:
        self._inner = inner

    @abstractmethod
    def mediate(self, question: Question, answer_type: type[A], ask: Callable[[], A]) -> A:
        """The answer to `question`; `ask()` gets it from the inner host."""

    @property
    def inner(self) -> Host:
        if self._inner is None:
            raise TypeError(f"{type(self).__name__} has no machine behind it")
        return self._inner

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
        return self.mediate(
            name_run(argv, input, env, cwd),
            Ran,
            lambda: self.inner.run(
                argv,
                timeout_s=timeout_s,
                input=input,
                env=env,
                cwd=cwd,
                limit_bytes=limit_bytes,
                log=log,
                on_line=on_line,
            ),
        )

    def read(
        self,
        path: str,
        *,
        limit_bytes: int = READ_LIMIT_BYTES,
        timeout_s: float = READ_TIMEOUT_S,
        tail: bool = False,
    ) -> FileAnswer:
        return self.mediate(
            ("read", path),
            FileAnswer,
            lambda: self.inner.read(path, limit_bytes=limit_bytes, timeout_s=timeout_s, tail=tail),
        )

    def list(self, path: str, *, timeout_s: float = READ_TIMEOUT_S) -> NamesAnswer:
        return self.mediate(("list", path), NamesAnswer, lambda: self.inner.list(path, timeout_s=timeout_s))

    def link(self, path: str) -> LinkAnswer:
        return self.mediate(("link", path), LinkAnswer, lambda: self.inner.link(path))

    def resolve(self, path: str) -> LinkAnswer:
        return self.mediate(("resolve", path), LinkAnswer, lambda: self.inner.resolve(path))

    def stat(self, path: str) -> StatAnswer:
        return self.mediate(("stat", path), StatAnswer, lambda: self.inner.stat(path))

    def which(self, name: str) -> FoundAnswer:
        return self.mediate(("which", name), FoundAnswer, lambda: self.inner.which(name))

    def env(self, name: str) -> FoundAnswer:
        return self.mediate(("env", name), FoundAnswer, lambda: self.inner.env(name))

    def env_names(self, prefix: str) -> NamesAnswer:
        return self.mediate(("env-names", prefix), NamesAnswer, lambda: self.inner.env_names(prefix))

    def udev(self, subsystem: str) -> UdevAnswer:
        return self.mediate(("udev", subsystem), UdevAnswer, lambda: self.inner.udev(subsystem))

    def level_zero(self, *, timeout_s: float = 10.0) -> LevelZeroAnswer:
        return self.mediate(("level-zero",), LevelZeroAnswer, lambda: self.inner.level_zero(timeout_s=timeout_s))

    def memory(self) -> MemoryAnswer:
        return self.mediate(("memory",), MemoryAnswer, lambda: self.inner.memory())

    def processes(self) -> ProcessesAnswer:
        return self.mediate(("processes",), ProcessesAnswer, lambda: self.inner.processes())

    def identity(self) -> IdentityAnswer:
        return self.mediate(("identity",), IdentityAnswer, lambda: self.inner.identity())
