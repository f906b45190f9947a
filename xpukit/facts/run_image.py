"""Facts behind the options of `run-image` (data/images/run.toml)."""

from __future__ import annotations

from functools import cache

import msgspec

from xpukit.facts.tables import read_table

SCHEMA = "xpukit.run-facts/1"


class SharedMemoryFact(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How large /dev/shm of an engine's container is made."""

    bytes: int
    reason: str
    source: str
    date: str


class CapabilityFact(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A capability that an engine needs on several GPUs."""

    capability: str
    reason: str
    source: str
    date: str


class ReasonFact(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why an option is there."""

    reason: str
    source: str
    date: str


class RunFacts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The data file."""

    schema: str
    shm: SharedMemoryFact
    ptrace: CapabilityFact
    by_path: ReasonFact


@cache
def load_run_facts() -> RunFacts:
    """The file, typed. Raises BadFactsError when it breaks its schema."""
    return read_table("images", "run", RunFacts, SCHEMA)
