"""What goes between the suite and a worker: one request on standard input, one JSON line per event back."""

from __future__ import annotations

import base64
import sys
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from xpukit.core.json_document import BAD_JSON
from xpukit.core.measurement import Job, Measurement, Method, MetricKey, ParsedOutput, Promise, Target
from xpukit.host.answers import Ran

WORKER_MODULE = "xpukit.evaluate.embedded.worker"


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker is to measure. `params` belongs to the kind."""

    kind: str
    targets: tuple[Target, ...]
    method: Method = Method()
    params: dict[str, Any] = {}


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """A worker's line: a measurement, a reason why a promised metric will not come or cannot exist on this device, a
    note, why it gives up, or the end."""

    event: Literal["measurement", "missing", "impossible", "note", "failed", "done"]
    measurement: Measurement | None = None
    key: MetricKey | None = None
    text: str = ""
    measuring_s: float | None = None
    timing_us: float | None = None


def _find_ourselves() -> dict[str, str]:
    """What a worker needs to import us: nothing when we are installed, the tree when we run from a checkout."""
    root = Path(__file__).resolve().parents[3]
    return {} if root.name in ("site-packages", "dist-packages") else {"PYTHONPATH": str(root)}


def build_job(
    *,
    benchmark: str,
    name: str,
    request: Request,
    promises: Sequence[Promise],
    estimate_s: float,
    env: Mapping[str, str],
    launcher: Sequence[str] = (),
) -> Job:
    """A job that runs a worker (behind `launcher`, e.g. mpiexec, where it needs one) on `request`.

    The watchdog is generous against the estimate: its purpose is to end hangs, not slow devices.
    """
    payload = msgspec.json.encode(request)
    return Job(
        benchmark=benchmark,
        name=name,
        argv=(*launcher, sys.executable, "-m", WORKER_MODULE),
        promises=tuple(promises),
        timeout_s=max(30.0, 6 * estimate_s),
        estimate_s=estimate_s,
        env={**_find_ourselves(), **env},
        input=payload,
        targets=tuple(target.label for target in request.targets),
    )


def parse_worker_output(job: Job, ran: Ran) -> ParsedOutput:
    """Read a worker's lines. Lines that are not ours (a library's chatter) are passed over."""
    measurements: list[Measurement] = []
    reasons: list[tuple[MetricKey, str]] = []
    impossible: list[tuple[MetricKey, str]] = []
    notes: list[str] = []
    done = False
    said = ""
    measuring_s: float | None = None
    timing_us: float | None = None
    decoder = msgspec.json.Decoder(Event)
    for raw in ran.out.split(b"\n"):
        start = raw.find(b'{"event":')  # a library may have written on the same line before us
        if start < 0:
            continue
        try:
            event = decoder.decode(raw[start:])
        except BAD_JSON:
            continue
        if event.event == "measurement" and event.measurement is not None:
            measurements.append(event.measurement)
        elif event.event == "missing" and event.key is not None:
            reasons.append((event.key, event.text))
        elif event.event == "impossible" and event.key is not None:
            impossible.append((event.key, event.text))
        elif event.event == "note":
            notes.append(event.text)
        elif event.event == "failed":
            said = event.text
        elif event.event == "done":
            done = True
            measuring_s, timing_us = event.measuring_s, event.timing_us
    problem = said
    if not problem and not (ran.ok and done):
        problem = "the worker ended early" if ran.ok else _explain_end(ran)
    return ParsedOutput(
        measurements=tuple(measurements),
        reasons=tuple(reasons),
        impossible=tuple(impossible),
        notes=tuple(notes),
        problem=problem,
        measuring_s=measuring_s,
        timing_us=timing_us,
    )


def _explain_end(ran: Ran) -> str:
    """Why a worker ended, without its (long) command line; the command is in the job's record and log."""
    last = (ran.err_text.strip().splitlines() or [""])[-1].strip()[:300]
    if ran.failure == "timeout":
        return f"the worker hung and was stopped after {ran.seconds:.0f} s"
    if ran.failure.startswith("signal:"):
        return f"the worker crashed (signal {ran.failure.removeprefix('signal:')})" + (f": {last}" if last else "")
    if ran.failure:
        return f"the worker could not be started: {ran.failure}" + (f" ({last})" if last else "")
    return f"the worker failed (exit {ran.rc})" + (f": {last}" if last else "")


def pack_request(request: bytes) -> str:
    """The request as one word of a command line, for launchers that give their input to one rank only."""
    return base64.b64encode(zlib.compress(request, 9)).decode()


def unpack_request(word: str) -> bytes:
    """What `pack_request` was given."""
    return zlib.decompress(base64.b64decode(word))
