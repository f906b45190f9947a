"""What the forms of a launch rest on beside the plan (data/launch/forms.toml)."""

from __future__ import annotations

from functools import cache

import msgspec

from xpukit.facts.tables import read_table

_SCHEMA = "xpukit.launch-forms/1"


class HealthFact(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where an engine says that it is well. Times in seconds; `start_s`: how long loading may take."""

    path: str
    engines: tuple[str, ...]
    interval_s: int
    timeout_s: int
    retries: int
    start_s: int
    why: str
    source: str


class RayFact(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long a machine waits for the others to join, in seconds; from which version on Ray knows a token, and what
    makes a good one."""

    join_s: int
    poll_s: int
    why: str
    token_since: str
    token_from: str
    token_source: str
    source: str


class StopFact(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long an engine has to end, in seconds."""

    grace_s: int
    why: str
    source: str


class KubernetesRow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What Kubernetes calls a GPU: of the device plugin, and of dynamic resource allocation. `driver` "": any."""

    vendor: str
    driver: str
    resource: str
    device_class: str
    source: str


class QuadletFact(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The [Container] keys that every Quadlet from `since` on knows."""

    keys: tuple[str, ...]
    since: str
    source: str


class LaunchForms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The data file."""

    schema: str
    date: str
    health: HealthFact
    ray: RayFact
    stop: StopFact
    kubernetes: tuple[KubernetesRow, ...]
    quadlet: QuadletFact


@cache
def load_launch_forms() -> LaunchForms:
    """The file, typed. Raises BadFactsError."""
    return read_table("launch", "forms", LaunchForms, _SCHEMA)


def find_kubernetes_row(vendor: str, driver: str) -> KubernetesRow | None:
    """The names for a GPU, None where its driver has none."""
    rows = load_launch_forms().kubernetes
    return next((row for row in rows if row.vendor == vendor and row.driver in ("", driver)), None)
