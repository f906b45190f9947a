"""What a run will do: the jobs of all benchmarks in order, those that run together, and what cannot apply."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import msgspec

from xpukit.core.measurement import Job, MetricKey, Skip
from xpukit.evaluate.benchmark import Benchmark, Plan, Scope
from xpukit.evaluate.fit_plan import TimedGroup, count_kept, describe_left_out, explain_left_out, time_groups
from xpukit.evaluate.run_directory import RunOptions, name_file
from xpukit.evaluate.side_by_side import group_jobs
from xpukit.facts.suites import Suite, list_suites, load_suite


class PlannedJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job with the benchmark that reads its output and its file name in the run directory.

    `covered` are metrics that it measures but another engine's job promises: they are that one's to report. Jobs of
    one `group` run side by side.
    """

    name: str
    job: Job
    benchmark: Benchmark
    covered: frozenset[MetricKey] = frozenset()
    group: int = 0


class RunPlan(msgspec.Struct, frozen=True, kw_only=True):
    """All jobs of a run in order, and the rows that cannot apply. `left_out`: what there is no time for, in words."""

    jobs: tuple[PlannedJob, ...]
    skips: tuple[tuple[str, Skip], ...]
    left_out: str = ""

    @property
    def estimate_s(self) -> float:
        """Seconds of the whole run, roughly; waiting for calm between jobs is not counted."""
        return sum(max(planned.job.estimate_s for planned in group) for group in self.list_groups())

    def list_groups(self) -> Iterator[list[PlannedJob]]:
        """Jobs that run together, in order."""
        group: list[PlannedJob] = []
        for planned in self.jobs:
            if group and (not planned.group or planned.group != group[0].group):
                yield group
                group = []
            group.append(planned)
        if group:
            yield group


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
    drafts: list[_Draft] = []
    skips: dict[MetricKey, tuple[str, Skip]] = {}
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
        jobs = [job for _, job in repeated]
        groups = time_groups(list(group_jobs(benchmark, jobs, scope)), jobs)
        drafts.append(_Draft(benchmark=benchmark, covered=covered, repeated=repeated, groups=groups))
    left_out = _fit(drafts, suite, options, skips)
    named = tuple(_name_jobs(drafts, several=options.repeat > 1))
    return RunPlan(jobs=named, skips=tuple(skips.values()), left_out=left_out)


class _Draft(msgspec.Struct):
    """A benchmark's jobs with their repeat, in the groups in which they will run."""

    benchmark: Benchmark
    covered: frozenset[MetricKey]
    repeated: list[tuple[int, Job]]
    groups: list[TimedGroup]


def _fit(drafts: Sequence[_Draft], suite: Suite, options: RunOptions, skips: dict[MetricKey, tuple[str, Skip]]) -> str:
    """Leave out what takes longer than the suite states, and say what; repeats were asked for and take their time."""
    if not suite.keep_within:
        return ""
    longer = _find_longer(suite)
    left_out: dict[str, int] = {}
    limit_s = suite.stated_limit_s * options.repeat
    counts = count_kept([draft.groups for draft in drafts], limit_s)
    for draft, count in zip(drafts, counts, strict=True):
        kept = {draft.repeated[place][1].name for group in draft.groups[:count] for place in group.places}
        for group in draft.groups[count:]:
            for place in group.places:
                job = draft.repeated[place][1]
                if job.name not in kept:
                    skip = explain_left_out(job, suite=suite.name, limit_s=suite.stated_limit_s, longer=longer)
                    skips.setdefault(skip.key, (draft.benchmark.engine, skip))
                    kept.add(job.name)  # of repeats it is told once
                    name = draft.benchmark.row_name
                    left_out[name] = left_out.get(name, 0) + len(job.promises)
        del draft.groups[count:]
    return describe_left_out(left_out, suite=suite.name, limit_s=suite.stated_limit_s, longer=longer)


def _find_longer(suite: Suite) -> str:
    """The shipped suite that takes the next longer; "" for none."""
    shipped = [load_suite(name) for name in list_suites()]
    longer = [other for other in shipped if other.stated_limit_s > suite.stated_limit_s and other.name != suite.name]
    return min(longer, key=lambda other: other.stated_limit_s).name if longer else ""


def _name_jobs(drafts: Sequence[_Draft], *, several: bool) -> Iterator[PlannedJob]:
    """Jobs in the order in which they run, with their file names."""
    number = groups = 0
    for draft in drafts:
        for group in draft.groups:
            groups += 1
            for place in group.places:
                repeat, job = draft.repeated[place]
                number += 1
                suffix = f".r{repeat + 1}" if several else ""
                yield PlannedJob(
                    name=f"{number:03d}-{name_file(job.name)}{suffix}",
                    job=job,
                    benchmark=draft.benchmark,
                    covered=draft.covered,
                    group=groups,
                )


def _plan_one(benchmark: Benchmark, suite: Suite, options: RunOptions, scope: Scope) -> Plan:
    settings = dict(suite.benchmarks[benchmark.table])
    if options.plant_error:
        settings["plant_error"] = True
    method = msgspec.structs.replace(suite.method, seed=options.seed)
    return benchmark.plan(msgspec.structs.replace(scope, settings=settings, method=method))


def _leave_out(job: Job, covered: frozenset[MetricKey]) -> Job:
    return msgspec.structs.replace(job, promises=tuple(p for p in job.promises if p.key not in covered))
