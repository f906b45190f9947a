"""Loads of benchmarks by name (data/launch/scenarios.toml)."""

from __future__ import annotations

from functools import cache

import msgspec

from xpukit.core.errors import BadFactsError, UsageError
from xpukit.core.toml import load_toml
from xpukit.facts.paths import data_dir

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
    path = data_dir() / "launch" / "scenarios.toml"
    try:
        table = msgspec.convert(load_toml(path), _Scenarios)
    except msgspec.ValidationError as err:
        raise BadFactsError(f"{path}: {err}", hint="restore the file from the package") from err
    if table.schema != _SCHEMA:
        raise BadFactsError(f"{path}: schema {table.schema!r} is not {_SCHEMA!r}", hint="restore the file")
    return table.scenario


def find_scenario(name: str) -> Scenario:
    """A load by its name. Raises UsageError."""
    for one in load_scenarios():
        if one.name == name:
            return one
    raise UsageError(f"no scenario {name!r}", hint=", ".join(one.name for one in load_scenarios()))
