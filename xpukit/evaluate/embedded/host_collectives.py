"""Collectives over several hosts: the same kinds, cases and rows as on one, started by mpiexec over ssh."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from xpukit.core.measurement import Job, Method, Promise, Target
from xpukit.evaluate.benchmark import Benchmark, Plan, Scope
from xpukit.evaluate.embedded.collective_jobs import list_cases, parse_rank_output, read_settings
from xpukit.evaluate.embedded.protocol import WORKER_MODULE, Request, pack_request
from xpukit.evaluate.embedded.ranks import UNITS, RankParams, key_of
from xpukit.evaluate.limits import gather_specified_limits
from xpukit.evaluate.reference import ReferenceBook
from xpukit.evaluate.result import Evaluation
from xpukit.evaluate.run import do_job, summarize_target
from xpukit.evaluate.run_directory import RunDirectory
from xpukit.evaluate.run_outcomes import list_missing, merge_measurements
from xpukit.evaluate.run_plan import PlannedJob
from xpukit.evaluate.verdict import judge_all, judge_run
from xpukit.facts.suites import Suite
from xpukit.host import Host
from xpukit.host.native import mpi, oneccl

# mpiexec's way over ssh and the start of Python on each host; measured between two network namespaces: 9 s.
_START_S = 15.0


class HostsPlan(msgspec.Struct, frozen=True, kw_only=True):
    """`hosts` by name, `ranks_per_host` on each; `mode`: cpu, p2p or usm; `kind`: collectives (oneCCL) or
    mpi_collectives (mpi4py, host memory). `python` and `libraries` are paths on the hosts. `input_to_all`: whether the
    launcher gives its input to every rank."""

    hosts: tuple[str, ...]
    ranks_per_host: int
    mode: str
    kind: str
    python: str
    libraries: str
    launcher: tuple[str, ...]
    environment: dict[str, str]
    input_to_all: bool = True

    @property
    def targets(self) -> tuple[Target, ...]:
        """A device a rank, in rank order, named by host."""
        gpu = self.mode != "cpu"
        several = self.ranks_per_host > 1
        return tuple(
            Target(
                label=f"{host}/{local}" if several else host, kind="gpu" if gpu else "cpu",
                name="a GPU a rank" if gpu else "host memory", level_zero_index=local if gpu else None,
            )
            for host in self.hosts
            for local in range(self.ranks_per_host)
        )  # fmt: skip


def plan_hosts_job(plan: HostsPlan, suite: Suite, *, collectives: Sequence[str], sizes: Sequence[int]) -> Job:
    """The job: one mpiexec for all cases of the suite's table `collectives`."""
    from pathlib import Path

    settings = read_settings(suite.benchmarks.get("collectives", {}), "collectives")
    ranks = len(plan.targets)
    params = RankParams(
        benchmark="collectives",
        ranks=ranks,
        mode=plan.mode,
        devices=tuple(target.label for target in plan.targets),
        cases=list_cases(
            msgspec.structs.replace(settings, sizes=tuple(sizes) or settings.sizes),
            collectives or settings.collectives,
            ranks,
            ("fp32",) if plan.kind == "mpi_collectives" else settings.dtypes,
        ),
    )
    method = Method(**msgspec.to_builtins(suite.method))
    promises = tuple(
        Promise(key=key_of(params, case, metric), unit=UNITS[metric], higher_is_better=metric != "latency")
        for case in params.cases
        for metric in case.metrics
    )
    plain: dict[str, Any] = msgspec.to_builtins(params)
    # Between hosts a network's speed counts: 1 Gbit/s is the slowest that is waited for.
    moved_s = sum(case.size_bytes * 8 / 1e9 * method.min_samples for case in params.cases)
    estimate_s = _START_S + len(params.cases) * (method.warmup_limit_s + method.time_box_s) + moved_s
    folder = Path(plan.libraries)
    own = oneccl.build_environment(folder, plan.mode)
    device = _choose_device(plan)
    request = msgspec.json.encode(Request(kind=plan.kind, targets=plan.targets, method=method, params=plain))
    return Job(
        benchmark="collectives",
        name=f"collectives-{len(plan.hosts)}hosts-{plan.ranks_per_host}ranks-{plan.mode}",
        argv=(
            *plan.launcher,
            plan.python,
            "-m",
            WORKER_MODULE,
            *(() if plan.input_to_all else (pack_request(request),)),
        ),
        promises=promises,
        timeout_s=max(60.0, 3 * estimate_s),
        estimate_s=estimate_s,
        env={**mpi.build_environment(folder), "I_MPI_FABRICS": "shm:ofi", **own, **device, **plan.environment},
        input=request if plan.input_to_all else b"",
        targets=tuple(target.label for target in plan.targets),
    )


def _choose_device(plan: HostsPlan) -> Mapping[str, str]:
    if plan.mode == "cpu":
        return {"XPUKIT_DEVICE": "cpu"}
    return {
        "XPUKIT_DEVICE": "gpu",
        "ONEAPI_DEVICE_SELECTOR": "level_zero:gpu",
        "ZE_FLAT_DEVICE_HIERARCHY": "COMPOSITE",
        "ZE_AFFINITY_MASK": ",".join(str(index) for index in range(plan.ranks_per_host)),
    }


def measure_hosts(
    host: Host, job: Job, plan: HostsPlan, suite: Suite, directory: RunDirectory, *, started: str
) -> Evaluation:
    """Run the job, judge what came. A rank that dies or hangs costs the run, which names it."""
    benchmark = Benchmark(
        name="collectives", summary="", engine="embedded", plan=_plan_nothing, parse=parse_rank_output, order=0
    )
    outcome = do_job(host, PlannedJob(name=job.name, job=job, benchmark=benchmark), directory)
    directory.save_outcome(job.name, outcome)
    results = judge_all(
        merge_measurements([outcome]),
        list_missing([outcome]),
        (),
        book=ReferenceBook((), plan.targets),
        limits=gather_specified_limits(plan.targets),
        settings=suite.judge,
    )
    return Evaluation(
        engine="embedded",
        suite=f"{suite.name} over hosts",
        devices=tuple(summarize_target(target) for target in plan.targets),
        results=results,
        verdict=judge_run(results, strict=False),
        complete=not outcome.record.failure,
        jobs=(outcome.record,),
        started=started,
        seconds=outcome.record.seconds,
    )


def _plan_nothing(scope: Scope) -> Plan:
    del scope
    return Plan()
