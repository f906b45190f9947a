"""What apply and undo say while they work; the command line prints it."""

from __future__ import annotations

from xpukit.install.step import Step, StepPlan


class Reporter:
    """Hears everything and says nothing: the base of those that speak."""

    def say(self, text: str) -> None:
        """Something that a person should see now (waiting for a lock)."""

    def begin_step(self, step: Step, plan: StepPlan) -> None:
        """A step was planned and starts, or has nothing to do."""

    def begin_change(self, text: str) -> None:
        """A change starts."""

    def finish_change(self, text: str, seconds: float) -> None:
        """It was made and seen."""

    def hear_line(self, line: str) -> None:
        """A line of a command's output."""
