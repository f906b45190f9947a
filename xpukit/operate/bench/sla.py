"""What a service promises, and the search for the highest rate at which it keeps it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import msgspec

from xpukit.core.errors import UsageError
from xpukit.facts.bench_formats import load_bench_formats
from xpukit.operate.bench.result import BenchResult

_TERM = re.compile(r"^\s*([a-z0-9_.]+)\s*(<=|>=)\s*([0-9.]+)\s*(ms|s|tok/s|req/s)?\s*$")
# Below this share of the asked rate answered, the queue grows for as long as the load lasts (ours; Poisson arrivals of
# a short run scatter by a few percent).
_KEPT_UP = 0.9


class Term(msgspec.Struct, frozen=True, kw_only=True):
    """One promise: a metric at most (`<=`) or at least (`>=`) a value in the metric's unit."""

    metric: str
    sense: str
    limit: float
    unit: str

    def __str__(self) -> str:
        return f"{self.metric}{self.sense}{self.limit:g}{self.unit}"


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One rate, what came of it, and why it did not keep the promise ("" where it did)."""

    rate_rps: float
    result: BenchResult
    broken: str = ""


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """What was found. `highest_rps` None: not even the lowest rate kept the promise.

    `lowest_broken_rps` None: the highest rate that was allowed kept it: the limit lies above.
    """

    terms: tuple[str, ...]
    highest_rps: float | None
    lowest_broken_rps: float | None
    steps: tuple[Step, ...]
    interrupted: bool = False
    statement: str = ""


def read_term(text: str) -> Term:
    """'ttft_p99<=500ms', 'tpot_mean<=0.05s', 'output_throughput>=100'. Raises UsageError."""
    hint = "write it as ttft_p99<=500ms or output_throughput>=100"
    match = _TERM.match(text.lower())
    if match is None:
        raise UsageError(f"{text!r} is no promise", hint=hint)
    name, sense, number, unit = match.groups()
    try:
        metric = load_bench_formats().find_metric(name)
        limit = float(number)
    except KeyError as err:
        raise UsageError(f"{text!r}: no metric {name!r}", hint=hint) from err
    except ValueError as err:
        raise UsageError(f"{text!r}: {number!r} is no number", hint=hint) from err
    if unit == "s" and metric.unit == "ms":
        limit, unit = limit * 1000, "ms"
    if unit and unit != metric.unit:
        raise UsageError(f"{text!r}: {name} is measured in {metric.unit}", hint=hint)
    return Term(metric=name, sense=sense, limit=limit, unit=metric.unit)


def find_broken(result: BenchResult, terms: Sequence[Term]) -> str:
    """Why a result does not keep the promise; "" where it does. A failed request and a growing queue break any."""
    if result.failed:
        return f"{result.failed} requests failed"
    if not result.completed:
        return "no request was answered"
    for term in terms:
        value = result.find_value(term.metric)
        if value is None:
            return f"{term.metric} was not measured"
        if (value > term.limit) if term.sense == "<=" else (value < term.limit):
            return f"{term.metric} is {value:.4g} {term.unit}, not {term.sense} {term.limit:g}"
    return _find_growth(result)


def _find_growth(result: BenchResult) -> str:
    """The last answers of an open loop come later than the last start by their own time, not by a queue's."""
    rate, done, took = result.load.rate_rps, result.completed or 0, result.duration_s
    longest = result.e2e.max if result.e2e is not None else None
    shortest = result.e2e.min if result.e2e is not None else None
    if rate is None or took is None or longest is None or shortest is None:
        return ""
    # Without a queue the run ends one answer after the last start.
    sending_s = max(took - shortest / 1000, 1e-9)
    kept = done / sending_s / rate
    if kept < _KEPT_UP and longest > 2 * shortest:
        return f"it answered {kept:.0%} of the asked rate: requests pile up"
    return ""


def find_limit(
    measure: Callable[[float], BenchResult],
    terms: Sequence[Term],
    *,
    lowest_rps: float,
    highest_rps: float,
    precision: float = 0.1,
    most_steps: int = 12,
    tell: Callable[[Step], None] = lambda step: None,
) -> Limit:
    """Double the rate until the promise breaks, then halve the gap until it is within `precision`; bounded by both.

    A rate that breaks it is measured a second time before it counts, so that one hiccup does not set the limit.
    """
    if not 0 < lowest_rps <= highest_rps:
        raise UsageError("the lowest rate is above 0 and not above the highest", hint="--from-rate 0.5 --max-rate 64")
    steps: list[Step] = []

    def look(rate: float) -> Step:
        result = measure(rate)
        step = Step(rate_rps=rate, result=result, broken=find_broken(result, terms))
        steps.append(step)
        tell(step)
        return step

    def keeps(rate: float) -> bool | None:
        """None: interrupted."""
        step = look(rate)
        if step.broken and not step.result.interrupted and len(steps) < most_steps:
            step = look(rate)
        return None if step.result.interrupted else not step.broken

    good: float | None = None
    bad: float | None = None
    rate = lowest_rps
    interrupted = False
    while len(steps) < most_steps:
        kept = keeps(rate)
        if kept is None:
            interrupted = True
            break
        if kept:
            good = rate
            if bad is None and rate >= highest_rps:
                break
        else:
            bad = rate
            if good is None:
                break
        if bad is None:
            rate = min(rate * 2, highest_rps)
        else:
            assert good is not None
            if bad / good <= 1 + precision:
                break
            rate = (good * bad) ** 0.5
    return Limit(
        terms=tuple(str(term) for term in terms),
        highest_rps=good,
        lowest_broken_rps=bad,
        steps=tuple(steps),
        interrupted=interrupted,
        statement=_describe(good, bad, steps),
    )


def _describe(good: float | None, bad: float | None, steps: Sequence[Step]) -> str:
    if not steps:
        return "nothing was measured"
    if good is None:
        why = f": {steps[-1].broken}" if steps[-1].broken else ""
        return f"not kept at {steps[0].rate_rps:.3g} req/s{why}"
    if bad is None:
        return f"kept at {good:.3g} req/s, the highest tried: the limit lies above"
    why = next((step.broken for step in reversed(steps) if step.rate_rps == bad and step.broken), "")
    return f"kept at {good:.3g} req/s, broken at {bad:.3g} req/s ({why})"
