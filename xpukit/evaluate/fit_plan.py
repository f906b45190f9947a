"""Keep a plan within the suite's stated duration: what is least needed is left out, and a row says so.

Benchmarks share the time evenly, what one does not need goes to the others. Within a benchmark the jobs stand in the
order of their worth (neighbouring pairs before distant ones, a card's own node before the others'), so the last go.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from xpukit.core.measurement import Job, Skip
from xpukit.core.units import format_seconds

# Waiting for calm, starting and writing between jobs.
_BETWEEN_S = 0.15


class TimedGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Jobs that run together, by place, and how long."""

    places: tuple[int, ...]
    estimate_s: float


def time_groups(groups: Sequence[Sequence[int]], jobs: Sequence[Job]) -> list[TimedGroup]:
    """Groups with their durations: that of the longest job."""
    return [
        TimedGroup(places=tuple(places), estimate_s=_BETWEEN_S + max(jobs[place].estimate_s for place in places))
        for places in groups
    ]


def share_time(needed_s: Sequence[float], limit_s: float) -> list[float]:
    """What each gets of the limit: all that it needs, or an even part of what those who need less leave."""
    given = [0.0] * len(needed_s)
    left = limit_s
    waiting = sorted(range(len(needed_s)), key=lambda place: needed_s[place])
    for count, place in enumerate(waiting):
        given[place] = min(needed_s[place], left / (len(waiting) - count))
        left -= given[place]
    return given


def count_kept(plans: Sequence[Sequence[TimedGroup]], limit_s: float) -> list[int]:
    """How many groups of each plan fit into the limit, at least one of each; what rounding leaves goes to the first
    plans that it is enough for."""
    given = share_time([sum(group.estimate_s for group in groups) for groups in plans], limit_s)
    kept = []
    left = limit_s
    for groups, allowed_s in zip(plans, given, strict=True):
        count, spent = 0, 0.0
        while count < len(groups) and (not count or spent + groups[count].estimate_s <= allowed_s + 1e-6):
            spent += groups[count].estimate_s
            count += 1
        kept.append(count)
        left -= spent
    grown = True
    while grown:
        grown = False
        for place, groups in enumerate(plans):
            if kept[place] < len(groups) and groups[kept[place]].estimate_s <= left:
                left -= groups[kept[place]].estimate_s
                kept[place] += 1
                grown = True
    return kept


def explain_left_out(job: Job, *, suite: str, limit_s: float, longer: str = "") -> Skip:
    """The row of a job that the plan leaves out: that of its first promise. `longer`: a suite that has more time."""
    first = job.promises[0]
    count = len(job.promises)
    more = f" (and {count - 1} more rows of this job)" if count > 1 else ""
    instead = f"--suite {longer}, --device or --only" if longer else "--device or --only"
    reason = f"left out to keep suite {suite} within {format_seconds(limit_s)}{more}: use {instead}"
    return Skip(key=first.key, unit=first.unit, reason=reason)


def describe_left_out(left_out: Mapping[str, int], *, suite: str, limit_s: float, longer: str = "") -> str:
    """What a plan left out, by rows of each benchmark; "" for nothing."""
    if not left_out:
        return ""
    rows = ", ".join(f"{count} of {benchmark}" for benchmark, count in left_out.items())
    advice = f"; --suite {longer} has more time" if longer else ""
    return (
        f"rows left out to keep suite {suite} within {format_seconds(limit_s)}: {rows}{advice}; "
        "--device and --only need less"
    )
