"""Facts behind the options of `run-image` (data/images/run.toml)."""

from __future__ import annotations

from functools import cache

import msgspec

from xpukit.core.errors import BadFactsError
from xpukit.core.toml import load_toml
from xpukit.facts.paths import data_dir

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
    name = "images/run.toml"
    raw = load_toml(data_dir() / "images" / "run.toml")
    if raw.get("schema") != SCHEMA:
        raise BadFactsError(f"{name}: schema is {raw.get('schema')!r}, not {SCHEMA!r}", hint="install xpukit again")
    try:
        return msgspec.convert(raw, RunFacts)
    except msgspec.ValidationError as err:
        raise BadFactsError(f"{name}: {err}", hint="install xpukit again") from err
