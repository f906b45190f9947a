"""Round after round until the bound is reached, something gets worse, or the user stops it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import msgspec

from xpukit.core.errors import XpukitError
from xpukit.core.json_document import now_utc
from xpukit.facts.bench_stress import find_stress_limit
from xpukit.operate.bench.matrix import PointPlan
from xpukit.operate.bench.result import BenchResult
from xpukit.operate.stress.directory import StressDirectory
from xpukit.operate.stress.judge import Rules, find_regression, list_series
from xpukit.operate.stress.page import write_stress_page
from xpukit.operate.stress.result import Round, StressReport
from xpukit.operate.stress.watcher import Watcher

# Between two writings of the report while rounds are short; the rounds themselves are on disk at once.
_REPORT_EVERY_S = 10.0
# A process' start is the same number each time, but for the digits it is written with.
_SAME_START_S = 0.005

Measure = Callable[[PointPlan, int], BenchResult]


class Bound(msgspec.Struct, frozen=True, kw_only=True):
    """At most so many rounds, and hours of load in all (over continuations); None: not bounded by it."""

    rounds: int | None = None
    hours: float | None = None

    def is_reached(self, rounds: Sequence[Round]) -> bool:
        """Whether no further round may begin."""
        spent_s = sum(one.seconds for one in rounds)
        return (self.rounds is not None and len(rounds) >= self.rounds) or (
            self.hours is not None and spent_s >= self.hours * 3600
        )


class StressRun:
    """One run. `check` judges the engine's answers after a round ("" where they are right); `is_alive` asks for its
    models; `tell` gets each round with the series so far."""

    def __init__(
        self,
        plans: Sequence[PointPlan],
        measure: Measure,
        watcher: Watcher,
        directory: StressDirectory,
        *,
        url: str,
        model: str,
        bound: Bound,
        rules: Rules,
        check: Callable[[], str],
        is_alive: Callable[[], bool],
        tell: Callable[[Round, StressReport], None] = lambda found, report: None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._plans = tuple(plans)
        self._measure = measure
        self._watcher = watcher
        self._directory = directory
        self._url, self._model = url, model
        self._bound = bound
        self._rules = rules
        self._check = check
        self._is_alive = is_alive
        self._tell = tell
        self._pause = pause
        self._rounds: list[Round] = []
        self._notes: list[str] = []

    def run(self) -> StressReport:
        """Go on from what the directory holds. Raises OutputError; Ctrl-C ends it with what there is."""
        self._rounds = self._directory.read_rounds()
        if self._rounds:
            self._notes.append(f"continued after round {len(self._rounds)}")
        continued = bool(self._rounds)
        interrupted = False
        try:
            interrupted = not self._go_on(continued=continued)
        except KeyboardInterrupt:
            interrupted = True
        report = self._summarize(interrupted=interrupted)
        self._directory.write_report(report, write_stress_page(report))
        return report

    def _go_on(self, *, continued: bool) -> bool:
        """Rounds until there is no next one; False: interrupted."""
        written_at = 0.0
        # Whether it got worse is asked after a round: a run that is continued may have been mended meanwhile.
        while not self._bound.is_reached(self._rounds):
            found = self._do_round(continued=continued)
            if found is None:
                return False
            continued = False
            self._directory.append(found)
            self._rounds.append(found)
            report = self._summarize(interrupted=False)
            self._tell(found, report)
            if report.regression:
                break
            if time.monotonic() - written_at > _REPORT_EVERY_S:
                self._directory.write_report(report, write_stress_page(report))
                written_at = time.monotonic()
        return True

    def _do_round(self, *, continued: bool) -> Round | None:
        """None: interrupted."""
        number = len(self._rounds) + 1
        plan = self._plans[(number - 1) % len(self._plans)]
        started, began = now_utc(), time.monotonic()
        result: BenchResult | None = None
        failure = ""
        self._watcher.start()
        try:
            result = self._measure(plan, number)
        except XpukitError as err:
            failure = err.message
        finally:
            loaded = self._watcher.stop()
        if result is not None and result.interrupted:
            return None
        idle = self._watcher.read_idle()
        answers = "" if failure else self._check()
        # Whether the service is gone, or this was a bad moment of it.
        if (failure or answers or (result is not None and not result.completed)) and not self._find_alive():
            failure = f"the service at {self._url} is gone" + (f" ({failure or answers})" if failure or answers else "")
            answers = ""
        before = self._rounds[-1] if self._rounds else None
        life, restarted = _find_life(before, idle)
        if restarted and not continued and not failure:
            failure = "the engine was started again meanwhile: it ended by itself, or somebody ended it"
        if before is not None:
            idle = {**idle, **_count_preemptions(before, idle, same_life=not restarted)}
        return Round(
            number=number,
            scenario=plan.name,
            started=started,
            seconds=round(time.monotonic() - began, 3),
            life=life,
            result=result,
            idle=idle,
            loaded=loaded,
            answers=answers,
            failure=failure or _judge_host(idle),
        )

    def _find_alive(self) -> bool:
        for _ in range(int(find_stress_limit("dead_tries"))):
            if self._is_alive():
                return True
            self._pause(find_stress_limit("dead_pause_s"))
        return False

    def _summarize(self, *, interrupted: bool) -> StressReport:
        series = list_series(self._rounds, self._rules)
        regression = find_regression(self._rounds, series, self._rules)
        judged = any(one.verdict == "pass" for one in series if one.name in ("ttft_median", "output_throughput"))
        notes = [*self._notes]
        if not regression and not judged:
            notes.append(
                f"too few rounds to judge by: the first {self._rules.baseline} are the measure of those after them"
            )
        results = [one.result for one in self._rounds if one.result is not None]
        return StressReport(
            verdict="fail" if regression else "pass" if judged else "unknown",
            regression=regression,
            finished=self._bound.is_reached(self._rounds),
            interrupted=interrupted,
            url=self._url,
            model=self._model,
            rounds=tuple(self._rounds),
            series=series,
            hours=round(sum(one.seconds for one in self._rounds) / 3600, 4),
            requests=sum(one.asked for one in self._rounds),
            failed=sum(one.failed or 0 for one in results),
            notes=tuple(notes),
        )


def _find_life(before: Round | None, idle: dict[str, float]) -> tuple[int, bool]:
    """Which start of the engine this is, and whether it is another than the round before's: by the process' start, or
    by a counter that fell."""
    if before is None:
        return 1, False
    started, then = idle.get("start_time_s"), before.idle.get("start_time_s")
    if started is not None and then is not None:
        again = abs(started - then) > _SAME_START_S
    else:
        again = idle.get("generation_tokens_total", 0.0) < before.idle.get("generation_tokens_total", 0.0) and bool(
            idle
        )
    return before.life + again, again


def _count_preemptions(before: Round, idle: dict[str, float], *, same_life: bool) -> dict[str, float]:
    now, then = idle.get("preemptions_total"), before.idle.get("preemptions_total")
    if now is None or then is None or not same_life:
        return {}
    return {"preemptions": max(0.0, now - then)}


def _judge_host(idle: dict[str, float]) -> str:
    total, available = idle.get("host_total_bytes"), idle.get("host_available_bytes")
    if total and available is not None and available / total < find_stress_limit("host_floor_share"):
        return f"main memory is nearly full: {available / total:.1%} of it is available"
    return ""
