"""What a benchmark file offers the suite."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from xpukit.core.measurement import Job, Method, ParsedOutput, Skip, Target
from xpukit.host import Host
from xpukit.host.answers import Ran


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """What to plan for: the devices, the suite's settings for this benchmark, the method, NUMA nodes, the machine."""

    targets: tuple[Target, ...]
    settings: dict[str, Any]
    method: Method
    host: Host
    numa_nodes: tuple[tuple[int, str], ...] = ()  # (node, CPU list this process may use there)
    memory_bytes: int | None = None  # main memory available


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Jobs to run, and rows that cannot apply here."""

    jobs: tuple[Job, ...] = ()
    skips: tuple[Skip, ...] = ()


class Benchmark(msgspec.Struct, frozen=True, kw_only=True):
    """One benchmark: `plan` is pure given its scope (it may ask the host what is installed), `parse` is pure.

    `rows` is the benchmark name that its results carry, where another engine measures the same thing ("p2p" for
    ze_peer): rows of all engines compare. `settings_of` names the suite's table it reads. `available` says why it
    cannot run here, "" when it can. `claims` names what a job needs for itself (cards, NUMA nodes): jobs that have none
    in common run side by side. None: each runs alone.
    """

    name: str
    summary: str
    engine: str
    plan: Callable[[Scope], Plan]
    parse: Callable[[Job, Ran], ParsedOutput]
    order: int = 100
    rows: str = ""
    settings_of: str = ""
    available: Callable[[Host], str] | None = None
    claims: Callable[[Job, Scope], frozenset[str]] | None = None

    @property
    def row_name(self) -> str:
        return self.rows or self.name

    @property
    def table(self) -> str:
        """The table of a suite that holds its settings."""
        return self.settings_of or self.row_name
