"""`serve --run` of several engines behind HAProxy: each gets requests only once its answers were judged."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from xpukit.cli.serve_options import ServeOptions
from xpukit.cli.serve_ready import ReadyWatch, explain_lines
from xpukit.cli.session import Session
from xpukit.core.errors import ExternalError

if TYPE_CHECKING:
    from xpukit.operate.rotate.compose_site import ComposeSite
    from xpukit.operate.rotate.deployment import Slot
    from xpukit.serve.plan_types import Plan

_START = """if docker compose version >/dev/null 2>&1; then exec docker compose -f "$0" up -d --no-deps balancer; fi
exec docker-compose -f "$0" up -d --no-deps balancer"""


def is_behind_balancer(plan: Plan, options: ServeOptions) -> bool:
    """Whether the form that was asked for puts a balancer in front of this plan's engines."""
    from xpukit.serve.forms import FormOptions, find_form
    from xpukit.serve.forms.balancer import is_balanced

    return find_form(options.form).NAME == "compose" and is_balanced(plan, FormOptions(balance=options.balance))


def find_balancer_image(options: ServeOptions) -> str:
    """The image of HAProxy that the file names."""
    from xpukit.serve.forms.balancer import default_image

    return options.balancer_image or default_image()


class BalancedWatch(ReadyWatch):
    """Waits for each engine at its own address, judges it, and lets HAProxy give it requests."""

    def __init__(self, session: Session, plan: Plan, name: str) -> None:
        super().__init__(session, plan)
        self._name = name
        self._site: ComposeSite | None = None
        self._slots: tuple[Slot, ...] = ()

    def hold_back(self, file: str) -> None:
        """Start the balancer alone and take all engines out, before one is there. Raises ExternalError."""
        from xpukit.host.docker_daemon import DockerDaemon
        from xpukit.host.foreground import run_foreground
        from xpukit.operate.rotate.compose_site import ComposeSite
        from xpukit.operate.rotate.deployment import LABEL, find_deployment

        daemon = DockerDaemon()
        daemon.require()
        if run_foreground(("bash", "-c", _START, file)):
            raise ExternalError("the balancer could not be started", hint="docker logs of it says why")
        deployed = find_deployment(self._name, daemon.list_containers(label=LABEL))
        self._site = ComposeSite(self._session.open_host(), daemon, deployed, key=self._key)
        self._site.await_balancer()
        self._slots = tuple(one for one in deployed.slots if not one.spare)
        for slot in deployed.slots:
            self._site.set_state(slot.slot, "maint")

    def follow(self, lines: Iterator[str | None]) -> None:
        """Each engine gets requests as soon as it is right; one that is not stays out, and the others serve."""
        from xpukit.facts.readiness import find_limit
        from xpukit.operate.ready.wait import LogWatch, is_ready

        if self._site is None:
            return
        say = self._session.say
        watch = LogWatch(
            tell=lambda step: say(f"xpukit: {step.text}"), explain=explain_lines, tell_known=self._tell_known
        )
        began = time.monotonic()
        asked = float("-inf")
        pending = {slot: self._site.ask_later(slot.slot) for slot in self._slots}
        for line in lines:
            if line is None:
                watch.flush()
            else:
                watch.take(line)
            self.suggestions = watch.start.suggestions
            if not pending or time.monotonic() - asked < find_limit("health_s"):
                continue
            for slot in [slot for slot, ask in pending.items() if is_ready(ask)]:
                del pending[slot]
                self._let_in(self._site, slot, time.monotonic() - began)
            asked = time.monotonic()
            if asked - began > find_limit("ready_s"):
                for slot in pending:
                    say(f"xpukit: {slot.service} does not answer after {asked - began:.0f} s; it gets no requests")
                    self.failing = True
                pending.clear()
        watch.flush()

    def _let_in(self, site: ComposeSite, slot: Slot, seconds: float) -> None:
        say = self._session.say
        say(f"xpukit: {slot.service} answers after {seconds:.0f} s; checking its answers")
        try:
            why = site.gate(slot.slot)
            if not why:
                site.admit(slot.slot)
        except ExternalError as err:
            why = err.message
        if why:
            say(f"xpukit: {slot.service} gets no requests: {why}")
            self.failing = True
        else:
            say(f"xpukit: {slot.service} is ready: the balancer gives it requests")
