"""What containers that serve models said last."""

from __future__ import annotations

from collections.abc import Iterable
from typing import get_args

from xpukit.core.finding import Finding, Unchecked
from xpukit.doctor.check import Check, Patient
from xpukit.doctor.containers import list_serving
from xpukit.doctor.log_findings import explain_output, list_ids, make_findings
from xpukit.facts.known_errors import SourceKind
from xpukit.host.answers import Ran

_KINDS: tuple[SourceKind, ...] = tuple(kind for kind in get_args(SourceKind) if kind != "kernel")
# The same question as the bundle's.
_LINES = "400"
_TIMEOUT_S = 10.0
_LIMIT_BYTES = 256 << 10
_MOST_CONTAINERS = 8


def look_at_serving_logs(patient: Patient) -> Iterable[Finding | Unchecked]:
    """The last lines of each container that serves, explained."""
    for tool, container in list_serving(patient)[:_MOST_CONTAINERS]:
        argv = [tool, "logs", "--timestamps", "--tail", _LINES, container.id]
        ran = patient.host.run(argv, timeout_s=_TIMEOUT_S, limit_bytes=_LIMIT_BYTES)
        if ran.failure or (ran.rc and not ran.out):
            yield Unchecked(
                check="serving_logs",
                why=f"the log of {container.name} cannot be read: {ran.describe_failure()}",
                remedy="its logging driver may keep no log: docker inspect says which it is",
            )
            continue
        where = f"{tool} logs {container.name}"
        yield from make_findings(explain_output(where, merge_streams(ran), _KINDS), subject=container.name, where=where)


def merge_streams(ran: Ran) -> bytes:
    """Both streams in the order of their time stamps: a traceback lies in one, its context in the other."""
    stamped = [(line.partition(b" ")[0], line) for line in (*ran.out.split(b"\n"), *ran.err.split(b"\n")) if line]
    stamped.sort(key=lambda pair: pair[0])
    return b"".join(line + b"\n" for _, line in stamped)


CHECK = Check(
    name="serving_logs",
    summary="known errors in the last log lines of containers that serve models",
    ids=list_ids(_KINDS),
    look=look_at_serving_logs,
    concerns="machines that serve models in Docker or podman",
    order=890,
)
