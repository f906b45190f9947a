"""Judge points by the serving references and by earlier runs. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

import msgspec

from xpukit.facts.bench_formats import load_bench_formats
from xpukit.facts.bench_references import ServingReference
from xpukit.operate.bench.report import BenchReport, Comparison, Deployment, Figure, Point, Verdict
from xpukit.operate.bench.result import BenchResult, describe_load

# Of several verdicts the first of these is the whole's.
_ORDER: tuple[Verdict, ...] = ("fail", "unknown", "warn", "pass", "no-baseline")


def make_point(name: str, runs: Sequence[BenchResult], deployment: Deployment) -> Point:
    """A point with its figures; not judged yet."""
    return Point(name=name, deployment=deployment, runs=tuple(runs), figures=summarize_runs(runs))


def summarize_runs(runs: Sequence[BenchResult]) -> tuple[Figure, ...]:
    """Median and extremes of every metric over complete runs (over all where none is complete)."""
    whole = [run for run in runs if run.complete and not run.interrupted] or list(runs)
    values: dict[str, list[float]] = {}
    for run in whole:
        for name, value in run.iterate_metrics():
            values.setdefault(name, []).append(value)
    formats = load_bench_formats()
    figures = []
    for name, found in values.items():
        metric = formats.find_metric(name)
        figures.append(
            Figure(
                metric=name,
                unit=metric.unit,
                higher_is_better=metric.higher_is_better,
                median=statistics.median(found),
                min=min(found),
                max=max(found),
                runs=len(found),
            )
        )
    return tuple(figures)


def judge_points(
    points: Iterable[Point],
    references: Sequence[ServingReference],
    earlier: Sequence[Point] = (),
    *,
    interrupted: bool = False,
    notes: Sequence[str] = (),
) -> BenchReport:
    """The report: every point against the references of its deployment and the earlier points of the same load."""
    judged = tuple(_judge_point(point, references, earlier) for point in points)
    verdicts = {point.verdict for point in judged} or {"unknown"}
    verdict = next(one for one in _ORDER if one in verdicts)
    return BenchReport(points=judged, verdict=verdict, interrupted=interrupted, notes=tuple(notes))


def _judge_point(point: Point, references: Sequence[ServingReference], earlier: Sequence[Point]) -> Point:
    if not point.figures:
        reason = point.reason or "nothing was measured"
        return msgspec.structs.replace(point, verdict="unknown", reason=reason)
    comparisons = (*_compare_references(point, references), *_compare_earlier(point, earlier))
    verdict, reason = _weigh(point, comparisons, has_references=bool(references))
    return msgspec.structs.replace(point, comparisons=comparisons, verdict=verdict, reason=reason)


def _weigh(point: Point, comparisons: Sequence[Comparison], *, has_references: bool) -> tuple[Verdict, str]:
    failed = sum(run.failed or 0 for run in point.runs)
    asked = failed + sum(run.completed or 0 for run in point.runs)
    if failed:
        return "fail", f"{failed} of {asked} requests failed"
    if any(run.completed == 0 for run in point.runs):
        return "fail", "no request was answered"
    bad = [one for one in comparisons if one.verdict in ("fail", "warn")]
    if bad:
        worst = min(bad, key=lambda one: (one.verdict != "fail", one.ratio))
        return worst.verdict, f"{worst.metric}: {worst.reason}"
    if all(run.interrupted or not run.complete for run in point.runs):
        return "unknown", "; ".join(point.runs[0].notes) or "cut short"
    if comparisons:
        return "pass", ""
    if not has_references:
        return "no-baseline", "no reference was given"
    if not point.deployment.hardware:
        return "no-baseline", "the hardware was not said"
    return "no-baseline", "no reference for this hardware, engine, model and load"


def compare(
    metric: str, value: float, expected: float, tolerance: float, *, against: str, source: str
) -> Comparison | None:
    """One figure. None where a ratio says nothing (a value of 0 or less)."""
    if value <= 0 or expected <= 0:
        return None
    known = load_bench_formats().find_metric(metric)
    ratio = value / expected if known.higher_is_better else expected / value
    verdict: Verdict = "pass" if ratio >= 1 - tolerance else "warn" if ratio >= 1 - 2 * tolerance else "fail"
    word = "lower" if known.higher_is_better else "longer"
    share = abs(value / expected - 1)
    reason = "" if verdict == "pass" else f"{share:.0%} {word} than {expected:g} {known.unit}"
    return Comparison(
        metric=metric,
        unit=known.unit,
        value=value,
        expected=expected,
        ratio=round(ratio, 4),
        tolerance=tolerance,
        against="reference" if against == "reference" else "earlier",
        source=source,
        verdict=verdict,
        reason=reason,
    )


def _compare_references(point: Point, references: Sequence[ServingReference]) -> list[Comparison]:
    rows = {row.metric: row for row in references if applies(row, point)}
    found = [
        compare(one.metric, one.median, row.value, row.tolerance, against="reference", source=row.source)
        for one in point.figures
        if (row := rows.get(one.metric)) is not None
    ]
    return [one for one in found if one is not None]


def applies(row: ServingReference, point: Point) -> bool:
    """Whether a reference is of this deployment and load. What either side does not say does not part them, except
    hardware, model, lengths and how many at a time, which must be the same."""
    run, what = point.runs[0], point.deployment
    load = run.load
    return (
        row.hardware.lower() == what.hardware.lower()
        and _name_model(row.model) == _name_model(run.model)
        and (row.input_len, row.output_len, row.concurrency) == (load.input_len, load.output_len, load.concurrency)
        and load.rate_rps is None
        and not load.shared_prefix
        and (not run.engine or row.engine == run.engine)
        and _agree(row.requests, load.requests)
        and _agree(row.tp, what.tp)
        and _agree(row.devices, what.devices)
        and _agree(row.quantization or None, what.quantization or None)
    )


def _agree(one: object, other: object) -> bool:
    return one is None or other is None or one == other


def _name_model(model: str) -> str:
    """The last part of a model's id or folder: what a server and a guide may both call it."""
    return model.rstrip("/").rpartition("/")[2].lower()


def _compare_earlier(point: Point, earlier: Sequence[Point]) -> list[Comparison]:
    formats = load_bench_formats()
    found = []
    for before in earlier:
        if _key(before) != _key(point):
            continue
        figures = {one.metric: one for one in before.figures}
        for one in point.figures:
            then = figures.get(one.metric)
            if then is None:
                continue
            # What the repeats themselves differ by is no regression.
            spread = max(_spread(then), _spread(one))
            tolerance = min(0.9, max(formats.find_metric(one.metric).tolerance, spread))
            source = before.runs[0].origin or before.name
            found.append(compare(one.metric, one.median, then.median, tolerance, against="earlier", source=source))
    return [one for one in found if one is not None]


def _spread(figure: Figure) -> float:
    return (figure.max - figure.min) / figure.median if figure.median > 0 else 0.0


def _key(point: Point) -> tuple[object, ...]:
    """What must be the same for two points to be compared."""
    if not point.runs:
        return (point.name,)
    run = point.runs[0]
    batch = run.one_batch.batch if run.one_batch else None
    return (_name_model(run.model), batch, describe_load(run), point.deployment)
