"""Which findings of the doctor a step of `xpukit install` puts right: data/doctor/install_steps.toml."""

from __future__ import annotations

from functools import cache

import msgspec

from xpukit.facts.doctor_tables import load_table


class InstallStepFacts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`step`: a package or option of a stack, "groups", "kernel" or "firmware"; `ids`: findings that it puts right."""

    step: str
    ids: tuple[str, ...]
    source: str


class InstallStepFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file."""

    schema: str
    date: str
    step: tuple[InstallStepFacts, ...]


@cache
def load_install_steps() -> dict[str, str]:
    """Id of a finding -> step. Raises BadFactsError."""
    return {id_: row.step for row in load_table("install_steps", InstallStepFile).step for id_ in row.ids}
