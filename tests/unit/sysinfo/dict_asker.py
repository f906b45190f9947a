"""An asker that answers from dictionaries and remembers what was asked."""

from __future__ import annotations

from collections.abc import Mapping

from tests.machines.dict_host import DictHost
from xpukit.host.answers import FileAnswer, FoundAnswer, LinkAnswer, NamesAnswer, Ran, StatAnswer
from xpukit.sysinfo.asking import expand_pattern
from xpukit.sysinfo.collector import FILE_LIMIT_BYTES, OUTPUT_LIMIT_BYTES, Asker

Question = tuple[str, ...]


class DictAsker(Asker):
    """A machine of `files`, `links` and `commands` (first words of the command line -> output).

    Everything else is not there. `refused` answers everything with a failure, also what is there.
    """

    def __init__(
        self,
        files: Mapping[str, str | bytes | FileAnswer] | None = None,
        *,
        links: Mapping[str, str] | None = None,
        commands: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
        refused: str = "",
    ) -> None:
        self._host = DictHost(files, links=links)
        self._commands = {tuple(words.split()): out for words, out in (commands or {}).items()}
        self._environment = dict(environment or {})
        self._refused = refused
        self.asked: list[Question] = []
        self.timeouts_s: list[float] = []
        self.limits_bytes: dict[Question, int] = {}
        self.environments: dict[Question, dict[str, str]] = {}
        self.notes: list[str] = []

    @property
    def commands_asked(self) -> list[Question]:
        """Command lines, in order."""
        return [question[1:] for question in self.asked if question[0] == "run"]

    def paths_asked(self, kind: str = "read") -> list[str]:
        """Paths of one kind of question, in order."""
        return [question[1] for question in self.asked if question[0] == kind]

    def run(
        self,
        *argv: str,
        timeout_s: float = 10.0,
        env: Mapping[str, str] | None = None,
        limit_bytes: int = OUTPUT_LIMIT_BYTES,
        typical_bytes: int = 4096,
    ) -> Ran:
        question = ("run", *argv)
        self._note(*question)
        self.timeouts_s.append(timeout_s)
        self.limits_bytes[question] = limit_bytes
        self.environments[argv] = dict(env or {})
        assert typical_bytes > 0
        if self._refused:
            return Ran(argv=argv, rc=127, failure=self._refused)
        for length in range(len(argv), 0, -1):
            if argv[:length] in self._commands:
                return Ran(argv=argv, rc=0, out=self._commands[argv[:length]].encode())
        return Ran(argv=argv, rc=127, failure="not-found")

    def read(self, path: str, *, limit_bytes: int = FILE_LIMIT_BYTES, tail: bool = False) -> FileAnswer:
        self._note("read", path)
        self.limits_bytes[("read", path)] = limit_bytes
        return FileAnswer(error=self._refused) if self._refused else self._host.read(path)

    def list(self, path: str) -> NamesAnswer:
        self._note("list", path)
        return NamesAnswer(error=self._refused) if self._refused else self._host.list(path)

    def glob(self, pattern: str) -> tuple[str, ...]:
        return expand_pattern(pattern, lambda path: self.list(path).names, lambda path: not self.stat(path).error)

    def link(self, path: str) -> LinkAnswer:
        self._note("link", path)
        return LinkAnswer(error=self._refused) if self._refused else self._host.link(path)

    def resolve(self, path: str) -> LinkAnswer:
        self._note("resolve", path)
        return LinkAnswer(error=self._refused) if self._refused else self._host.resolve(path)

    def stat(self, path: str) -> StatAnswer:
        self._note("stat", path)
        return StatAnswer(error=self._refused) if self._refused else self._host.stat(path)

    def which(self, name: str) -> FoundAnswer:
        self._note("which", name)
        there = not self._refused and any(words[0] == name for words in self._commands)
        return FoundAnswer(value=f"/usr/bin/{name}" if there else None)

    def env(self, prefix: str) -> dict[str, str]:
        self._note("env", prefix)
        return {name: value for name, value in self._environment.items() if name.startswith(prefix)}

    def note(self, text: str) -> None:
        self.notes.append(text)

    def _note(self, *question: str) -> None:
        self.asked.append(question)
