"""Run every point of a matrix so many times, keep each result as it comes, judge what there is."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import msgspec

from xpukit.core.errors import XpukitError
from xpukit.facts.bench_references import ServingReference
from xpukit.operate.bench.judge import judge_points, make_point
from xpukit.operate.bench.matrix import Model, PointPlan
from xpukit.operate.bench.page import write_page
from xpukit.operate.bench.report import BenchReport, Point, Predicted
from xpukit.operate.bench.result import BenchResult
from xpukit.operate.bench.run_directory import BenchRunDirectory, RunOutcome

# Measures a point once; gets the number of the repeat. Raises XpukitError for one that could not be measured.
Measure = Callable[[PointPlan, int], BenchResult]
# What was foretold of a point that was measured; nothing where nothing was.
Predict = Callable[[PointPlan, Point], Sequence[Predicted]]


def run_matrix(
    plans: Sequence[PointPlan],
    measure: Measure,
    directory: BenchRunDirectory,
    *,
    repeats: int,
    references: Sequence[ServingReference] = (),
    earlier: Sequence[Point] = (),
    say: Callable[[str], None] = lambda text: None,
    by_deployment: bool = False,
    predict: Predict = lambda plan, point: (),
) -> BenchReport:
    """The report of all points; results that the directory has already are not measured again.

    A point that fails costs itself only. After Ctrl-C the report holds what there is (`interrupted`). Repeats go round
    by round, so that a drift of the machine does not fall on one point; `by_deployment`: within a
    deployment, where each has to be started. Raises OutputError.
    """
    outcomes: dict[tuple[str, int], RunOutcome] = {}
    total = len(plans) * repeats
    for repeat in range(1, repeats + 1):
        for plan in plans:
            if (kept := directory.read_outcome(plan, repeat)) is not None and kept.result is not None:
                outcomes[plan.key, repeat] = kept
    say(f"{total} runs, {len(outcomes)} of them there already" if outcomes else f"{total} runs")
    interrupted = False
    for group in group_points(plans) if by_deployment else [plans]:
        for repeat, plan in itertools.product(range(1, repeats + 1), group):
            if (plan.key, repeat) in outcomes or interrupted:
                continue
            say(f"{len(outcomes) + 1}/{total} {plan.name}" + (f", repeat {repeat}" if repeats > 1 else ""))
            try:
                outcome = RunOutcome(key=plan.key, repeat=repeat, result=measure(plan, repeat))
            except KeyboardInterrupt:
                interrupted = True
                continue
            except XpukitError as err:
                outcome = RunOutcome(key=plan.key, repeat=repeat, failure=err.message)
                say(f"  failed: {err.message}")
            outcomes[plan.key, repeat] = outcome
            if outcome.result is not None and outcome.result.interrupted:
                # Shown, but not kept: --resume measures it again.
                interrupted = True
            else:
                directory.write_outcome(plan, outcome)
            _write(directory, plans, outcomes, repeats, references, earlier, interrupted, predict)
    return _write(directory, plans, outcomes, repeats, references, earlier, interrupted, predict)


def group_points(plans: Sequence[PointPlan]) -> list[list[PointPlan]]:
    """The points of each deployment together, in order."""
    groups: dict[Model, list[PointPlan]] = {}
    for plan in plans:
        groups.setdefault(plan.model, []).append(plan)
    return list(groups.values())


def _write(
    directory: BenchRunDirectory,
    plans: Sequence[PointPlan],
    outcomes: dict[tuple[str, int], RunOutcome],
    repeats: int,
    references: Sequence[ServingReference],
    earlier: Sequence[Point],
    interrupted: bool,
    predict: Predict,
) -> BenchReport:
    points = []
    for plan in plans:
        found = [outcomes[plan.key, repeat] for repeat in range(1, repeats + 1) if (plan.key, repeat) in outcomes]
        runs = [one.result for one in found if one.result is not None]
        point = make_point(plan.name, runs, plan.deployment)
        failures = [one.failure for one in found if one.failure]
        if failures or not runs:
            point = msgspec.structs.replace(point, reason=failures[0] if failures else "not measured yet")
        if runs:
            point = msgspec.structs.replace(point, predictions=tuple(predict(plan, point)))
        points.append(point)
    report = judge_points(points, references, earlier, interrupted=interrupted)
    directory.write_report(report, write_page(report))
    return report
