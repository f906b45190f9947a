"""Amounts below which the doctor speaks (data/doctor/limits.toml)."""

from __future__ import annotations

from functools import cache

import msgspec

from xpukit.facts.doctor_tables import load_table


class Limit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A number with its unit and where it comes from."""

    name: str
    value: float
    unit: str
    source: str
    link: str
    date: str


class LimitFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    schema: str
    date: str
    limit: tuple[Limit, ...]


@cache
def load_limits() -> dict[str, Limit]:
    """All limits by name. Raises BadFactsError."""
    return {limit.name: limit for limit in load_table("limits", LimitFile).limit}


def find_limit(name: str) -> Limit:
    """One limit; the names are those of the data file."""
    return load_limits()[name]
