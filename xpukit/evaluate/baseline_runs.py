"""Runs to record from: results.json whole, and probe.json beside it where there is one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from xpukit.core.errors import UsageError
from xpukit.core.json_document import BAD_JSON
from xpukit.core.machine import Machine
from xpukit.evaluate.compare_inputs import SCHEMA, find_runs
from xpukit.evaluate.result import Evaluation

PROBE_SCHEMA = "xpukit.probe/1"


class _Envelope(msgspec.Struct, frozen=True):
    """What stands around a document's body."""

    schema: str
    host: str = ""
    created: str = ""
    xpukit_version: str = ""


class RecordedRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run; `machine` None: there is no readable probe.json beside its results."""

    label: str
    host: str
    created: str
    xpukit_version: str
    evaluation: Evaluation
    machine: Machine | None


def load_runs(paths: Sequence[Path]) -> tuple[RecordedRun, ...]:
    """Read the runs that the paths mean (as `compare` does). Raises UsageError for one that cannot be read."""
    return tuple(_load_run(found.path, found.label) for found in find_runs(paths))


def _load_run(path: Path, label: str) -> RecordedRun:
    try:
        raw = path.read_bytes()
        envelope = msgspec.json.decode(raw, type=_Envelope)
        if envelope.schema != SCHEMA:
            raise UsageError(f"{path}: its schema is {envelope.schema!r}, not {SCHEMA!r}", hint="leave it out")
        evaluation = msgspec.json.decode(raw, type=Evaluation)
    except (OSError, *BAD_JSON) as err:
        raise UsageError(f"{path}: not a results document: {err}", hint="give runs of xpukit evaluate") from err
    return RecordedRun(
        label=label,
        host=envelope.host,
        created=envelope.created,
        xpukit_version=envelope.xpukit_version,
        evaluation=evaluation,
        machine=_load_machine(path.with_name("probe.json")),
    )


def _load_machine(path: Path) -> Machine | None:
    try:
        raw = path.read_bytes()
        if msgspec.json.decode(raw, type=_Envelope).schema != PROBE_SCHEMA:
            return None
        return msgspec.json.decode(raw, type=Machine)
    except (OSError, *BAD_JSON):
        return None
