"""What a rotation sees of a deployment, what it is asked, and what it does (`xpukit.rotation/1`)."""

from __future__ import annotations

from typing import Literal

import msgspec

SCHEMA = "xpukit.rotation/1"
# How the balancer treats it: gives it requests; found it unhealthy; no new requests; taken out by an operator.
Balance = Literal["up", "down", "drain", "maint"]
# "failing": it runs now and then, or ended with an error.
Container = Literal["running", "stopped", "failing", "absent"]
Outcome = Literal["rotated", "failed", "interrupted", "nothing-to-do", "planned"]
Mode = Literal["start-first", "stop-first"]


class SlotState(msgspec.Struct, frozen=True, kw_only=True):
    """A place behind the balancer as it is now.

    `container`: the engine's; `previous`: the one that it replaces, kept until the new one is in (else "absent").
    `age_s`: since the container was created, None where there is none.
    """

    slot: str
    service: str
    balance: Balance
    container: Container
    previous: Container = "absent"
    requests: int = 0
    spare: bool = False
    age_s: float | None = None

    @property
    def half_done(self) -> bool:
        """A rotation ended in its midst: the new engine is there and takes no requests, the old one is kept."""
        return self.container == "running" and self.balance == "maint" and self.previous in ("stopped", "failing")

    @property
    def left_over(self) -> bool:
        """The new engine is in; only the old one was not taken away."""
        return self.container == "running" and self.balance == "up" and self.previous in ("stopped", "failing")

    @property
    def settled(self) -> bool:
        """Nothing of an earlier rotation is left to be done."""
        return self.balance == "up" and (self.previous == "absent" or self.left_over)


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked. `min_healthy` None: see plan_rotation. `only`: these slots or services; `older_than_s` None: all.

    `cut`: what still runs after `drain_s` is ended, where otherwise the rotation ends and the old engine goes on.
    `stop_first`: without the spare engine, where there is one.
    """

    drain_s: float
    start_s: float
    min_healthy: int | None = None
    only: tuple[str, ...] = ()
    older_than_s: float | None = None
    cut: bool = False
    stop_first: bool = False


class RotationPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What will be done: these slots in this order. `why` explains the mode, `skipped` why others are left out."""

    mode: Mode
    why: str
    order: tuple[str, ...]
    min_healthy: int
    spare: str = ""
    skipped: tuple[str, ...] = ()


class StepRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One step that was done, with the time since the rotation began."""

    seconds: float
    slot: str
    step: str
    text: str


class RotationReport(msgspec.Struct, frozen=True, kw_only=True):
    """How it ended. `out_of_service`: slots that took requests before and do not now. `slots`: of a dry run."""

    deployment: str
    outcome: Outcome
    plan: RotationPlan
    rotated: tuple[str, ...]
    steps: tuple[StepRecord, ...]
    seconds: float
    why: str = ""
    out_of_service: tuple[str, ...] = ()
    slots: tuple[SlotState, ...] = ()
