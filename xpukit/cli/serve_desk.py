"""Plans asked for one after the other, about one machine: it is read once, and no plan is made twice."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING

from xpukit.cli.session import Session
from xpukit.core.errors import UsageError

if TYPE_CHECKING:
    from xpukit.serve.model_types import Model
    from xpukit.serve.plan_types import Plan
    from xpukit.serve.planner import Surroundings
    from xpukit.serve.request import ServeRequest

_KEPT_PLANS = 512


class PlanDesk:
    """Answers requests with plans. Free memory and the last evaluation are those of the time of `refresh`."""

    def __init__(self, session: Session, *, evaluation: str = "") -> None:
        self.session = session
        self._evaluation = evaluation
        self._known: Surroundings | None = None
        self._plans: OrderedDict[ServeRequest, tuple[Plan, Model]] = OrderedDict()
        self._turn = threading.RLock()

    @property
    def source(self) -> str:
        """The recording that is looked at; "" for this machine."""
        return str(self.session.source) if self.session.source is not None else ""

    def refresh(self) -> None:
        """Look at the machine again with the next plan."""
        with self._turn:
            self._known = None
            self._plans.clear()

    def make_plan(self, request: ServeRequest) -> Plan:
        """The plan. Raises UsageError as the planner does."""
        return self.make_both(request)[0]

    def make_both(self, request: ServeRequest) -> tuple[Plan, Model]:
        """The plan and the model it is for."""
        with self._turn:
            found = self._plans.get(request)
            if found is None:
                found = self._plan(request)
                self._plans[request] = found
                if len(self._plans) > _KEPT_PLANS:
                    self._plans.popitem(last=False)
            else:
                self._plans.move_to_end(request)
            return found

    def _plan(self, request: ServeRequest) -> tuple[Plan, Model]:
        from xpukit.cli.serve_surroundings import read_surroundings
        from xpukit.serve.model import resolve_model
        from xpukit.serve.planner import make_plan

        host = self.session.open_host()
        model = resolve_model(request.model, host, request.config_file or None)
        around = read_surroundings(self.session, host, request, model, evaluation=self._evaluation, known=self._known)
        if not request.platform:
            self._known = around
        return make_plan(request, model, around), model

    def describe_machine(self) -> str:
        """ "b60x8: 8 GPUs (Intel Arc Pro B60 Graphics)". Raises UsageError where no GPU can be planned for."""
        from xpukit.probe.machine import probe_machine
        from xpukit.serve.devices import find_units

        with self._turn:
            host = self.session.open_host()
            machine = self._known.machine if self._known is not None else probe_machine(host)
            pool = find_units(machine)
            name = host.identity().hostname or "this machine"
        if not pool.units:
            why = "; ".join(f"{one.label} {one.bdf}: {one.reason}" for one in pool.excluded[:4])
            raise UsageError(
                f"{name}: no GPU to plan for{f' ({why})' if why else ''}",
                hint="choose a named platform, or give a recording of a machine that has one",
            )
        names = ", ".join(dict.fromkeys(unit.name for unit in pool.units))
        return f"{name}: {len(pool.units)} {'tiles or GPUs' if pool.tiled else 'GPUs'} ({names})"


def open_bundle_desk(session: Session, path: str, *, evaluation: str = "") -> PlanDesk:
    """A desk about a recorded machine. Raises UsageError, BadRecordingError."""
    other = Session()
    other.redact, other.verbose, other.no_color = session.redact, session.verbose, session.no_color
    other.json, other.debug, other.command = session.json, session.debug, session.command
    other.take(source=Path(path).expanduser())
    desk = PlanDesk(other, evaluation=evaluation)
    other.open_host()
    return desk
