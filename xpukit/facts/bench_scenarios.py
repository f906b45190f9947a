"""Loads of benchmarks by name (data/launch/scenarios.toml)."""

from __future__ import annotations

from functools import cache

import msgspec

from xpukit.core.errors import UsageError
from xpukit.facts.tables import read_table

_SCHEMA = "xpukit.bench-scenarios/1"


class Scenario(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A load: `requests` with prompts and answers of so many tokens, `concurrency` at a time (0: all at once)."""

    name: str
    input_len: int
    output_len: int
    requests: int
    concurrency: int
    source: str


class _Scenarios(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    schema: str
    date: str
    scenario: tuple[Scenario, ...]


@cache
def load_scenarios() -> tuple[Scenario, ...]:
    """All of them. Raises BadFactsError."""
    return read_table("launch", "scenarios", _Scenarios, _SCHEMA).scenario


def find_scenario(name: str) -> Scenario:
    """A load by its name. Raises UsageError."""
    for one in load_scenarios():
        if one.name == name:
            return one
    raise UsageError(f"no scenario {name!r}", hint=", ".join(one.name for one in load_scenarios()))
