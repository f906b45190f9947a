"""From answers to a result: percentiles, throughputs, errors, the client's own cost."""

from __future__ import annotations

import itertools
import math
import statistics
from collections import Counter
from collections.abc import Sequence

from xpukit.operate.bench.openai_stream import Answer
from xpukit.operate.bench.result import BenchResult, ErrorCount, Latency, Load, Overhead
from xpukit.operate.bench.schedule import LoadPlan

PERCENTILES = (50.0, 90.0, 95.0, 99.0)
_MOST_ERRORS = 20
# Above these the figures may be the client's, not the server's (ours, a guess: an asyncio loop queues from there on).
_BUSY_SHARE = 0.7
_LATE_SHARE = 0.1
_LATE_MS = 3.0


def find_percentile(ordered: Sequence[float], percent: float) -> float:
    """Of sorted values, interpolated between neighbours as NumPy does by default (and so both engines' tools)."""
    place = (len(ordered) - 1) * percent / 100
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def summarize_ms(seconds: Sequence[float]) -> Latency | None:
    """Times in seconds as a Latency in ms; None where there are none."""
    if not seconds:
        return None
    ordered = sorted(value * 1000 for value in seconds)
    return Latency(
        mean=round(statistics.fmean(ordered), 4),
        median=round(find_percentile(ordered, 50), 4),
        std=round(statistics.pstdev(ordered), 4),
        min=round(ordered[0], 4),
        max=round(ordered[-1], 4),
        percentiles={f"p{percent:g}": round(find_percentile(ordered, percent), 4) for percent in PERCENTILES},
    )


def tally(
    answers: Sequence[Answer],
    plan: LoadPlan,
    *,
    started_at: float,
    ended_at: float,
    model: str,
    started: str,
    origin: str,
    interrupted: bool = False,
    overhead: Overhead | None = None,
    notes: Sequence[str] = (),
) -> BenchResult:
    """The result of a run of our client. All latencies count from the intended start, waiting for a place included."""
    good = [one for one in answers if not one.error and not one.cut]
    bad = [one for one in answers if one.error and not one.cut]
    cut = sum(1 for one in answers if one.cut)
    duration_s = max(ended_at - started_at, 1e-9)
    output = sum(one.output_tokens for one in good)
    counted = [one.input_tokens for one in good if one.input_tokens is not None]
    told = [*notes]
    if cut:
        told.append(f"{cut} requests were cut off by the interruption; they count nowhere")
    if good and not all(one.counted for one in good):
        told.append("the server does not count tokens: pieces of the stream were counted")
    if plan.rate_rps is None:
        told.append("closed loop: a request starts when a place is free, so a slow server gets less load")
    errors = Counter(one.error for one in bad).most_common(_MOST_ERRORS)
    input_tokens = sum(counted) if counted and len(counted) == len(good) else None
    busy = sum(max(0.0, one.ended - one.intended) for one in good)
    return BenchResult(
        format="builtin",
        origin=origin,
        model=model,
        started=started,
        load=Load(
            input_len=plan.input_len,
            output_len=plan.output_len,
            requests=plan.requests,
            concurrency=plan.concurrency,
            rate_rps=plan.rate_rps,
            arrival=plan.arrival if plan.rate_rps is not None else "",
            shared_prefix=plan.shared_prefix or None,
        ),
        completed=len(good),
        failed=len(bad),
        duration_s=round(duration_s, 4),
        input_tokens=input_tokens,
        output_tokens=output,
        request_throughput=round(len(good) / duration_s, 4),
        input_throughput=None if input_tokens is None else round(input_tokens / duration_s, 4),
        output_throughput=round(output / duration_s, 4),
        peak_output_throughput=_find_peak_rate(good, started_at),
        total_throughput=None if input_tokens is None else round((input_tokens + output) / duration_s, 4),
        concurrency_mean=round(busy / duration_s, 4),
        concurrency_peak=_find_peak(answers),
        ttft=summarize_ms([one.pieces[0] - one.intended for one in good]),
        tpot=summarize_ms(
            [(one.ended - one.pieces[0]) / (one.output_tokens - 1) for one in good if one.output_tokens > 1]
        ),
        itl=summarize_ms([gap for one in good for gap in list_gaps(one.pieces)]),
        e2e=summarize_ms([one.ended - one.intended for one in good]),
        errors=tuple(ErrorCount(text=text, count=count) for text, count in errors),
        overhead=overhead,
        complete=not interrupted,
        interrupted=interrupted,
        notes=tuple(told),
    )


def list_gaps(times: Sequence[float]) -> list[float]:
    """Seconds between neighbours."""
    return [later - earlier for earlier, later in itertools.pairwise(times)]


def _find_peak_rate(good: Sequence[Answer], started_at: float) -> float | None:
    """Most tokens in one second; a piece counts as the mean number of tokens of its answer's pieces."""
    seconds: dict[int, float] = {}
    for one in good:
        weight = one.output_tokens / len(one.pieces)
        for at in one.pieces:
            second = int(at - started_at)
            seconds[second] = seconds.get(second, 0.0) + weight
    return round(max(seconds.values()), 2) if seconds else None


def _find_peak(answers: Sequence[Answer]) -> float | None:
    """Most requests that were on their way at once."""
    steps = [(one.sent, 1) for one in answers if one.sent] + [(one.ended, -1) for one in answers if one.sent]
    now = most = 0
    for _, step in sorted(steps):
        now += step
        most = max(most, now)
    return float(most) if steps else None


def summarize_overhead(
    answers: Sequence[Answer], *, cpu_s: float, wall_s: float, ticks_late: Sequence[float], event_s: float
) -> Overhead:
    """The client's own cost, with a sentence that says what it means for the figures."""
    late = sorted(ticks_late) or [0.0]
    p99, most = find_percentile(late, 99) * 1000, late[-1] * 1000
    share = cpu_s / wall_s if wall_s > 0 else 0.0
    delays = [one.sent - one.intended for one in answers if one.sent]
    gaps = [gap for one in answers for gap in list_gaps(one.pieces)]
    typical = statistics.median(gaps) * 1000 if gaps else 0.0
    reasons = []
    if share > _BUSY_SHARE:
        reasons.append(f"it used {share:.0%} of a CPU")
    # Timers are late by a ms or two on any machine with something to do.
    if p99 > max(_LATE_MS, _LATE_SHARE * typical):
        reasons.append(f"its time stamps were up to {p99:.1f} ms late (p99)")
    statement = (
        f"the client used {share:.0%} of a CPU, its time stamps were late by {p99:.2f} ms at most (p99), "
        f"an event cost it at most {event_s * 1e6:.0f} us"
    )
    if reasons:
        statement = f"the client may have limited this: {' and '.join(reasons)}"
    return Overhead(
        cpu_share=round(share, 4),
        loop_delay_p99_ms=round(p99, 4),
        loop_delay_max_ms=round(most, 4),
        event_us=round(event_s * 1e6, 2),
        send_delay=summarize_ms(delays) or Latency(),
        limited=bool(reasons),
        statement=statement,
    )
