"""What `install apply` and `undo` say while they work, on standard error."""

from __future__ import annotations

import sys

from xpukit.cli.session import Session
from xpukit.install.reporter import Reporter
from xpukit.install.step import Step, StepPlan


class SpokenReporter(Reporter):
    """A line for each step and change; with -v the output of the commands too."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def say(self, text: str) -> None:
        self._session.say(text)

    def begin_step(self, step: Step, plan: StepPlan) -> None:
        if plan.blocked:
            return
        for finding in plan.findings:
            if finding.severity != "info":
                self._session.say(f"{step.name}: {finding.severity}: {finding.summary}")
        for item in plan.unchecked:
            self._session.say(f"{step.name}: not known: {item.why}")
        if plan.unchecked and not plan.changes:
            return
        count = len(plan.changes)
        self._session.say(
            f"{step.name}: {f'{count} changes' if count > 1 else '1 change' if count else 'nothing to do'}"
        )

    def begin_change(self, text: str) -> None:
        self._session.say(f"  {text} …")

    def finish_change(self, text: str, seconds: float) -> None:
        self._session.say(f"  done in {seconds:.1f} s")

    def hear_line(self, line: str) -> None:
        # apt says itself when it waits, and for whom; on a terminal one wants to see that it goes on.
        shown = ("Waiting for cache lock", *(("Unpacking ", "Setting up ") if sys.stderr.isatty() else ()))
        if self._session.verbose or line.startswith(shown):
            self._session.say(f"    {line}")
