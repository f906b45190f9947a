"""Do the jobs of a plan, group after group, judge after each: what is done is kept whatever comes next."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed, wait
from typing import Any, Protocol

import msgspec

from xpukit.core.errors import InterruptedRunError, OutputError
from xpukit.core.json_document import build_document, now_utc
from xpukit.core.machine import Machine
from xpukit.core.measurement import Target
from xpukit.evaluate.error_counters import ErrorCounters
from xpukit.evaluate.error_rows import judge_errors
from xpukit.evaluate.explain import explain
from xpukit.evaluate.gpu_users import GpuUser, UserLookout, name_disturbing
from xpukit.evaluate.link_rows import judge_links
from xpukit.evaluate.link_way import Links, read_seen_links
from xpukit.evaluate.reference import Limits, ReferenceBook
from xpukit.evaluate.result import DeviceSummary, Evaluation, JobRecord, Result
from xpukit.evaluate.run_directory import JobOutcome, RunDirectory, RunOptions, fingerprint_job
from xpukit.evaluate.run_outcomes import list_disturbed, list_impossible, list_missing, merge_measurements
from xpukit.evaluate.run_plan import PlannedJob, RunPlan
from xpukit.evaluate.settle import SettleGate
from xpukit.evaluate.verdict import judge_all, judge_run, sort_rows
from xpukit.evaluate.watch import DeviceWatch, State
from xpukit.evaluate.wiring import list_fabric_pairs
from xpukit.facts.suites import Suite
from xpukit.host import Host
from xpukit.host.runner import end_running

SCHEMA = "xpukit.evaluate/1"


class Observer(Protocol):
    """Who watches a run (the terminal)."""

    def planned(self, jobs: int, estimate_s: float) -> None: ...
    def job_started(self, position: int, name: str, estimate_s: float) -> None: ...
    def job_finished(self, position: int, outcome: JobOutcome, *, resumed: bool) -> None: ...
    def noticed(self, text: str) -> None: ...


def do_job(host: Host, planned: PlannedJob, directory: RunDirectory) -> JobOutcome:
    """Run one child process and read what it said. Never raises for what the child does."""
    job = planned.job
    log = directory.log_path(planned.name)
    try:
        log.unlink(missing_ok=True)
        ran = host.run(job.argv, timeout_s=job.timeout_s, input=job.input, env=job.env, cwd=job.cwd or None, log=log)
    except OSError as err:  # what the command itself meets is an answer; this is the log that gets its output
        raise OutputError(
            f"{log}: cannot be written: {err.strerror or err}", hint=f"make room, then --resume {directory.path}"
        ) from err
    parsed = planned.benchmark.parse(job, ran)
    measurements = tuple(m for m in parsed.measurements if m.key not in planned.covered)
    delivered = {measurement.key for measurement in measurements}
    reasons, impossible = dict(parsed.reasons), dict(parsed.impossible)
    missing = tuple(
        (promise, reasons.get(promise.key) or parsed.problem or "its output does not hold this metric")
        for promise in job.promises
        if promise.key not in delivered and promise.key not in impossible
    )
    record = JobRecord(
        name=planned.name,
        benchmark=job.benchmark,
        seconds=ran.seconds,
        rc=ran.rc,
        failure=parsed.problem,
        command=ran.command,
        log=f"logs/{log.name}",
        overhead_s=round(ran.seconds - parsed.measuring_s, 3) if parsed.measuring_s is not None else None,
        timing_us=parsed.timing_us,
        notes=parsed.notes,
    )
    return JobOutcome(
        fingerprint=fingerprint_job(job),
        record=record,
        engine=planned.benchmark.engine,
        measurements=measurements,
        missing=missing,
        impossible=tuple(
            (promise, impossible[promise.key])
            for promise in job.promises
            if promise.key in impossible and promise.key not in delivered
        ),
    )


def do_group(
    host: Host, group: Sequence[PlannedJob], directory: RunDirectory, *, done: Callable[[PlannedJob, JobOutcome], None]
) -> None:
    """Run jobs side by side; `done` hears of each as it ends, in this thread. On Ctrl-C all of them are ended."""
    if len(group) == 1:
        done(group[0], do_job(host, group[0], directory))
        return
    with ThreadPoolExecutor(max_workers=len(group), thread_name_prefix="xpukit-job") as pool:
        futures: dict[Future[JobOutcome], PlannedJob] = {
            pool.submit(do_job, host, planned, directory): planned for planned in group
        }
        try:
            for future in as_completed(futures):
                done(futures[future], future.result())
        except BaseException:
            # Ctrl-C comes to this thread only. A command may be about to start: until none is left.
            pool.shutdown(wait=False, cancel_futures=True)
            while wait(futures, timeout=0.2).not_done:
                end_running()
            raise


class Evaluator:
    """One run from plan to verdict."""

    def __init__(
        self,
        *,
        host: Host,
        directory: RunDirectory,
        options: RunOptions,
        suite: Suite,
        plan: RunPlan,
        machine: Machine,
        targets: Sequence[Target],
        book: ReferenceBook,
        limits: Limits,
        read_conditions: Callable[[], dict[str, Any]],
        read_state: Callable[[], State],
        observer: Observer,
        lookout: UserLookout | None = None,
        counters: ErrorCounters | None = None,
    ) -> None:
        self._host = host
        self._lookout = lookout or UserLookout(tuple)
        self._directory = directory
        self._options = options
        self._suite = suite
        self._plan = plan
        self._machine = machine
        self._targets = tuple(targets)
        self._book = book
        self._limits = limits
        self._read_conditions = read_conditions
        self._read_state = read_state
        self._observer = observer
        self._counters = counters or ErrorCounters(host, machine, ())
        self._hostname = host.identity().hostname
        self._started = options.created or now_utc()

    def run(self) -> Evaluation:
        """Do what is not done yet. Raises InterruptedRunError on Ctrl-C, after writing what there is."""
        begun = time.monotonic()
        conditions: dict[str, Any] = {"before": self._read_all_conditions()}
        if self._plan.left_out:
            conditions["left_out"] = self._plan.left_out
            self._observer.noticed(self._plan.left_out)
        self._look_around(conditions)
        outcomes: list[JobOutcome] = []
        gate = SettleGate(self._host, self._read_state, self._suite.settle)
        self._observer.planned(len(self._plan.jobs), self._plan.estimate_s)
        try:
            for group in self._plan.list_groups():
                self._run_group(group, outcomes, conditions, gate)
                if len(outcomes) < len(self._plan.jobs):
                    self._write(outcomes, conditions, begun, complete=False)
        except KeyboardInterrupt:
            self._write(outcomes, conditions, begun, complete=False)
            raise InterruptedRunError(
                f"interrupted; {len(outcomes)} of {len(self._plan.jobs)} jobs are kept in {self._directory.path}",
                hint=f"xpukit evaluate --resume {self._directory.path}",
            ) from None
        conditions["after"] = self._read_all_conditions()
        return self._write(outcomes, conditions, begun, complete=True)

    def _read_all_conditions(self) -> dict[str, Any]:
        """Conditions of this moment, with what the cards have counted of errors."""
        counts = self._counters.read()
        return {**self._read_conditions(), **({"errors_counted": counts} if counts else {})}

    def _run_group(
        self, group: Sequence[PlannedJob], outcomes: list[JobOutcome], conditions: dict[str, Any], gate: SettleGate
    ) -> None:
        """Add the outcomes of jobs that run together, in their order: kept ones, then those of this moment."""
        kept: dict[str, JobOutcome] = {}
        for planned in group:
            outcome = self._directory.load_outcome(planned.name, fingerprint_job(planned.job))
            if outcome is not None and not outcome.record.failure:
                kept[planned.name] = outcome
        waiting = [planned for planned in group if planned.name not in kept]
        places = {planned.name: len(outcomes) + place for place, planned in enumerate(group, start=1)}
        for name, outcome in kept.items():
            self._observer.job_finished(places[name], outcome, resumed=True)
        fresh: dict[str, JobOutcome] = {}

        def take(planned: PlannedJob, outcome: JobOutcome) -> None:
            fresh[planned.name] = outcome
            self._observer.job_finished(places[planned.name], outcome, resumed=False)

        if waiting:
            settled_s, unsettled = gate.wait()
            users = self._lookout.look()
            for planned in waiting:
                self._observer.job_started(places[planned.name], planned.name, planned.job.estimate_s)
            watch = DeviceWatch(self._read_state)
            try:
                with watch:
                    do_group(self._host, waiting, self._directory, done=take)
                users = (*users, *self._look_around(conditions))
            finally:
                seen = watch.summarize()
                for planned in waiting:
                    if planned.name in fresh:
                        record = msgspec.structs.replace(
                            fresh[planned.name].record,
                            settled_s=settled_s,
                            unsettled=unsettled,
                            other_users=_name_users(planned, name_disturbing(users)),
                            conditions=_select_conditions(planned, seen) if len(waiting) > 1 else seen,
                        )
                        outcome = msgspec.structs.replace(fresh[planned.name], record=record)
                        self._directory.save_outcome(planned.name, outcome)
                        kept[planned.name] = outcome
        outcomes += [kept[planned.name] for planned in group if planned.name in kept]

    def _look_around(self, conditions: dict[str, Any]) -> tuple[GpuUser, ...]:
        """Who uses the devices now; those who are new are told, and all are kept for the report."""
        known = {bdf: set(words) for bdf, words in self._lookout.describe().items()}
        users = self._lookout.look()
        measured = {target.bdf for target in self._targets}
        for bdf, words in self._lookout.describe().items():
            for text in words if bdf in measured else ():
                if text not in known.get(bdf, ()):
                    self._observer.noticed(f"{bdf} is also used by {text}")
        if told := {bdf: words for bdf, words in self._lookout.describe().items() if bdf in measured}:
            conditions["other_users"] = told
        return users

    def _write(
        self, outcomes: Sequence[JobOutcome], conditions: dict[str, Any], begun: float, *, complete: bool
    ) -> Evaluation:
        measured = merge_measurements(outcomes)
        links = Links(
            self._machine,
            read_seen_links(outcome.record.conditions for outcome in outcomes),
            list_fabric_pairs((item.key, item.samples[0]) for _, item in measured if item.samples),
        )
        results: tuple[Result, ...] = judge_all(
            measured,
            list_missing(outcomes),
            [*self._plan.skips, *list_impossible(outcomes)],
            book=self._book.with_links(links),
            limits=self._limits,
            settings=self._suite.judge,
            disturbed=list_disturbed(outcomes),
        )
        counters = self._counters
        errors = judge_errors(*counters.span, counters.cards, counters.problems) if complete else ()
        results = sort_rows((*results, *judge_links(links, self._targets, results), *errors))
        evaluation = Evaluation(
            engine=self._options.engine,
            suite=self._suite.name,
            devices=tuple(summarize_target(target) for target in self._targets),
            results=results,
            verdict=judge_run(results, strict=self._options.strict),
            complete=complete,
            conditions=conditions,
            jobs=tuple(outcome.record for outcome in outcomes),
            findings=explain(self._machine, results),
            started=self._started,
            seconds=round(time.monotonic() - begun, 1),
            seed=self._options.seed,
            repeat=self._options.repeat,
            only=self._options.only,
            skip=self._options.skip,
        )
        self._directory.write_json("results.json", build_document(SCHEMA, self._hostname, evaluation))
        return evaluation


def _name_users(planned: PlannedJob, users: dict[str, list[str]]) -> dict[str, list[str]]:
    bdfs = {label.partition("/")[0] for label in planned.job.targets}
    return {bdf: list(dict.fromkeys(names)) for bdf, names in users.items() if bdf in bdfs}


def _select_conditions(planned: PlannedJob, seen: dict[str, Any]) -> dict[str, Any]:
    """Of what was sampled while several jobs ran, the job's own devices."""
    bdfs = {label.partition("/")[0] for label in planned.job.targets}
    return {label: readings for label, readings in seen.items() if label in bdfs or label == "problem"}


def summarize_target(target: Target) -> DeviceSummary:
    """A target as results name it."""
    return DeviceSummary(
        label=target.label,
        kind=target.kind,
        name=target.name,
        bdf=target.bdf,
        device_id=target.device_id,
        numa_node=target.numa_node,
        memory_bytes=target.memory_bytes,
    )
