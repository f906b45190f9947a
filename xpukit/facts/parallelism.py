"""How each engine may divide a model over ranks (data/parallelism/rules.toml)."""

from __future__ import annotations

from functools import cache
from typing import Literal

import msgspec

from xpukit.core.errors import UsageError
from xpukit.facts.tables import read_table

SCHEMA = "xpukit.parallelism/1"


class EngineRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The rules of an engine; the data file says what each field means."""

    names: tuple[str, ...]
    kv_heads: Literal["divide-or-copy"]
    expert_parallel: Literal["all", "within-tp"]
    experts_divide: bool
    moe_tp_spans_dp: bool
    pipeline: bool
    numa_flag: str
    numa_nodes_flag: str
    numa_cpus_flag: str
    numa_needs: str
    source: str
    cuts_blocks: bool = False


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    schema: str
    date: str
    engine: tuple[EngineRules, ...]


@cache
def load_rules() -> tuple[EngineRules, ...]:
    """The rules of all engines. Raises BadFactsError when the installation is damaged."""
    return read_table("parallelism", "rules", _File, SCHEMA).engine


def find_rules(engine: str) -> EngineRules:
    """The rules of an engine. Raises UsageError for one that we have none of."""
    found = next((rules for rules in load_rules() if engine in rules.names), None)
    if found is None:
        known = ", ".join(name for rules in load_rules() for name in rules.names)
        raise UsageError(f"no rules for the engine {engine!r}", hint=f"known: {known}")
    return found
