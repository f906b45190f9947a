"""Whether something got worse over the rounds: medians, not single rounds. Pure."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from datetime import datetime

import msgspec

from xpukit.core.units import format_number
from xpukit.facts.bench_stress import Watched, find_stress_limit, list_watched
from xpukit.operate.stress.result import Round, Series

# Half the normal distribution lies within 0.6745 standard deviations.
_DEVIATION = 1.4826
# Beyond so many values a slope over all pairs takes seconds: every n-th stands for its neighbours.
_MOST_PAIRED = 300


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """How many first rounds are the measure, how many last ones must be worse, and what share of requests may fail.

    `tolerance`: of latencies and throughput, in place of the data file's.
    """

    baseline: int
    window: int
    errors: float = 0.0
    tolerance: float | None = None


def default_rules() -> Rules:
    """Those of the data file."""
    return Rules(baseline=int(find_stress_limit("baseline_rounds")), window=int(find_stress_limit("window_rounds")))


def list_series(rounds: Sequence[Round], rules: Rules) -> tuple[Series, ...]:
    """Every figure that was ever read, judged. Memory counts from the engine's last start."""
    hours = _read_hours(rounds)
    life = rounds[-1].life if rounds else 1
    found = []
    for watched in list_watched():
        for name, scenario, values in _collect(watched, rounds):
            if watched.kind == "growth":
                lives = {one.number: one.life for one in rounds}
                judged = [(number, value) for number, value in values if lives[number] == life]
            else:
                judged = values
            found.append(_judge(watched, name, scenario, values, judged, hours, rules))
    return tuple(found)


def _read_hours(rounds: Sequence[Round]) -> dict[int, float]:
    """Hours since the first round by number; rounds without a readable time count from their place."""
    times = {}
    for one in rounds:
        try:
            times[one.number] = datetime.fromisoformat(one.started.replace("Z", "+00:00")).timestamp() / 3600
        except ValueError:
            times[one.number] = float(one.number)
    return times


def _collect(watched: Watched, rounds: Sequence[Round]) -> list[tuple[str, str, list[tuple[int, float]]]]:
    """(name, scenario, values): results by scenario, readings by what they were read of."""
    groups: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for one in rounds:
        if watched.origin == "result":
            value = one.result.find_value(watched.name) if one.result is not None else None
            if value is not None:
                groups.setdefault((watched.name, one.scenario), []).append((one.number, value))
            continue
        readings = one.idle if watched.origin == "idle" else one.loaded
        for key, value in readings.items():
            if key.partition(" ")[0] == watched.name:
                groups.setdefault((key, ""), []).append((one.number, value))
    return [(name, scenario, values) for (name, scenario), values in groups.items()]


def _judge(
    watched: Watched,
    name: str,
    scenario: str,
    values: Sequence[tuple[int, float]],
    judged: Sequence[tuple[int, float]],
    hours: dict[int, float],
    rules: Rules,
) -> Series:
    which = name.partition(" ")[2]
    series = Series(
        name=name,
        label=f"{watched.label} {which}".strip(),
        unit=watched.unit,
        scenario=scenario,
        values=tuple(values),
        recent=statistics.median(value for _, value in values[-rules.window :]),
        verdict="shown",
    )
    if watched.kind == "shown":
        return series
    if watched.kind == "count":
        first, last = values[0][1], values[-1][1]
        worse = last > first
        reason = f"{series.label}: {format_number(last - first)} since the first round" if worse else ""
        return msgspec.structs.replace(series, baseline=first, verdict="fail" if worse else "pass", reason=reason)
    if len(judged) < rules.baseline:
        return msgspec.structs.replace(series, verdict="unknown", reason=f"fewer than {rules.baseline} rounds")
    first_values = [value for _, value in judged[: rules.baseline]]
    baseline = statistics.median(first_values)
    noise = _DEVIATION * statistics.median(abs(value - baseline) for value in first_values)
    drifts = watched.kind == "drift"
    tolerance = rules.tolerance if drifts and rules.tolerance is not None else watched.tolerance
    room = max(tolerance * abs(baseline), watched.least)
    if drifts:
        # Of memory that grows from the start the growth itself would pass for noise.
        room = max(room, find_stress_limit("noise_factor") * noise)
    limit = baseline + room if watched.worse == "higher" else max(0.0, baseline - room)
    last_values = [value for _, value in judged[rules.baseline :]][-rules.window :]
    worse = len(last_values) == rules.window and all(
        value > limit if watched.worse == "higher" else value < limit for value in last_values
    )
    slope = find_slope([(hours[number], value) for number, value in judged])
    series = msgspec.structs.replace(
        series, baseline=baseline, noise=noise, limit=limit, per_hour=slope, verdict="fail" if worse else "pass"
    )
    return msgspec.structs.replace(series, reason=_explain(series, rules) if worse else "")


def find_slope(points: Sequence[tuple[float, float]]) -> float | None:
    """The median of the slopes between all pairs (Theil-Sen): a few odd points do not move it."""
    step = max(1, len(points) // _MOST_PAIRED)
    slopes = [
        (later[1] - earlier[1]) / (later[0] - earlier[0])
        for earlier, later in itertools.combinations(points[::step], 2)
        if later[0] > earlier[0]
    ]
    return statistics.median(slopes) if slopes else None


def show_value(series: Series, value: float | None) -> str:
    """With its unit, as a person reads it."""
    from xpukit.core.units import format_bytes

    if value is None:
        return "-"
    if series.unit == "bytes":
        return format_bytes(int(value))
    if series.unit == "share":
        return f"{value:.1%}"
    return f"{format_number(value)} {series.unit}"


def _explain(series: Series, rules: Rules) -> str:
    where = f" ({series.scenario})" if series.scenario else ""
    slope = f", {show_value(series, series.per_hour)} an hour" if series.unit == "bytes" and series.per_hour else ""
    return (
        f"{series.label}{where} is {show_value(series, series.recent)} over the last {rules.window} rounds, "
        f"{show_value(series, series.baseline)} over the first {rules.baseline}{slope}"
    )


def find_regression(rounds: Sequence[Round], series: Sequence[Series], rules: Rules) -> str:
    """The first reason to stop, "" where there is none."""
    if not rounds:
        return ""
    last = rounds[-1]
    if last.answers:
        return f"round {last.number}: the gate fails: {last.answers}"
    if last.failure:
        return f"round {last.number}: {last.failure}"
    if last.result is not None and not last.result.completed:
        why = last.result.errors[0].text if last.result.errors else "no reason was told"
        return f"round {last.number}: no request was answered ({why})"
    window = rounds[-rules.window :]
    if last.failed_share > max(rules.errors, 0.5) or (
        len(window) == rules.window and all(one.failed_share > rules.errors for one in window)
    ):
        failed = sum((one.result.failed or 0) for one in window if one.result is not None)
        why = last.result.errors[0].text if last.result is not None and last.result.errors else ""
        return f"{failed} of the last {sum(one.asked for one in window)} requests failed" + (f": {why}" if why else "")
    return next((one.reason for one in series if one.verdict == "fail"), "")
