"""Errors that devices and links count, and what their growth means (data/tools/error_counters.toml)."""

from __future__ import annotations

from functools import cache
from typing import Literal

import msgspec

from xpukit.facts.tables import read_table

SCHEMA = "xpukit.error-counters/1"


class CounterFacts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`growth`: the verdict on a run during which the count grew."""

    name: str
    growth: Literal["warn", "fail"]
    summary: str
    source: str


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    schema: str
    date: str
    counter: tuple[CounterFacts, ...]


@cache
def load_error_counters() -> dict[str, CounterFacts]:
    """All counters by name, in the order of the file. Raises BadFactsError when the installation is damaged."""
    return {row.name: row for row in read_table("tools", "error_counters", _File, SCHEMA).counter}
