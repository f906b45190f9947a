"""What became of the hosts of a fleet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from xpukit.core.errors import ExitCode

Status = Literal["done", "lost", "failed", "missing"]


class HostRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A host. `done`: its document is there, whatever it says; `lost`: the host went away or never came; `failed`: it
    answered, but not with a document; `missing`: not asked yet. `rc`: xpukit's exit code there."""

    host: str
    status: Status
    address: str = ""
    rc: int | None = None
    verdict: str = ""
    why: str = ""
    seconds: float = 0.0
    ended: str = ""
    files: tuple[str, ...] = ()


class FleetReport(msgspec.Struct, frozen=True, kw_only=True):
    """The body of `xpukit.fleet/1`. `engine`: what spread the work."""

    command: str
    directory: str
    engine: str
    counts: dict[str, int]
    hosts: tuple[HostRecord, ...]
    complete: bool


def count_statuses(records: Sequence[HostRecord]) -> dict[str, int]:
    """How many hosts there are of each status."""
    counts: dict[str, int] = {}
    for record in records:
        counts[record.status] = counts.get(record.status, 0) + 1
    return counts


def decide_exit(records: Sequence[HostRecord]) -> ExitCode:
    """1 when a host was found failing, 3 when one could not be checked, else 0."""
    if any(record.status == "done" and record.rc == ExitCode.JUDGED_FAILING for record in records):
        return ExitCode.JUDGED_FAILING
    if any(record.status != "done" or record.rc for record in records):
        return ExitCode.COULD_NOT_JUDGE
    return ExitCode.OK
