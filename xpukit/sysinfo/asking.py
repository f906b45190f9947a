"""The askers that collectors speak through: one that asks the machine, one that only estimates."""

from __future__ import annotations

import fnmatch
import posixpath
from collections.abc import Callable, Mapping

from xpukit.host.answers import FileAnswer, FoundAnswer, LinkAnswer, NamesAnswer, Ran, StatAnswer
from xpukit.host.door import Host
from xpukit.sysinfo.collector import FILE_LIMIT_BYTES, OUTPUT_LIMIT_BYTES, Asker
from xpukit.sysinfo.limits import Budget, NotingHost

_WILD = "*?["
_READ_TIMEOUT_S = 5.0
_LATE = "not asked: the collector's time is used up"
# procfs and sysfs give files no true size; this is the size of most of them.
_TYPICAL_FILE_BYTES = 1024


def match_names(names: tuple[str, ...], pattern: str) -> list[str]:
    """Directory entries that a pattern's component takes: as in a shell, a leading dot has to be named."""
    return [
        name
        for name in names
        if fnmatch.fnmatchcase(name, pattern) and (pattern.startswith(".") or not name.startswith("."))
    ]


def expand_pattern(
    pattern: str, list_names: Callable[[str], tuple[str, ...]], exists: Callable[[str], bool]
) -> tuple[str, ...]:
    """Paths that match an absolute pattern, sorted: directories are listed where a component has a wildcard."""
    found = ["/"]
    pending = ""
    for part in [part for part in pattern.split("/") if part]:
        if not any(sign in part for sign in _WILD):
            pending = posixpath.join(pending, part)
            continue
        bases = [posixpath.join(base, pending) if pending else base for base in found]
        found = [posixpath.join(base, name) for base in bases for name in match_names(list_names(base), part)]
        pending = ""
    if pending:
        found = [path for path in (posixpath.join(base, pending) for base in found) if exists(path)]
    return tuple(sorted(found))


class HostAsker(Asker):
    """Asks a `NotingHost` within a budget. What comes after the collector's time is noted, and not asked."""

    def __init__(self, host: NotingHost, budget: Budget) -> None:
        self._host = host
        self._budget = budget
        self.notes: list[str] = []

    @property
    def _late(self) -> bool:
        return self._budget.seconds_left <= 0

    def run(
        self,
        *argv: str,
        timeout_s: float = 10.0,
        env: Mapping[str, str] | None = None,
        limit_bytes: int = OUTPUT_LIMIT_BYTES,
        typical_bytes: int = 4096,
    ) -> Ran:
        if self._late:
            late = Ran(argv=argv, rc=124, failure="timeout")
            self._host.note(("run", *argv), late, detail=_LATE)
            return late
        return self._host.run(argv, timeout_s=timeout_s, env=env, limit_bytes=limit_bytes)

    def read(self, path: str, *, limit_bytes: int = FILE_LIMIT_BYTES, tail: bool = False) -> FileAnswer:
        if self._late:
            late = FileAnswer(error="ETIMEDOUT")
            self._host.note(("read", path), late, detail=_LATE)
            return late
        return self._host.read(path, limit_bytes=limit_bytes, timeout_s=_READ_TIMEOUT_S, tail=tail)

    def list(self, path: str) -> NamesAnswer:
        if self._late:
            late = NamesAnswer(error="ETIMEDOUT")
            self._host.note(("list", path), late, detail=_LATE)
            return late
        return self._host.list(path)

    def glob(self, pattern: str) -> tuple[str, ...]:
        return expand_pattern(pattern, lambda path: self.list(path).names, lambda path: not self.stat(path).error)

    def link(self, path: str) -> LinkAnswer:
        return LinkAnswer(error="ETIMEDOUT") if self._late else self._host.link(path)

    def resolve(self, path: str) -> LinkAnswer:
        return LinkAnswer(error="ETIMEDOUT") if self._late else self._host.resolve(path)

    def stat(self, path: str) -> StatAnswer:
        return StatAnswer(error="ETIMEDOUT") if self._late else self._host.stat(path)

    def which(self, name: str) -> FoundAnswer:
        return FoundAnswer(error="ETIMEDOUT") if self._late else self._host.which(name)

    def env(self, prefix: str) -> dict[str, str]:
        names = self._host.env_names(prefix).names
        values = {name: self._host.env(name).value for name in names}
        return {name: value for name, value in values.items() if value is not None}

    def note(self, text: str) -> None:
        self.notes.append(text)


class EstimateAsker(Asker):
    """Counts what a collector would ask. Runs nothing and reads nothing: it lists directories and looks at sizes."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.commands = 0
        self.files = 0
        self.size_bytes = 0
        self.questions = 0

    def run(
        self,
        *argv: str,
        timeout_s: float = 10.0,
        env: Mapping[str, str] | None = None,
        limit_bytes: int = OUTPUT_LIMIT_BYTES,
        typical_bytes: int = 4096,
    ) -> Ran:
        self.questions += 1
        if self._host.which(argv[0]).value is None:
            return Ran(argv=argv, rc=127, failure="not-found")
        self.commands += 1
        self.size_bytes += min(limit_bytes, typical_bytes)
        return Ran(argv=argv, rc=0)

    def read(self, path: str, *, limit_bytes: int = FILE_LIMIT_BYTES, tail: bool = False) -> FileAnswer:
        self.questions += 1
        found = self._host.stat(path)
        if found.error or not found.readable:
            return FileAnswer(error=found.error or "EACCES")
        self.files += 1
        self.size_bytes += min(limit_bytes, _guess_size(path, found.size_bytes))
        return FileAnswer()

    def list(self, path: str) -> NamesAnswer:
        self.questions += 1
        return self._host.list(path)

    def glob(self, pattern: str) -> tuple[str, ...]:
        return expand_pattern(pattern, lambda path: self.list(path).names, lambda path: not self.stat(path).error)

    def link(self, path: str) -> LinkAnswer:
        self.questions += 1
        return self._host.link(path)

    def resolve(self, path: str) -> LinkAnswer:
        self.questions += 1
        return self._host.resolve(path)

    def stat(self, path: str) -> StatAnswer:
        self.questions += 1
        return self._host.stat(path)

    def which(self, name: str) -> FoundAnswer:
        self.questions += 1
        return self._host.which(name)

    def env(self, prefix: str) -> dict[str, str]:
        names = self._host.env_names(prefix).names
        self.questions += 1 + len(names)
        return dict.fromkeys(names, "")

    def count_for_estimate(self, pattern: str) -> int:
        return len(expand_pattern(pattern, lambda path: self._host.list(path).names, self._host.exists))

    def note(self, text: str) -> None:
        """Notes are about answers, which an estimate has none of."""


def _guess_size(path: str, size_bytes: int) -> int:
    if path.startswith(("/sys/", "/proc/sys/")):
        return 64  # sysfs says one page for every file; most hold a word
    if path.startswith("/proc/") or not size_bytes:
        return _TYPICAL_FILE_BYTES
    return size_bytes
