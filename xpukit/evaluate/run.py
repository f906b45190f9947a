"""Plan a run, do its jobs one after another, judge after each: what is done is kept whatever comes next."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec

from xpukit.core.errors import InterruptedRunError
from xpukit.core.json_document import build_document, now_utc
from xpukit.core.machine import Machine
from xpukit.core.measurement import Job, Measurement, MetricKey, Promise, Skip, Target
from xpukit.evaluate.benchmark import Benchmark, Plan, Scope
from xpukit.evaluate.explain import explain
from xpukit.evaluate.reference import Limits, ReferenceBook
from xpukit.evaluate.result import DeviceSummary, Evaluation, JobRecord, Result
from xpukit.evaluate.run_directory import JobOutcome, RunDirectory, RunOptions, fingerprint_job, name_file
from xpukit.evaluate.settle import SettleGate
from xpukit.evaluate.verdict import judge_all, judge_run
from xpukit.evaluate.watch import DeviceWatch, State
from xpukit.facts.suites import Suite
from xpukit.host import Host

SCHEMA = "xpukit.evaluate/1"


class Observer(Protocol):
    """Who watches a run (the terminal)."""

    def planned(self, jobs: int, estimate_s: float) -> None: ...
    def job_started(self, position: int, name: str, estimate_s: float) -> None: ...
    def job_finished(self, position: int, outcome: JobOutcome, *, resumed: bool) -> None: ...


class PlannedJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job with the benchmark that reads its output and its file name in the run directory.

    `covered` are metrics that it measures but another engine's job promises: they are that one's to report.
    """

    name: str
    job: Job
    benchmark: Benchmark
    covered: frozenset[MetricKey] = frozenset()


class RunPlan(msgspec.Struct, frozen=True, kw_only=True):
    """All jobs of a run in order, and the rows that cannot apply."""

    jobs: tuple[PlannedJob, ...]
    skips: tuple[tuple[str, Skip], ...]

    @property
    def estimate_s(self) -> float:
        return sum(planned.job.estimate_s for planned in self.jobs)


def plan_run(benchmarks: Sequence[Benchmark], suite: Suite, options: RunOptions, scope: Scope) -> RunPlan:
    """Every job of the run, repeats included. The order of repeats is shuffled by the seed, not that of kinds."""
    plans = [(benchmark, _plan_one(benchmark, suite, options, scope)) for benchmark in benchmarks]
    by_tools = frozenset(
        promise.key
        for benchmark, plan in plans
        if benchmark.engine == "tools"
        for job in plan.jobs
        for promise in job.promises
    )
    jobs: list[PlannedJob] = []
    skips: dict[MetricKey, tuple[str, Skip]] = {}
    number = 0
    for benchmark, plan in plans:
        covered = by_tools if benchmark.engine != "tools" else frozenset()
        for skip in plan.skips:
            if skip.key not in by_tools:
                skips.setdefault(skip.key, (benchmark.engine, skip))
        wanted = [job for job in (_leave_out(job, covered) for job in plan.jobs) if job.promises]
        repeated = [(repeat, job) for repeat in range(options.repeat) for job in wanted]
        if options.repeat > 1:
            # A drift over the run must not fall on the same metrics in each repeat.
            random.Random(options.seed).shuffle(repeated)
        for repeat, job in repeated:
            number += 1
            suffix = f".r{repeat + 1}" if options.repeat > 1 else ""
            name = f"{number:03d}-{name_file(job.name)}{suffix}"
            jobs.append(PlannedJob(name=name, job=job, benchmark=benchmark, covered=covered))
    return RunPlan(jobs=tuple(jobs), skips=tuple(skips.values()))


def _plan_one(benchmark: Benchmark, suite: Suite, options: RunOptions, scope: Scope) -> Plan:
    settings = dict(suite.benchmarks[benchmark.table])
    if options.plant_error:
        settings["plant_error"] = True
    method = msgspec.structs.replace(suite.method, seed=options.seed)
    return benchmark.plan(msgspec.structs.replace(scope, settings=settings, method=method))


def _leave_out(job: Job, covered: frozenset[MetricKey]) -> Job:
    return msgspec.structs.replace(job, promises=tuple(p for p in job.promises if p.key not in covered))


def do_job(
    host: Host, planned: PlannedJob, directory: RunDirectory, *, gate: SettleGate, read_state: Callable[[], State]
) -> JobOutcome:
    """Wait for calm, run one child process and read what it said. Never raises for what the child does."""
    job = planned.job
    settled_s, unsettled = gate.wait()
    log = directory.log_path(planned.name)
    log.unlink(missing_ok=True)
    with DeviceWatch(read_state) as watch:
        ran = host.run(job.argv, timeout_s=job.timeout_s, input=job.input, env=job.env, cwd=job.cwd or None, log=log)
    parsed = planned.benchmark.parse(job, ran)
    measurements = tuple(m for m in parsed.measurements if m.key not in planned.covered)
    delivered = {measurement.key for measurement in measurements}
    reasons = dict(parsed.reasons)
    missing = tuple(
        (promise, reasons.get(promise.key) or parsed.problem or "its output does not hold this metric")
        for promise in job.promises
        if promise.key not in delivered
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
        settled_s=settled_s,
        unsettled=unsettled,
        conditions=watch.summarize(),
        notes=parsed.notes,
    )
    return JobOutcome(
        fingerprint=fingerprint_job(job),
        record=record,
        engine=planned.benchmark.engine,
        measurements=measurements,
        missing=missing,
    )


def merge_measurements(outcomes: Sequence[JobOutcome]) -> list[tuple[str, Measurement]]:
    """Measurements by key; repeats are pooled, and one wrong repeat makes the pool wrong."""
    pooled: dict[tuple[str, Any], tuple[str, Measurement]] = {}
    for outcome in outcomes:
        for measurement in outcome.measurements:
            key = (outcome.engine, measurement.key)
            known = pooled.get(key)
            if known is None:
                pooled[key] = (outcome.engine, measurement)
                continue
            wrong = next((m for m in (known[1], measurement) if m.verified is False), measurement)
            pooled[key] = (
                outcome.engine,
                msgspec.structs.replace(
                    known[1],
                    samples=known[1].samples + measurement.samples,
                    verified=wrong.verified,
                    verify_detail=wrong.verify_detail,
                ),
            )
    return list(pooled.values())


def list_missing(outcomes: Sequence[JobOutcome]) -> list[tuple[str, Promise, str]]:
    """Promised metrics that no repeat delivered, each once."""
    delivered = {measurement.key for outcome in outcomes for measurement in outcome.measurements}
    missing: dict[Any, tuple[str, Promise, str]] = {}
    for outcome in outcomes:
        for promise, reason in outcome.missing:
            if promise.key not in delivered:
                missing.setdefault(promise.key, (outcome.engine, promise, reason))
    return list(missing.values())


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
    ) -> None:
        self._host = host
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
        self._hostname = host.identity().hostname
        self._started = options.created or now_utc()

    def run(self) -> Evaluation:
        """Do what is not done yet. Raises InterruptedRunError on Ctrl-C, after writing what there is."""
        begun = time.monotonic()
        conditions = {"before": self._read_conditions()}
        outcomes: list[JobOutcome] = []
        gate = SettleGate(self._host, self._read_state, self._suite.settle)
        self._observer.planned(len(self._plan.jobs), self._plan.estimate_s)
        try:
            for position, planned in enumerate(self._plan.jobs, start=1):
                outcome = self._directory.load_outcome(planned.name, fingerprint_job(planned.job))
                resumed = outcome is not None and not outcome.record.failure
                if not resumed or outcome is None:
                    self._observer.job_started(position, planned.name, planned.job.estimate_s)
                    outcome = do_job(self._host, planned, self._directory, gate=gate, read_state=self._read_state)
                    self._directory.save_outcome(planned.name, outcome)
                outcomes.append(outcome)
                self._observer.job_finished(position, outcome, resumed=resumed)
                if position < len(self._plan.jobs):
                    self._write(outcomes, conditions, begun, complete=False)
        except KeyboardInterrupt:
            self._write(outcomes, conditions, begun, complete=False)
            raise InterruptedRunError(
                f"interrupted; {len(outcomes)} of {len(self._plan.jobs)} jobs are kept in {self._directory.path}",
                hint=f"xpukit evaluate --resume {self._directory.path}",
            ) from None
        conditions["after"] = self._read_conditions()
        return self._write(outcomes, conditions, begun, complete=True)

    def _write(
        self, outcomes: Sequence[JobOutcome], conditions: dict[str, Any], begun: float, *, complete: bool
    ) -> Evaluation:
        results: tuple[Result, ...] = judge_all(
            merge_measurements(outcomes),
            list_missing(outcomes),
            self._plan.skips,
            book=self._book,
            limits=self._limits,
            settings=self._suite.judge,
        )
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
