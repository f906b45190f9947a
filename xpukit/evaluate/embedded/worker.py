"""`python -m xpukit.evaluate.embedded.worker`: measures what the request asks for: one word, or standard input.

Each kind is a module in `kinds/` with `measure(request, emit) -> None`. Results go to the real standard output;
what libraries print goes to standard error, so that it cannot garble them.
"""

from __future__ import annotations

import importlib
import os
import re
import statistics
import sys
import time
import traceback
from collections.abc import Callable

import msgspec

from xpukit.core.errors import XpukitError
from xpukit.core.json_document import BAD_JSON
from xpukit.core.measurement import Measurement, MetricKey
from xpukit.evaluate.embedded.protocol import Event, Request, unpack_request


class Emitter:
    """Writes events, one line each, whole: several ranks may share one pipe."""

    def __init__(self, handle: int) -> None:
        self._handle = handle

    def _write(self, event: Event) -> None:
        os.write(self._handle, msgspec.json.encode(event) + b"\n")

    def measured(self, measurement: Measurement) -> None:
        self._write(Event(event="measurement", measurement=measurement))

    def missing(self, key: MetricKey, reason: str) -> None:
        self._write(Event(event="missing", key=key, text=reason))

    def impossible(self, key: MetricKey, reason: str) -> None:
        self._write(Event(event="impossible", key=key, text=reason))

    def note(self, text: str) -> None:
        self._write(Event(event="note", text=text))

    def failed(self, reason: str) -> None:
        self._write(Event(event="failed", text=reason))

    def done(self, *, measuring_s: float, timing_us: float) -> None:
        self._write(Event(event="done", measuring_s=measuring_s, timing_us=timing_us))


Measure = Callable[[Request, Emitter], None]


def load_kind(name: str) -> Measure:
    """The measuring function of a kind. Raises ValueError for a name that no file has."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise ValueError(f"not a kind of measurement: {name!r}")
    try:
        module = importlib.import_module(f"xpukit.evaluate.embedded.kinds.{name}")
    except ModuleNotFoundError as err:
        raise ValueError(f"no such kind of measurement: {name!r} ({err})") from err
    measure: Measure = module.measure
    return measure


def time_nothing() -> float:
    """What one timing costs when there is nothing to time, in us: the harness's own share of each sample."""

    def run(count: int) -> float:
        started = time.perf_counter()
        return time.perf_counter() - started

    return statistics.median(run(1) for _ in range(1000)) * 1e6


def main() -> int:
    """Serve one request. Exit 0 when it was served to its end, 2 for a bad request, 3 when it gave up."""
    real_out = os.dup(1)
    os.dup2(2, 1)
    try:
        request = msgspec.json.decode(
            unpack_request(sys.argv[1]) if len(sys.argv) > 1 else sys.stdin.buffer.read(), type=Request
        )
        measure = load_kind(request.kind)
    except BAD_JSON as err:
        print(f"bad request: {err}", file=sys.stderr)
        return 2
    emitter = Emitter(real_out)
    begun = time.perf_counter()
    try:
        measure(request, emitter)
    except ModuleNotFoundError as err:
        emitter.failed(f"{err.name} is not installed (extra 'embedded'; ./scripts/xpukit evaluate installs it)")
        return 3
    except XpukitError as err:
        emitter.failed(err.message + (f"; next: {err.hint}" if err.hint else ""))
        return 3
    except Exception as err:  # whatever a vendor library throws costs this job's rows, with its words
        traceback.print_exc()
        emitter.failed(f"{type(err).__name__}: {err}")
        return 3
    emitter.done(measuring_s=round(time.perf_counter() - begun, 3), timing_us=round(time_nothing(), 3))
    return 0


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    # Vendor libraries' exit handlers may crash or hang after a good run: leave without them.
    os._exit(code)
