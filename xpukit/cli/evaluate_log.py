"""`xpukit evaluate --log`: judge what was measured without xpukit."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from xpukit.cli.session import Session
from xpukit.core.errors import UsageError

if TYPE_CHECKING:
    from xpukit.cli.evaluate_csv import CsvWish
    from xpukit.core.machine import Machine
    from xpukit.core.measurement import Target
    from xpukit.evaluate.log import LogSource
    from xpukit.evaluate.reference import Limits
    from xpukit.evaluate.result import Evaluation

# More than any of the tools prints; what never ends (/dev/zero) must not fill the memory.
_LIMIT_BYTES = 256 << 20


def judge_log_files(
    session: Session,
    paths: Sequence[Path],
    *,
    device: Sequence[str],
    strict: bool,
    csv: CsvWish | None,
    suite: str,
    references: Sequence[Path] = (),
) -> Evaluation:
    """Read, judge, print. `device`: at most one PCI id or name. Raises UsageError for a file that cannot be read."""
    from xpukit.core.json_document import build_document, now_utc
    from xpukit.evaluate.link_way import Links
    from xpukit.evaluate.log import judge_logs
    from xpukit.evaluate.log_devices import read_device_id
    from xpukit.evaluate.run import SCHEMA
    from xpukit.facts.reference_layers import load_layers
    from xpukit.facts.suites import load_suite

    if len(device) > 1:
        raise UsageError("--log takes one --device", hint="the PCI id or name to judge by, where the log says none")
    asked_id = read_device_id(device[0]) if device else ""
    sources = [_read_source(path, place, paths) for place, path in enumerate(paths)]
    machine, targets, limits, hostname = _look_at_recording(session)
    evaluation = judge_logs(
        sources,
        rows=load_layers(references, devices=(f"8086:{asked_id}",) if asked_id else ()),
        settings=load_suite(suite).judge,
        strict=strict,
        asked_id=asked_id,
        targets=targets,
        limits=limits,
        links=Links(machine) if machine is not None else None,
        started=now_utc(),
    )
    if machine is not None:
        from xpukit.evaluate.explain import explain

        evaluation = msgspec.structs.replace(evaluation, findings=explain(machine, evaluation.results))
    if csv is not None:
        csv.write(evaluation)
    if session.json:
        session.print_json(build_document(SCHEMA, hostname, evaluation))
    elif csv is None or csv.path is not None:
        from xpukit.cli.evaluate_tables import print_evaluation

        print_evaluation(evaluation, color=session.color, verbose=session.verbose)
    _say_what_was_found(session, evaluation)
    return evaluation


def _read_source(path: Path, place: int, paths: Sequence[Path]) -> LogSource:
    if str(path) == "-":
        if any(str(other) == "-" for other in paths[:place]):
            raise UsageError("--log - was given twice", hint="standard input can be read once")
        return _make_source("standard input", sys.stdin.buffer.read(_LIMIT_BYTES + 1))
    try:
        with path.open("rb") as file:
            raw = file.read(_LIMIT_BYTES + 1)
    except OSError as err:
        raise UsageError(
            f"--log {path}: {err.strerror or err}", hint="name a text file, or - for standard input"
        ) from err
    return _make_source(str(path), raw)


def _make_source(name: str, raw: bytes) -> LogSource:
    from xpukit.evaluate.log import LogSource
    from xpukit.evaluate.log_text import decode_log, find_packing, strip_prefixes

    packed, command = find_packing(raw)
    if packed:
        hint = f"{command} {shlex.quote(name)} | xpukit evaluate --log -"
        raise UsageError(f"--log {name}: is compressed ({packed})", hint=hint)
    if len(raw) > _LIMIT_BYTES:
        raise UsageError(f"--log {name}: longer than {_LIMIT_BYTES >> 20} MiB", hint="give the part that tools printed")
    text, remarks = strip_prefixes(decode_log(raw))
    return LogSource(name=name, text=text, remarks=remarks)


def _look_at_recording(session: Session) -> tuple[Machine | None, tuple[Target, ...], Limits | None, str]:
    """The machine of --from, its GPUs in the order in which the tools count them. A log may be of any machine: without
    --from none is looked at."""
    if session.source is None:
        return None, (), None, ""
    from xpukit.evaluate.limits import gather_limits
    from xpukit.evaluate.targets import list_targets
    from xpukit.probe.machine import probe_machine

    host = session.open_host()
    machine = probe_machine(host)
    gpus = [target for target in list_targets(machine) if target.kind == "gpu"]
    gpus.sort(key=lambda target: (target.level_zero_index or 0, target.tile or 0))
    return machine, tuple(gpus), gather_limits(machine, gpus), host.identity().hostname


def _say_what_was_found(session: Session, evaluation: Evaluation) -> None:
    for job in evaluation.jobs:
        session.say(f"{job.log}: {job.name}" + (f": {job.failure}" if job.failure else ""))
        for note in job.notes if session.verbose else job.notes[:3]:
            session.say(f"  not read: {note}")
        if len(job.notes) > 3 and not session.verbose:
            session.say(f"  and {len(job.notes) - 3} more (-v shows them)")
    if not evaluation.jobs:
        session.warn("no output of a tool that is known was found")
    for kind in ("assumed", "errors_counted", "outside"):
        for remark in evaluation.conditions.get(kind, ()):
            session.say(f"  {remark}")
    if any(device.kind == "gpu" and not device.device_id for device in evaluation.devices):
        session.say(
            "the log does not say which GPU it is of: give --device 8086:e211 (lspci -nn) to judge by references"
        )
