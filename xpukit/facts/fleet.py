"""What several machines need of each other (data/fleet/preflight.toml)."""

from __future__ import annotations

from functools import cache
from typing import Literal

import msgspec

from xpukit.facts.tables import read_table

_SCHEMA = "xpukit.fleet-preflight-facts/1"


class PortFact(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A port that must be reached between machines; `in_swarm`: Docker's own once there is a swarm."""

    form: str
    number: int
    protocol: Literal["tcp", "udp"]
    in_swarm: bool
    why: str
    source: str


class PreflightLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bytes, seconds, Gbit/s. `transfer_*` bound the transfer that is measured."""

    overlay_bytes: int
    overlay_source: str
    clock_warn_s: float
    clock_fail_s: float
    clock_source: str
    bandwidth_warn_gbits: float
    bandwidth_source: str
    transfer_bytes: int
    transfer_s: float


class PreflightFacts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The data file."""

    schema: str
    date: str
    port: tuple[PortFact, ...]
    limits: PreflightLimits


@cache
def load_preflight_facts() -> PreflightFacts:
    """The file, typed. Raises BadFactsError."""
    return read_table("fleet", "preflight", PreflightFacts, _SCHEMA)
