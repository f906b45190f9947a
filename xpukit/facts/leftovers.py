"""Files that packages' own scripts write and a purge leaves (data/install/leftovers.toml)."""

from __future__ import annotations

from functools import cache

import msgspec

from xpukit.facts.tables import read_table

SCHEMA = "xpukit.package-leftovers/1"


class LeftFileFacts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file that comes with a package without belonging to it."""

    package: str
    path: str
    why: str
    source: str


class LeftoverFacts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All of them."""

    schema: str
    date: str
    files: tuple[LeftFileFacts, ...]


@cache
def load_leftovers() -> LeftoverFacts:
    """Raises BadFactsError."""
    return read_table("install", "leftovers", LeftoverFacts, SCHEMA)
