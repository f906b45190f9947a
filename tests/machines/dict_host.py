"""`DictHost`: a machine written down in a test as {path: text}, for rooms that only read."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping, Sequence
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
    UdevDevice,
)
from xpukit.host.level_zero.snapshot import LevelZeroAnswer
from xpukit.host.mediated import MediatedHost, Question

A = TypeVar("A", bound=msgspec.Struct)
Content = str | bytes | FileAnswer


class DictHost(MediatedHost):
    """Answers from dictionaries; everything else is not there (ENOENT, exit 127, no devices).

    `files` values: text, bytes, or a FileAnswer for a failure. Directories are what lies above the files. `links`
    are symbolic links by their own path, absolute or relative. `answers` overrides any question by its name,
    such as ("memory",). `strict`: a question about a path below `strict_below` that the dictionaries do not hold
    is an AssertionError, for tests that want to know every question asked. `asked` lists all questions.
    """

    def __init__(
        self,
        files: Mapping[str, Content] | None = None,
        *,
        links: Mapping[str, str] | None = None,
        commands: Mapping[tuple[str, ...], Ran] | None = None,
        udev: Sequence[UdevDevice] = (),
        environment: Mapping[str, str] | None = None,
        answers: Mapping[Question, msgspec.Struct] | None = None,
        strict_below: str | None = None,
    ) -> None:
        super().__init__(None)
        self._files = dict(files or {})
        self._links = dict(links or {})
        self._commands = dict(commands or {})
        self._udev = tuple(udev)
        self._environment = dict(environment or {})
        self._answers = dict(answers or {})
        self._strict_below = strict_below
        self._directories = {"/"}
        for path in (*self._files, *self._links):
            self._directories.update(_list_prefixes(posixpath.dirname(path)))
        self.asked: list[Question] = []

    def mediate(self, question: Question, answer_type: type[A], ask: Callable[[], A]) -> A:
        self.asked.append(question)
        given = self._answers.get(question)
        answer = given if given is not None else self._answer(question)
        error = getattr(answer, "error", "")
        if given is None and error and self._strict_below is not None and len(question) > 1:
            assert not question[1].startswith(self._strict_below), f"not in this machine: {question}"
        assert isinstance(answer, answer_type), f"{question} is answered with {type(answer).__name__}"
        return answer

    def _answer(self, question: Question) -> msgspec.Struct:
        kind, *rest = question
        about = rest[0] if rest else ""
        answers: dict[str, Callable[[], msgspec.Struct]] = {
            "read": lambda: self._read(about),
            "list": lambda: self._list(about),
            "link": lambda: self._link(about),
            "resolve": lambda: self._resolve(about),
            "stat": lambda: self._stat(about),
            "which": lambda: FoundAnswer(value=f"/usr/bin/{about}" if self._has_program(about) else None),
            "env": lambda: FoundAnswer(value=self._environment.get(about)),
            "env-names": lambda: NamesAnswer(names=tuple(sorted(n for n in self._environment if n.startswith(about)))),
            "udev": lambda: UdevAnswer(
                devices=tuple(
                    sorted((d for d in self._udev if d.subsystem == about), key=lambda device: device.sys_path)
                )
            ),
            "run": lambda: self._run(tuple(rest)),
            "level-zero": lambda: LevelZeroAnswer(status="no-loader", detail="a written machine has none"),
            "memory": lambda: MemoryAnswer(error="ENOENT"),
            "processes": lambda: ProcessesAnswer(),
            "identity": lambda: IdentityAnswer(hostname="machine", username="root", uid=0, machine="x86_64"),
        }
        return answers[kind]()

    def _follow(self, path: str) -> str | None:
        """The path with all links followed, or None for a loop."""
        for _ in range(40):
            at = next((part for part in _list_prefixes(path) if part in self._links), None)
            if at is None:
                return posixpath.normpath(path)
            target = posixpath.join(posixpath.dirname(at), self._links[at])
            path = posixpath.normpath(target + path[len(at) :])
        return None

    def _read(self, path: str) -> FileAnswer:
        real = self._follow(path)
        if real in self._directories:
            return FileAnswer(error="EISDIR")
        content = self._files.get(real) if real is not None else None
        if content is None:
            return FileAnswer(error="ENOENT" if real is not None else "ELOOP")
        if isinstance(content, FileAnswer):
            return content
        return FileAnswer(data=content.encode() if isinstance(content, str) else content)

    def _list(self, path: str) -> NamesAnswer:
        real = self._follow(path)
        if real not in self._directories:
            return NamesAnswer(error="ENOTDIR" if real in self._files else "ENOENT")
        entries = (*self._files, *self._links, *self._directories)
        names = {posixpath.basename(entry) for entry in entries if posixpath.dirname(entry) == real and entry != "/"}
        return NamesAnswer(names=tuple(sorted(names)))

    def _link(self, path: str) -> LinkAnswer:
        parent = self._follow(posixpath.dirname(path))
        own = posixpath.join(parent, posixpath.basename(path)) if parent is not None else path
        if own in self._links:
            return LinkAnswer(target=self._links[own])
        return LinkAnswer(error="EINVAL" if own in self._files or own in self._directories else "ENOENT")

    def _resolve(self, path: str) -> LinkAnswer:
        real = self._follow(path)
        if real is not None and (real in self._files or real in self._directories):
            return LinkAnswer(target=real)
        return LinkAnswer(error="ENOENT" if real is not None else "ELOOP")

    def _stat(self, path: str) -> StatAnswer:
        real = self._follow(path)
        if real in self._directories:
            return StatAnswer(kind="dir", mode=0o755, uid=0, gid=0, owner="root", group="root", readable=True)
        if real in self._files:
            return StatAnswer(kind="file", mode=0o644, uid=0, gid=0, owner="root", group="root", readable=True)
        return StatAnswer(error="ENOENT" if real is not None else "ELOOP")

    def _run(self, argv: tuple[str, ...]) -> Ran:
        return self._commands.get(argv, Ran(argv=argv, rc=127, failure="not-found"))

    def _has_program(self, name: str) -> bool:
        return any(argv and argv[0] == name for argv in self._commands)


def _list_prefixes(path: str) -> list[str]:
    """'/a/b/c' -> ['/a', '/a/b', '/a/b/c']."""
    parts = [part for part in path.split("/") if part]
    return ["/" + "/".join(parts[: count + 1]) for count in range(len(parts))]
