"""The times of a rotation (data/rotate/limits.toml)."""

from __future__ import annotations

from functools import cache

import msgspec

from xpukit.facts.readiness import Limit
from xpukit.facts.tables import read_table


class _LimitFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    schema: str
    date: str
    limit: tuple[Limit, ...]


@cache
def list_rotation_limits() -> tuple[Limit, ...]:
    """All limits. Raises BadFactsError."""
    return read_table("rotate", "limits", _LimitFile, "xpukit.rotation-limits/1").limit


def find_rotation_limit(name: str) -> float:
    """A limit's value, in the unit that the data file gives it."""
    return {limit.name: limit.value for limit in list_rotation_limits()}[name]
