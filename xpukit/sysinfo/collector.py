"""The shape of a collector: one file under `collectors/` that defines `COLLECTOR` adds one to `xpukit sysinfo`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import msgspec

from xpukit.host.answers import FileAnswer, FoundAnswer, LinkAnswer, NamesAnswer, Ran, StatAnswer

Preset = Literal["minimal", "default", "full"]
PRESETS: tuple[Preset, ...] = ("minimal", "default", "full")

# Collectors of one lane run one after the other: tools that open a GPU must not measure each other.
GPU_LANE = "gpu"
FILE_LIMIT_BYTES = 256 << 10
OUTPUT_LIMIT_BYTES = 1 << 20


class Asker(ABC):
    """What a collector asks through. Every question is recorded with its answer, also when it failed.

    A failure costs its own entry: methods return the answer with the failure in it and never raise for what the
    machine says. When the collector's or the overall time is used up, an answer comes back with the failure
    "timeout" / error "ETIMEDOUT" without asking. In an estimate nothing is run or read: sizes come from stat and
    `typical_bytes`, answers are empty.
    """

    @abstractmethod
    def run(
        self,
        *argv: str,
        timeout_s: float = 10.0,
        env: Mapping[str, str] | None = None,
        limit_bytes: int = OUTPUT_LIMIT_BYTES,
        typical_bytes: int = 4096,
    ) -> Ran:
        """A command that only looks. Output beyond the limit keeps head and tail."""

    @abstractmethod
    def read(self, path: str, *, limit_bytes: int = FILE_LIMIT_BYTES, tail: bool = False) -> FileAnswer:
        """A file's first bytes; with `tail` the last ones too (for logs), head and tail within the limit."""

    @abstractmethod
    def list(self, path: str) -> NamesAnswer:
        """A directory's entries."""

    @abstractmethod
    def glob(self, pattern: str) -> tuple[str, ...]:
        """Paths that match, sorted; `*` and `?` within one path component, no `**`. Asked by listing directories."""

    @abstractmethod
    def link(self, path: str) -> LinkAnswer:
        """What a symbolic link says."""

    @abstractmethod
    def resolve(self, path: str) -> LinkAnswer:
        """The path with all links followed."""

    @abstractmethod
    def stat(self, path: str) -> StatAnswer:
        """Existence, owner and access."""

    @abstractmethod
    def which(self, name: str) -> FoundAnswer:
        """A program's path."""

    @abstractmethod
    def env(self, prefix: str) -> dict[str, str]:
        """The environment variables that begin with `prefix`."""

    @abstractmethod
    def note(self, text: str) -> None:
        """Say something about this collection in the bundle ("no Docker here")."""

    def count_for_estimate(self, pattern: str) -> int:
        """How many paths match, in an estimate; elsewhere 1, and nothing is asked."""
        return 1

    def read_all(self, paths: Sequence[str], *, limit_bytes: int = FILE_LIMIT_BYTES) -> dict[str, FileAnswer]:
        """Several files, by path."""
        return {path: self.read(path, limit_bytes=limit_bytes) for path in paths}


class Collector(msgspec.Struct, frozen=True, kw_only=True):
    """One collector. `preset` is the smallest preset that has it; `root_adds` what more it gets as root.

    `timeout_s` is for the whole collector. Collectors run side by side, those of one `lane` one after the other;
    one that `begins_first` waits long for its commands, so that nothing else is left to do at the end.
    """

    name: str
    summary: str
    preset: Preset
    collect: Callable[[Asker], None]
    timeout_s: float = 20.0
    root_adds: str = ""
    order: int = 500
    lane: str = ""
    begins_first: bool = False


def conform_error(collector: Collector) -> str:
    """What is wrong with a collector's shape, "" when nothing is."""
    if not collector.name.isidentifier() or not collector.summary:
        return f"{collector.name!r}: needs a name that is an identifier and a summary"
    if collector.preset not in PRESETS or not 0 < collector.timeout_s <= 120:
        return f"{collector.name}: preset or time-out out of range"
    if not callable(collector.collect):
        return f"{collector.name}: nothing to call"
    return ""
