"""What each collector of `xpukit sysinfo` asks (data/sysinfo/*.toml, one file a collector), and named word lists."""

from __future__ import annotations

from functools import cache
from typing import Literal

import msgspec

from xpukit.core.errors import BadFactsError
from xpukit.facts.paths import data_dir
from xpukit.facts.tables import read_table

SCHEMA = "xpukit.sysinfo/1"

PathQuestion = Literal["read", "list", "stat", "link", "resolve"]


class Paths(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Paths that are asked in one way. `*` and `?` stand for part of one name; `tail` keeps a log's end too."""

    ask: PathQuestion = "read"
    paths: tuple[str, ...]
    limit_kib: int = 256
    tail: bool = False
    source: str


class Command(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A command that only looks. `needs`: a program or absolute path without which there is nothing to ask.

    `typical_bytes` is what it prints, for estimates: for each path that matches the pattern `each`, where there is one.
    """

    argv: tuple[str, ...]
    timeout_s: float = 10.0
    limit_kib: int = 1024
    typical_bytes: int = 4096
    each: str = ""
    needs: str = ""
    source: str


class WordList(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Names or patterns that a collector's own code asks with."""

    words: tuple[str, ...]
    source: str


class Inquiry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything one collector asks of every machine, in this order: env, programs, paths, commands."""

    schema: str
    date: str
    env: WordList = WordList(words=(), source="")
    programs: WordList = WordList(words=(), source="")
    paths: tuple[Paths, ...] = ()
    commands: tuple[Command, ...] = ()
    lists: dict[str, WordList] = {}

    def words(self, name: str) -> tuple[str, ...]:
        """A word list. Raises BadFactsError when the file has none of this name."""
        if name not in self.lists:
            raise BadFactsError(f"sysinfo data: no list {name!r}", hint="the installation is damaged: install again")
        return self.lists[name].words


def list_inquiries() -> tuple[str, ...]:
    """Collectors that have a data file, sorted."""
    return tuple(sorted(path.stem for path in (data_dir() / "sysinfo").glob("*.toml")))


@cache
def load_inquiry(collector: str) -> Inquiry:
    """A collector's data file. Raises BadFactsError when the installation is damaged."""
    return read_table("sysinfo", collector, Inquiry, SCHEMA)
