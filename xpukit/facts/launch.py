"""What a launch carries besides what was asked for: default flags and environment variables (data/launch/*.toml).

Every row says when it applies, why, and who says so. Rows of flags name an intent (data/engines/intents.toml), so that
a row holds for every version's own spelling.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Literal

import msgspec

from xpukit.facts.engine_versions import version_key
from xpukit.facts.tables import read_table

_FLAGS_SCHEMA = "xpukit.launch-flags/1"
_VARIABLES_SCHEMA = "xpukit.launch-variables/1"
Vendor = Literal["intel", "nvidia"]


class LaunchCase(msgspec.Struct, frozen=True, kw_only=True):
    """What rows are chosen by. `topics`: properties that a plan states by name ("load-offload", "p2p", "usm" ...)."""

    engine: str
    version: str
    vendor: Vendor
    task: str
    model_id: str
    quantization: str = "none"
    tp: int = 1
    world: int = 1
    nodes: int = 1
    moe: bool = False
    topics: frozenset[str] = frozenset()


class When(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that is given must hold; nothing given holds always. `since` and `until` are versions, both included."""

    engines: tuple[str, ...] = ()
    since: str = ""
    until: str = ""
    vendor: str = ""
    tasks: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    except_models: tuple[str, ...] = ()
    quantizations: tuple[str, ...] = ()
    min_world: int = 1
    min_nodes: int = 1
    moe: bool | None = None
    topic: str = ""
    without_topic: str = ""

    def holds(self, case: LaunchCase) -> bool:
        """Whether the case is meant."""
        model = case.model_id.lower()
        checks = (
            not self.engines or case.engine in self.engines,
            self._is_version(case),
            not self.vendor or case.vendor == self.vendor,
            not self.tasks or case.task in self.tasks,
            not self.models or any(name.lower() in model for name in self.models),
            not any(name.lower() in model for name in self.except_models),
            not self.quantizations or case.quantization in self.quantizations,
            case.world >= self.min_world,
            case.nodes >= self.min_nodes,
            self.moe is None or case.moe == self.moe,
            not self.topic or self.topic in case.topics,
            not self.without_topic or self.without_topic not in case.topics,
        )
        return all(checks)

    def _is_version(self, case: LaunchCase) -> bool:
        if not self.since and not self.until:
            return True
        here = version_key(case.version, engine=case.engine)
        if here is None:
            return False
        first = version_key(self.since, engine=case.engine) if self.since else None
        last = version_key(self.until, engine=case.engine) if self.until else None
        return (first is None or first <= here) and (last is None or here <= last)


class FlagRow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A default flag: an intent and its value."""

    intent: str
    value: Any
    why: str
    source: str
    date: str
    when: When = When()


class VariableRow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A variable of the environment. `expires`: the version from which it does nothing, as known at `date`."""

    name: str
    value: str
    why: str
    source: str
    date: str
    link: str = ""
    expires: str = ""
    when: When = When()


class _Flags(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    schema: str
    flag: tuple[FlagRow, ...]


class _Variables(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    schema: str
    variable: tuple[VariableRow, ...]


@cache
def load_flag_rows() -> tuple[FlagRow, ...]:
    """data/launch/flags.toml. Raises BadFactsError."""
    return read_table("launch", "flags", _Flags, _FLAGS_SCHEMA).flag


@cache
def load_variable_rows() -> tuple[VariableRow, ...]:
    """data/launch/variables.toml. Raises BadFactsError."""
    return read_table("launch", "variables", _Variables, _VARIABLES_SCHEMA).variable


def choose_flags(case: LaunchCase) -> tuple[FlagRow, ...]:
    """The default flags of a case; of two rows for one intent the later wins."""
    chosen = {row.intent: row for row in load_flag_rows() if row.when.holds(case)}
    return tuple(chosen.values())


def choose_variables(case: LaunchCase) -> tuple[VariableRow, ...]:
    """The variables of a case, without those that have expired; of two rows for one name the later wins."""
    here = version_key(case.version, engine=case.engine)
    chosen: dict[str, VariableRow] = {}
    for row in load_variable_rows():
        ends = version_key(row.expires, engine=case.engine) if row.expires else None
        expired = ends is not None and here is not None and here >= ends
        if not expired and row.when.holds(case):
            chosen[row.name] = row
    return tuple(chosen.values())
