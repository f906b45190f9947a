"""The rotation itself: one engine after another, each new one judged before it gets requests.

Nothing is remembered between two runs: what is to be done follows from what the balancer and the containers say.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from xpukit.core.errors import ExternalError
from xpukit.facts.rotation import find_rotation_limit
from xpukit.operate.rotate.site import Site
from xpukit.operate.rotate.state import Outcome, Policy, RotationPlan, RotationReport, SlotState, StepRecord


class _Failed(Exception):
    """The rotation ends here."""


class _Rotation:
    def __init__(self, site: Site, plan: RotationPlan, policy: Policy, tell: Callable[[StepRecord], None]) -> None:
        self._site = site
        self._plan = plan
        self._policy = policy
        self._tell = tell
        self._began = site.now()
        self._poll_s = find_rotation_limit("poll_s")
        self.steps: list[StepRecord] = []
        self.rotated: list[str] = []
        self.spare_runs = False
        # Slots that took requests when it began, or that this rotation started.
        self.serving = {one.slot for one in site.read() if one.balance == "up" and not one.spare}

    def run(self) -> None:
        if self._plan.order and (why := self._site.find_obstacle()):
            raise _Failed(f"nothing was touched: {why}")
        for state in self._site.read():
            if state.left_over:
                self._say(state.slot, "tidy", "an earlier rotation ended here: the engine it replaced is taken away")
                self._site.drop_previous(state.slot)
        if self._plan.spare:
            self._start_spare()
            self.spare_runs = True
        for slot in self._plan.order:
            self._replace(slot)
            self.rotated.append(slot)
        if self._plan.spare:
            self.retire_spare()

    def seconds(self) -> float:
        return round(self._site.now() - self._began, 3)

    def list_lost(self) -> tuple[str, ...]:
        """Slots that took requests before and do not now."""
        now = {one.slot for one in self._site.read() if one.balance == "up"}
        return tuple(sorted(self.serving - now))

    # One slot

    def _replace(self, slot: str) -> None:
        state = self._find(slot)
        if state.half_done:
            self._say(slot, "resume", "an earlier rotation started a new engine here and kept the old one")
        else:
            self._require_healthy(slot)
            if state.balance in ("up", "drain"):
                self._drain(slot)
            self._make_new(slot, state)
        self._let_in(slot)

    def _make_new(self, slot: str, state: SlotState) -> None:
        """Take the old engine out and start a new one. Until the first is stopped, an interruption changes nothing."""
        try:
            self._site.set_state(slot, "maint")
            if state.previous == "absent" and state.container != "absent":
                self._site.park(slot)
        except BaseException:
            self._give_back(slot, state)
            raise
        self._say(slot, "start", "the old engine is stopped, a new one started")
        try:
            self._site.recreate(slot)
        except ExternalError as err:
            self._go_back(slot, f"no new engine could be started: {err.message}")

    def _let_in(self, slot: str) -> None:
        """Wait, judge, enable. The old engine comes back where the new one is not right."""
        try:
            why = self._site.wait_answer(slot, self._policy.start_s)
            if not why:
                self._say(slot, "gate", "the new engine answers; its answers are judged")
                why = self._site.gate(slot) or self._admit(slot)
        except ExternalError as err:
            why = err.message
        if why:
            self._go_back(slot, why)
        with contextlib.suppress(ExternalError):  # it costs a stopped container; the next rotation takes it away
            self._site.drop_previous(slot)

    def _admit(self, slot: str) -> str:
        """Give it requests; why the balancer does not, "" when it does."""
        self._site.admit(slot)
        until = self._site.now() + find_rotation_limit("admit_s")
        while self._find(slot).balance != "up":
            if self._site.now() >= until:
                return "it answers, but the balancer does not see it as healthy"
            self._site.sleep(self._poll_s)
        self._say(slot, "enable", "the balancer gives it requests")
        return ""

    def _go_back(self, slot: str, why: str) -> None:
        """The old engine again, then the end of the rotation. Raises _Failed in any case."""
        self._say(slot, "failed", why)
        if self._find(slot).previous == "absent":
            raise _Failed(f"{slot}: {why}; there is no earlier engine to go back to")
        self._say(slot, "go-back", "the old engine is started again")
        try:
            self._site.bring_back(slot)
            late = self._site.wait_answer(slot, self._policy.start_s) or self._admit(slot)
        except ExternalError as err:
            raise _Failed(f"{slot}: {why}; the old engine could not be brought back: {err.message}") from err
        if late:
            raise _Failed(f"{slot}: {why}; the old engine does not serve again: {late}")
        raise _Failed(f"{slot}: {why}; the old engine serves again")

    # Draining

    def _drain(self, slot: str) -> None:
        """No new requests, and wait until it has none. An engine that does not get idle in time stays as it was."""
        before = self._find(slot)
        try:
            self._site.set_state(slot, "drain")
            self._say(slot, "drain", f"no new requests; {self._site.count_requests(slot).text} run")
            left = self._wait_idle(slot)
        except BaseException:
            self._give_back(slot, before)
            raise
        if left and not self._policy.cut:
            self._give_back(slot, before)
            raise _Failed(f"{slot}: after {self._policy.drain_s:.0f} s requests still run ({left}); it serves on")
        if left:
            self._say(slot, "cut", f"after {self._policy.drain_s:.0f} s these are ended: {left}")

    def _wait_idle(self, slot: str) -> str:
        """What it still has when the time is over, "" once it has no requests."""
        until = self._site.now() + self._policy.drain_s
        idle_before = False
        while True:
            try:
                load = self._site.count_requests(slot)
            except ExternalError:
                load = None
            # Twice: the balancer may have handed on a request between the two counts of one look.
            if load is not None and load.idle and idle_before:
                return ""
            idle_before = load is not None and load.idle
            if self._site.now() >= until:
                return load.text if load is not None else "nobody says how many"
            self._site.sleep(self._poll_s)

    def _give_back(self, slot: str, before: SlotState) -> None:
        """The slot takes requests again, if it did."""
        if before.balance == "up":
            with contextlib.suppress(ExternalError):
                self._site.set_state(slot, "ready")
                self._say(slot, "undo", "it takes requests again")

    # Others

    def _require_healthy(self, slot: str) -> None:
        """Wait until enough others are healthy. Raises _Failed."""
        until = self._site.now() + find_rotation_limit("healthy_s")
        while True:
            others = [one for one in self._site.read() if one.slot != slot and one.balance == "up"]
            if len(others) >= self._plan.min_healthy:
                return
            if self._site.now() >= until:
                raise _Failed(
                    f"{slot}: it is left as it is: only {len(others)} others are healthy, "
                    f"{self._plan.min_healthy} have to be"
                )
            self._site.sleep(self._poll_s)

    def _start_spare(self) -> None:
        slot = self._plan.spare
        state = self._find(slot)
        if state.container == "running" and state.balance == "up":
            self._say(slot, "resume", "the spare engine runs already")
            return
        self._say(slot, "start", "the spare engine is started")
        self._site.set_state(slot, "maint")
        try:
            self._site.recreate(slot)
            why = self._site.wait_answer(slot, self._policy.start_s) or self._site.gate(slot) or self._admit(slot)
        except ExternalError as err:
            why = err.message
        if why:
            with contextlib.suppress(ExternalError):
                self._site.set_state(slot, "maint")
                self._site.stop(slot)
            raise _Failed(f"{slot}: the spare engine is not right, nothing was replaced: {why}")

    def retire_spare(self) -> None:
        """Drain and stop the spare engine, unless it is needed."""
        slot = self._plan.spare
        states = self._site.read()
        replicas = [one for one in states if not one.spare]
        if sum(one.balance == "up" for one in replicas) < len(replicas):
            self._say(slot, "kept", "the spare engine goes on: another one takes no requests")
            return
        self._drain(slot)
        self._site.set_state(slot, "maint")
        self._site.stop(slot)
        self._say(slot, "stop", "the spare engine waits again")

    def _find(self, slot: str) -> SlotState:
        return next(one for one in self._site.read() if one.slot == slot)

    def _say(self, slot: str, step: str, text: str) -> None:
        record = StepRecord(seconds=self.seconds(), slot=slot, step=step, text=text)
        self.steps.append(record)
        self._tell(record)


def run_rotation(
    site: Site, plan: RotationPlan, policy: Policy, *, deployment: str, tell: Callable[[StepRecord], None]
) -> RotationReport:
    """Do what was planned. Ctrl-C, a failure of Docker or of the balancer end it as a report, not as an exception."""
    rotation = _Rotation(site, plan, policy, tell)
    outcome: Outcome = "rotated" if plan.order else "nothing-to-do"
    why = ""
    try:
        rotation.run()
    except _Failed as err:
        outcome, why = "failed", str(err)
    except ExternalError as err:
        outcome, why = "failed", err.message
    except KeyboardInterrupt:
        outcome, why = "interrupted", "stopped by a signal"
    lost: tuple[str, ...] = ()
    if outcome == "failed" and rotation.spare_runs:
        with contextlib.suppress(_Failed, ExternalError, KeyboardInterrupt):
            rotation.retire_spare()
    with contextlib.suppress(ExternalError):
        lost = rotation.list_lost()
    return RotationReport(
        deployment=deployment,
        outcome=outcome,
        plan=plan,
        rotated=tuple(rotation.rotated),
        steps=tuple(rotation.steps),
        seconds=rotation.seconds(),
        why=why,
        out_of_service=lost,
    )
