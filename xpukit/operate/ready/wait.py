"""Waits until a starting engine answers, and tells of its progress meanwhile."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import msgspec

from xpukit.facts.readiness import find_limit
from xpukit.operate.ready.endpoint import Ask
from xpukit.operate.ready.read_reply import get, read_json
from xpukit.operate.ready.start_log import Progress, StartLog, Suggestion

# A message that a terminal broke, or whose meaning hangs on earlier lines, is found in its neighbourhood.
_WINDOW_LINES = 200
_BATCH_LINES = 50

State = Literal["ready", "ended", "timeout"]


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """A known error in the log: a stable id and what to say of it."""

    id: str
    severity: str
    text: str


Explain = Callable[[Sequence[str]], Sequence[Known]]


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    """How the waiting ended. `suggestions`: retries that the log itself proposes; `known`: ids of explained errors."""

    state: State
    seconds: float
    suggestions: tuple[Suggestion, ...] = ()
    known: tuple[str, ...] = ()


class LogWatch:
    """Follows a log: tells progress and explains known errors, each once."""

    def __init__(
        self,
        *,
        tell: Callable[[Progress], None] | None = None,
        explain: Explain | None = None,
        tell_known: Callable[[Known], None] | None = None,
    ) -> None:
        self.start = StartLog()
        self.known: dict[str, Known] = {}
        self._tell = tell
        self._explain = explain
        self._tell_known = tell_known
        self._window: deque[str] = deque(maxlen=_WINDOW_LINES)
        self._fresh = 0

    def take(self, line: str) -> None:
        """One line, without its end."""
        for step in self.start.take(line):
            if self._tell is not None:
                self._tell(step)
        self._window.append(line)
        self._fresh += 1
        if self._fresh >= _BATCH_LINES:
            self.flush()

    def flush(self) -> None:
        """Explain what has come: when the log pauses, and when it ends."""
        if not self._fresh or self._explain is None:
            return
        self._fresh = 0
        for known in self._explain(tuple(self._window)):
            if known.id not in self.known:
                self.known[known.id] = known
                if self._tell_known is not None:
                    self._tell_known(known)


def wait_ready(
    ask: Ask,
    lines: Iterator[str | None],
    watch: LogWatch,
    *,
    limit_s: float | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Readiness:
    """Read the log until the endpoint answers, the log ends, or the time is over.

    `lines` gives None now and then while nothing comes, so that the endpoint is asked meanwhile.
    """
    began = clock()
    limit = limit_s if limit_s is not None else find_limit("ready_s")
    pause = find_limit("health_s")
    asked = float("-inf")
    state: State = "ended"
    for line in lines:
        if line is None:
            watch.flush()
        else:
            watch.take(line)
        now = clock()
        if now - asked >= pause:
            ready = is_ready(ask)
            asked = clock()
            if ready:
                state = "ready"
                _catch_up(lines, watch, clock)
                break
        if now - began > limit:
            state = "timeout"
            break
    watch.flush()
    return Readiness(
        state=state, seconds=clock() - began, suggestions=watch.start.suggestions, known=tuple(watch.known)
    )


def _catch_up(lines: Iterator[str | None], watch: LogWatch, clock: Callable[[], float]) -> None:
    """Take what the log said before the answer came, so that it is told first."""
    until = clock() + find_limit("health_s")
    for line in lines:
        if line is None:
            return
        watch.take(line)
        if clock() > until:
            return


def is_ready(ask: Ask) -> bool:
    """Whether it is healthy by its own word and names a model. A key that is missing is not the engine's fault."""
    timeout_s = find_limit("health_s")
    health = ask("GET", "/health", timeout_s=timeout_s)
    if health.trouble or health.status >= 500:
        return False
    models = ask("GET", "/v1/models", timeout_s=timeout_s)
    if models.trouble:
        return False
    return models.status in (401, 403) or (models.status == 200 and bool(get(read_json(models.body), "data")))
