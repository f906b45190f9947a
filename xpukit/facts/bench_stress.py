"""What a stress run watches and by what it judges (data/bench/stress.toml)."""

from __future__ import annotations

from functools import cache
from typing import Literal

import msgspec

from xpukit.facts.readiness import Limit
from xpukit.facts.tables import read_table

Origin = Literal["result", "loaded", "idle"]
Kind = Literal["drift", "growth", "count", "shown"]


class Watched(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"origin": "from"}):
    """One figure. It is worse beyond `tolerance` of the first rounds and by at least `least` in its unit."""

    name: str
    label: str
    unit: str
    origin: Origin
    kind: Kind
    worse: Literal["higher", "lower"]
    tolerance: float
    least: float
    why: str


class _StressFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    schema: str
    date: str
    limit: tuple[Limit, ...]
    watch: tuple[Watched, ...]


@cache
def _table() -> _StressFile:
    return read_table("bench", "stress", _StressFile, "xpukit.bench-stress-facts/1")


def list_watched() -> tuple[Watched, ...]:
    """All figures, in the order they are shown. Raises BadFactsError."""
    return _table().watch


def find_stress_limit(name: str) -> float:
    """A limit's value in the unit that the data file gives it."""
    return next(limit.value for limit in _table().limit if limit.name == name)
