"""Environment variables that do harm or nothing (data/doctor/environment.toml)."""

from __future__ import annotations

from functools import cache
from typing import Literal

import msgspec

from xpukit.facts.doctor_tables import load_table

Kind = Literal["outdated", "harmful", "measuring"]


class KnownVariable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A variable, for which values and where it matters. `p2p` False: only in virtual machines."""

    name: str
    kind: Kind
    summary: str
    source: str
    link: str
    date: str
    instead: str = ""
    values: tuple[str, ...] = ()
    with_software: str = ""
    since: str = ""
    p2p: bool | None = None


class VariableFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    schema: str
    date: str
    variable: tuple[KnownVariable, ...]


@cache
def load_variables() -> tuple[KnownVariable, ...]:
    """All rows. Raises BadFactsError."""
    return load_table("environment", VariableFile).variable
