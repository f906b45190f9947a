"""`RedactingHost`: a machine seen with pseudonyms, as a bundle of it would show it (`--redact`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

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
from xpukit.host.mediated import Question, name_run
from xpukit.host.recording_format import pack_answer, unpack_answer
from xpukit.host.redaction.redactor import Redactor

A = TypeVar("A", bound=msgspec.Struct)


class RedactingHost(Host):
    """The asker sees pseudonyms and asks with them; the machine is asked with the real names."""

    def __init__(self, inner: Host, redactor: Redactor) -> None:
        self._inner = inner
        self._redactor = redactor

    def _real(self, text: str) -> str:
        return self._redactor.map.put_back(text)

    def _show(self, question: Question, answer: A) -> A:
        self._redactor.about(" ".join(question))
        blobs: dict[str, bytes] = {}
        packed: dict[str, Any] = pack_answer(answer, self._redactor, blobs.__setitem__, question)
        return unpack_answer(packed, type(answer), blobs.__getitem__)

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
        ran = self._inner.run(
            [self._real(word) for word in argv],
            timeout_s=timeout_s,
            input=input,
            env=None if env is None else {key: self._real(value) for key, value in env.items()},
            cwd=None if cwd is None else self._real(cwd),
            limit_bytes=limit_bytes,
            log=log,
            on_line=None if on_line is None else lambda line: on_line(self._redactor(line)),
        )
        return self._show(name_run(argv, input, env, cwd), ran)

    def read(
        self,
        path: str,
        *,
        limit_bytes: int = READ_LIMIT_BYTES,
        timeout_s: float = READ_TIMEOUT_S,
        tail: bool = False,
    ) -> FileAnswer:
        answer = self._inner.read(self._real(path), limit_bytes=limit_bytes, timeout_s=timeout_s, tail=tail)
        return self._show(("read", path), answer)

    def list(self, path: str, *, timeout_s: float = READ_TIMEOUT_S) -> NamesAnswer:
        return self._show(("list", path), self._inner.list(self._real(path), timeout_s=timeout_s))

    def link(self, path: str) -> LinkAnswer:
        return self._show(("link", path), self._inner.link(self._real(path)))

    def resolve(self, path: str) -> LinkAnswer:
        return self._show(("resolve", path), self._inner.resolve(self._real(path)))

    def stat(self, path: str) -> StatAnswer:
        return self._show(("stat", path), self._inner.stat(self._real(path)))

    def which(self, name: str) -> FoundAnswer:
        return self._show(("which", name), self._inner.which(self._real(name)))

    def env(self, name: str) -> FoundAnswer:
        return self._show(("env", name), self._inner.env(name))

    def env_names(self, prefix: str) -> NamesAnswer:
        return self._show(("env-names", prefix), self._inner.env_names(prefix))

    def udev(self, subsystem: str) -> UdevAnswer:
        return self._show(("udev", subsystem), self._inner.udev(subsystem))

    def level_zero(self, *, timeout_s: float = 10.0) -> LevelZeroAnswer:
        return self._show(("level-zero",), self._inner.level_zero(timeout_s=timeout_s))

    def memory(self) -> MemoryAnswer:
        return self._inner.memory()

    def processes(self) -> ProcessesAnswer:
        return self._show(("processes",), self._inner.processes())

    def identity(self) -> IdentityAnswer:
        return self._show(("identity",), self._inner.identity())
