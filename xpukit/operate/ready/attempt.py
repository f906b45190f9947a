"""One start of an engine: how far it came, and what its log said."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

import msgspec

from xpukit.facts.readiness import find_level
from xpukit.operate.ready.endpoint import Ask, describe_endpoint
from xpukit.operate.ready.gate import Gate
from xpukit.operate.ready.result import CheckReport, Row
from xpukit.operate.ready.start_log import Progress, Suggestion
from xpukit.operate.ready.wait import Explain, Known, LogWatch, State, wait_ready

_ROWS_SHOWN = 2
_LINES_KEPT = 40
# What a person looks for in a log whose end says nothing: programs say their errors in many words.
_TROUBLE = re.compile(r"\b(?:error|fatal|cannot|could not|unable to|denied|no such|not found)\b|Error\b", re.IGNORECASE)


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """How a start ended. `known`: explained errors of the log; `steps`: what its log told of progress."""

    state: State
    seconds: float
    exit_code: int | None = None
    suggestions: tuple[Suggestion, ...] = ()
    known: tuple[Known, ...] = ()
    steps: tuple[Progress, ...] = ()
    last_line: str = ""

    @property
    def failure(self) -> str:
        """Why it is not ready, "" where it is."""
        if self.state == "ready":
            return ""
        if self.state == "timeout":
            return f"the engine did not answer within {self.seconds:.0f} s"
        worst = min(self.known, key=lambda one: one.severity != "critical", default=None)
        # The title of what is known: its cause and remedy were told when it came.
        why = f"{worst.text.partition(': ')[0]} [{worst.id}]" if worst is not None else self.last_line
        code = f" with exit code {self.exit_code}" if self.exit_code is not None else ""
        return f"the engine ended{code}" + (f": {why}" if why else "")

    def find_step(self, name: str) -> str:
        """What the log told last under that name, "" where it did not."""
        return next((step.text for step in reversed(self.steps) if step.name == name), "")


def await_engine(
    ask: Ask,
    lines: Iterator[str | None],
    *,
    explain: Explain,
    exit_code: Callable[[], int | None],
    limit_s: float | None = None,
    tell: Callable[[Progress], None] = lambda step: None,
    tell_known: Callable[[Known], None] = lambda known: None,
) -> Attempt:
    """Follow the log until the endpoint answers, the engine ends, or the time is over."""
    steps: list[Progress] = []
    said: list[str] = []

    def note(step: Progress) -> None:
        steps.append(step)
        tell(step)

    def pass_on() -> Iterator[str | None]:
        for line in lines:
            if line is not None and line.strip():
                said.append(line)
                del said[:-_LINES_KEPT]
            yield line

    watch = LogWatch(tell=note, explain=explain, tell_known=tell_known)
    found = wait_ready(ask, pass_on(), watch, limit_s=limit_s)
    return Attempt(
        state=found.state,
        seconds=found.seconds,
        exit_code=exit_code(),
        suggestions=found.suggestions,
        known=tuple(watch.known.values()),
        steps=tuple(steps),
        last_line=find_last_line(said),
    )


def find_last_line(lines: Sequence[str]) -> str:
    """The last line that tells of trouble, else the last with something in it."""
    telling = [line.strip() for line in lines if line.strip()]
    wanted = next((line for line in reversed(telling) if _TROUBLE.search(line)), telling[-1] if telling else "")
    return wanted[:300]


def check_quickly(ask: Ask, url: str, *, report: Callable[[Row], None] | None = None) -> CheckReport:
    """The quick gate. Raises what describe_endpoint raises."""
    return Gate(ask, describe_endpoint(ask, url), find_level("quick"), report=report).run()


def describe_failure(rows: Sequence[Row]) -> str:
    """The first failing rows in one line, "" where none fails."""
    failing = [row for row in rows if row.verdict == "fail"]
    said = "; ".join(f"{row.name}: {row.why}" for row in failing[:_ROWS_SHOWN])
    return said + (f"; {len(failing) - _ROWS_SHOWN} more" if len(failing) > _ROWS_SHOWN else "")
