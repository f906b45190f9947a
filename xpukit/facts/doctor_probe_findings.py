"""Why findings of `xpukit probe` matter: data/doctor/probe_findings.toml."""

from __future__ import annotations

from functools import cache

import msgspec

from xpukit.facts.doctor_tables import load_table


class ProbeFindingFacts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`ids`: whole ids, or beginnings that end in "-"."""

    ids: tuple[str, ...]
    explanation: str
    links: tuple[str, ...]
    concerns: str

    def covers(self, id_: str) -> bool:
        return any(id_ == known or (known.endswith("-") and id_.startswith(known)) for known in self.ids)


class ProbeFindingFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file."""

    schema: str
    date: str
    finding: tuple[ProbeFindingFacts, ...]


@cache
def load_probe_findings() -> tuple[ProbeFindingFacts, ...]:
    """The rows. Raises BadFactsError."""
    return load_table("probe_findings", ProbeFindingFile).finding
