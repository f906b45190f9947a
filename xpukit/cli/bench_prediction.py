"""What a plan foretells of a load, beside what was measured of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xpukit.cli.session import Session
from xpukit.core.errors import XpukitError

if TYPE_CHECKING:
    from xpukit.operate.bench.report import Figure, Point, Predicted
    from xpukit.operate.bench.result import Load
    from xpukit.serve.plan_types import Plan
    from xpukit.serve.predict import Prediction


class Foreteller:
    """Predicts loads on the deployment of one plan. The model and the device are looked up once."""

    def __init__(self, session: Session, plan: Plan) -> None:
        """Raises XpukitError where the model of the plan cannot be found any more."""
        from xpukit.cli.serve_surroundings import find_model
        from xpukit.serve.device_speed import find_speed
        from xpukit.serve.last_run import find_last_run, read_measurements

        host = session.open_host()
        self._plan = plan
        self._model = find_model(session, plan.request)
        run = find_last_run(host) if plan.machine.host == host.identity().hostname else None
        device = plan.machine.gpus[0].device_id if plan.machine.gpus else ""
        self._speed = find_speed(device, read_measurements(run) if run is not None else None)

    def predict(self, input_len: int, output_len: int, concurrency: int) -> Prediction:
        """Rates for requests of that shape, so many at a time."""
        from xpukit.serve.memory_types import Parallel
        from xpukit.serve.predict import predict_speed

        sizes = self._plan.parallelism
        return predict_speed(
            self._model,
            quantization=self._plan.quantization.name,
            parallel=Parallel(tp=sizes.tp, pp=sizes.pp, dp=sizes.dp, expert_parallel=sizes.ep > 1),
            speed=self._speed,
            settings=self._plan.memory.settings,
            prompt_tokens=input_len,
            output_tokens=output_len,
            concurrency=concurrency,
        )

    def put_beside(self, load: Load, point: Point) -> tuple[Predicted, ...]:
        """The figures of a point with what was foretold. Nothing for loads whose concurrency nobody set, or whose
        prompts a cache answers."""
        if load.rate_rps is not None or load.shared_prefix or not load.input_len or not load.output_len:
            return ()
        places = load.concurrency or load.requests
        if not places:
            return ()
        found = self.predict(load.input_len, load.output_len, places)
        if not found.decode_tps_per_sequence:
            return ()
        # Prompts are worked on one after the other, answers together.
        round_s = places * load.input_len / found.prefill_tps + load.output_len / found.decode_tps_per_sequence
        foretold = {
            "tpot_median": (1000 / found.decode_tps_per_sequence, found.decode_bound),
            "output_throughput": (places * load.output_len / round_s, found.decode_bound),
        }
        if places == 1:
            # Of several at once each has to wait for others, and how long is the scheduler's affair.
            foretold["ttft_median"] = (found.ttft_s * 1000, found.prefill_bound)
        figures = {one.metric: one for one in point.figures}
        return tuple(
            _compare(figures[metric], value, bound, f"{found.kind}: {found.source}")
            for metric, (value, bound) in foretold.items()
            if metric in figures and value > 0
        )


def _compare(figure: Figure, predicted: float, bound: str, source: str) -> Predicted:
    from xpukit.operate.bench.report import Predicted

    return Predicted(
        metric=figure.metric,
        unit=figure.unit,
        predicted=round(predicted, 4),
        measured=figure.median,
        error=round(figure.median / predicted - 1, 4),
        bound=bound,
        source=source,
    )


def make_foreteller(session: Session, plan: Plan) -> Foreteller | None:
    """None, with a word why, where nothing can be foretold."""
    try:
        return Foreteller(session, plan)
    except XpukitError as err:
        session.say(f"no prediction: {err.message}")
        return None
