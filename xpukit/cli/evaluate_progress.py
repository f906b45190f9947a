"""What a run shows while it runs: a live line on a terminal, plain lines elsewhere; always on standard error."""

from __future__ import annotations

import math
import sys
import threading
import time
from types import TracebackType

from xpukit.cli.session import Session
from xpukit.core.units import format_seconds
from xpukit.evaluate.run_directory import JobOutcome


class TerminalObserver:
    """Follows an Evaluator."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._live = sys.stderr.isatty()
        self._jobs = 0
        self._estimate_s = 0.0
        self._done_s = 0.0
        self._begun = time.monotonic()
        self._current: dict[int, tuple[str, float, float]] = {}
        self._stop = threading.Event()
        self._ticker: threading.Thread | None = None

    def __enter__(self) -> TerminalObserver:
        if self._live:
            self._ticker = threading.Thread(target=self._tick, daemon=True, name="xpukit-progress")
            self._ticker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._ticker is not None:
            self._ticker.join(timeout=1)
            self._clear()

    def planned(self, jobs: int, estimate_s: float) -> None:
        self._jobs = jobs
        self._estimate_s = estimate_s
        about = describe_minutes(estimate_s)
        self._session.say(f"{jobs} jobs, {about} (an estimate); Ctrl-C keeps what is done")

    def noticed(self, text: str) -> None:
        if self._live:
            self._clear()
        self._session.warn(text)

    def job_started(self, position: int, name: str, estimate_s: float) -> None:
        self._current[position] = (name, estimate_s, time.monotonic())
        if not self._live:
            self._session.say(f"[{position}/{self._jobs}] {name} (about {format_seconds(estimate_s)})")

    def job_finished(self, position: int, outcome: JobOutcome, *, resumed: bool) -> None:
        current = self._current.pop(position, None)
        # Of jobs that run side by side the last one ends the wait.
        self._done_s += current[1] if current and not self._current else 0.0
        record = outcome.record
        state = "kept from before" if resumed else format_seconds(record.seconds)
        line = f"[{position}/{self._jobs}] {record.name}: {len(outcome.measurements)} metrics, {state}"
        if record.failure:
            line += f"; {record.failure} (see {record.log})"
        if self._live:
            self._clear()
        self._session.say(line)
        if self._session.verbose:
            for note in record.notes:
                self._session.say(f"    {note}")

    def _tick(self) -> None:
        while not self._stop.wait(0.25):
            running = sorted(self._current.items())
            if not running:
                continue
            position, (name, estimate_s, started) = running[0]
            more = f" and {len(running) - 1} beside it" if len(running) > 1 else ""
            spent = time.monotonic() - started
            share = (self._done_s + min(spent, estimate_s)) / max(self._estimate_s, 0.1)
            bar = "#" * int(20 * min(1.0, share))
            clock = f"{format_seconds(spent)} of ~{format_seconds(estimate_s)}"
            text = f"[{bar:<20}] {position}/{self._jobs} {name}{more} {clock}"
            sys.stderr.write("\r\033[K" + text[:150])
            sys.stderr.flush()

    def _clear(self) -> None:
        sys.stderr.write("\r\033[K")
        sys.stderr.flush()


def describe_minutes(seconds: float) -> str:
    """'about 2 min', below a minute in seconds."""
    return f"about {format_seconds(seconds)}" if seconds < 60 else f"about {math.ceil(seconds / 60)} min"
