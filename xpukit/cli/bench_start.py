"""The engines of a matrix, started one after the other: each lives for the points of its deployment."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from xpukit.cli.bench_engine import RunningEngine, StartChoice, make_plan, require_ready, start_engine
from xpukit.cli.session import Session
from xpukit.core.errors import ExternalError, XpukitError

if TYPE_CHECKING:
    from xpukit.cli.bench_prediction import Foreteller
    from xpukit.operate.bench.matrix import Model, PointPlan
    from xpukit.operate.bench.report import Point, Predicted
    from xpukit.operate.bench.result import BenchResult
    from xpukit.operate.bench.run_matrix import Measure
    from xpukit.serve.plan_types import Plan

# An engine that ends under a load is started again for the next points, so that one load costs its own rows only.
_MOST_STARTS = 4
_TAIL_BYTES = 16_384
_TAIL_LINES = 40
_END_LIMIT_S = 20.0
_ALIVE_LIMIT_S = 5.0
# (address, name in requests, container): the measure of points on this engine.
MakeMeasure = Callable[[str, str, str], "Measure"]


class EngineRow:
    """Starts what a point needs when it is measured, and ends what the one before needed."""

    def __init__(
        self, session: Session, place: Path, choice: StartChoice, make_measure: MakeMeasure, *, key: str = ""
    ) -> None:
        self._session = session
        self._place = place
        self._choice = choice
        self._make_measure = make_measure
        self._key = key
        self._stack = contextlib.ExitStack()
        self._model: Model | None = None
        self._engine: RunningEngine | None = None
        self._measure: Measure | None = None
        self._plans: dict[Model, Plan] = {}
        self._failures: dict[Model, XpukitError] = {}
        self._starts: dict[Model, int] = {}
        self._foretellers: dict[Model, Foreteller | None] = {}

    def measure(self, plan: PointPlan, repeat: int) -> BenchResult:
        """One point on its engine. Raises XpukitError where that does not start, or ends meanwhile."""
        measure, engine = self._bring_up(plan.model)
        try:
            found = measure(plan, repeat)
        except XpukitError as err:
            if not has_ended(engine):
                raise
            raise ExternalError(_say_end(engine), hint=f"xpukit doctor --log {engine.log}") from err
        if not found.failed or found.interrupted or not has_ended(engine):
            return found
        return msgspec.structs.replace(found, notes=(*found.notes, _say_end(engine)))

    def close(self) -> None:
        """End the engine that runs."""
        self._engine = self._measure = self._model = None
        self._stack.close()

    def _bring_up(self, model: Model) -> tuple[Measure, RunningEngine]:
        engine = self._engine if model == self._model else None
        if engine is not None and self._measure is not None and engine.exit_code() is None:
            return self._measure, engine
        self.close()
        if (before := self._failures.get(model)) is not None:
            raise before
        try:
            return self._start(model)
        except XpukitError as err:
            # What does not start once is not started for each of its rows.
            self._failures[model] = err
            self.close()
            raise

    def _start(self, model: Model) -> tuple[Measure, RunningEngine]:
        from xpukit.operate.bench.client import find_model
        from xpukit.operate.bench.matrix import slug

        count = self._starts[model] = self._starts.get(model, 0) + 1
        if count > _MOST_STARTS:
            raise ExternalError(f"the engine ended under {_MOST_STARTS} loads; it is not started again")
        folder = self._place / "engines" / slug(model)
        plan = self._find_plan(model, folder)
        self._session.say(f"starting {slug(model)}" + (f" ({self._choice.form})" if count == 1 else " again"))
        engine = self._stack.enter_context(
            start_engine(self._session, plan, folder / f"start-{count}", self._choice, key=self._key)
        )
        require_ready(engine)
        served = model.served_name or find_model(engine.url, self._key)
        self._model, self._engine = model, engine
        self._measure = self._make_measure(engine.url, served, engine.container)
        return self._measure, engine

    def _find_plan(self, model: Model, folder: Path) -> Plan:
        from xpukit.cli.serve_run import load_plan

        if model not in self._plans:
            if model.plan:
                self._plans[model] = load_plan(self._session, model.plan)
            else:
                self._plans[model] = make_plan(self._session, write_words(model), folder, choice=self._choice)
        return self._plans[model]

    def predict(self, plan: PointPlan, point: Point) -> tuple[Predicted, ...]:
        """What the deployment's plan foretold of the point."""
        from xpukit.cli.bench_prediction import make_foreteller
        from xpukit.cli.serve_run import load_plan
        from xpukit.operate.bench.matrix import slug

        model = plan.model
        if model not in self._foretellers:
            # A run that goes on has the plan of before.
            saved = Path(model.plan) if model.plan else self._place / "engines" / slug(model) / "plan.json"
            known = self._plans.get(model)
            if known is None and not saved.exists():
                return ()
            known = known or load_plan(self._session, str(saved))
            self._foretellers[model] = make_foreteller(self._session, known)
        foreteller = self._foretellers[model]
        return foreteller.put_beside(point.runs[0].load, point) if foreteller is not None else ()


def write_words(model: Model) -> str:
    """The words of `xpukit serve` for a row of the matrix."""
    import shlex

    own = [model.name]
    if model.quantization:
        own += ["--quantization", model.quantization]
    if model.tp is not None:
        own += ["--tp", str(model.tp)]
    if model.served_name:
        own += ["--served-name", model.served_name]
    return " ".join(part for part in (shlex.join(own), model.serve) if part)


def has_ended(engine: RunningEngine) -> bool:
    """Whether it is gone. What started a container ends some time after it."""
    from xpukit.operate.ready.endpoint import is_alive

    until = time.monotonic() + _END_LIMIT_S
    while engine.exit_code() is None and not is_alive(engine.ask, _ALIVE_LIMIT_S):
        if time.monotonic() >= until:
            return False
        time.sleep(0.2)
    return engine.exit_code() is not None


def _say_end(engine: RunningEngine) -> str:
    return f"the engine ended under this load with exit code {engine.exit_code()}: {_read_last(engine.log)}"


def _read_last(log: Path) -> str:
    """The line that tells most of its end."""
    from xpukit.operate.ready.attempt import find_last_line

    try:
        lines = log.read_bytes()[-_TAIL_BYTES:].decode("utf-8", errors="replace").splitlines()
    except OSError:
        return "its log cannot be read"
    return find_last_line(lines[-_TAIL_LINES:]) or "it said nothing"
