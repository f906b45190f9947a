"""Jobs side by side, and plans that keep to the suite's stated duration."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.evaluate.memory_scopes import CPU, make_scope
from tests.unit.evaluate.test_run import WorkerHost
from tests.unit.evaluate.test_tools_plans import make_host
from xpukit.core.measurement import Job, Promise, Target, make_key
from xpukit.evaluate.benchmark import Benchmark, Plan, Scope
from xpukit.evaluate.device_rates import estimate_copy_bytes_per_s, estimate_gpu_rates
from xpukit.evaluate.embedded.protocol import Request, build_job, parse_worker_output
from xpukit.evaluate.fit_plan import TimedGroup, count_kept, share_time
from xpukit.evaluate.registry import list_benchmarks
from xpukit.evaluate.run import do_group
from xpukit.evaluate.run_directory import JobOutcome, RunDirectory, RunOptions
from xpukit.evaluate.run_plan import PlannedJob, RunPlan, plan_run
from xpukit.evaluate.side_by_side import claim_cards, claim_cards_and_nodes, group_jobs
from xpukit.facts.suites import load_suite
from xpukit.host.answers import Ran

FULL = make_host(
    ze_peak="/tools/ze_peak", ze_bandwidth="/tools/ze_bandwidth", ze_peer="/tools/ze_peer",
    matrix_mul_mkl="/usr/bin/matrix_mul_mkl", one_ccl_benchmark="/usr/bin/1ccl_benchmark", mpirun="/usr/bin/mpirun",
    numactl="/usr/bin/numactl",
)  # fmt: skip
NODES = ((0, "0-31"), (1, "32-63"))


def make_gpus(count: int, device_id: str = "e211") -> tuple[Target, ...]:
    return tuple(
        Target(label=f"0000:{place + 3:02x}:00.0", kind="gpu", name="B60", bdf=f"0000:{place + 3:02x}:00.0",
               device_id=device_id, level_zero_index=place, numa_node=2 * place // max(count, 2),
               memory_bytes=24 << 30)
        for place in range(count)
    )  # fmt: skip


def plan_suite(suite_name: str, engines: tuple[str, ...], gpus: tuple[Target, ...]) -> RunPlan:
    suite = load_suite(suite_name)
    wanted = ("gemm", "memory", "transfer", "p2p", "collectives", "compute")
    benchmarks = [
        b for b in list_benchmarks()
        if b.engine in engines and b.row_name in wanted and b.table in suite.benchmarks
    ]  # fmt: skip
    scope = Scope(targets=gpus, settings={}, method=suite.method, host=FULL, numa_nodes=NODES, memory_bytes=256 << 30)
    return plan_run(benchmarks, suite, RunOptions(), scope)


@pytest.mark.parametrize("device_id", ["e211", "f0a1"], ids=["B60", "a card of which nothing is known"])
@pytest.mark.parametrize("count", [1, 4, 8, 16])
@pytest.mark.parametrize(
    "engines", [("embedded",), ("tools",), ("tools", "embedded")], ids=["embedded", "tools", "auto"]
)
@pytest.mark.parametrize("suite_name", ["quick", "standard"])
def test_the_plan_keeps_to_the_stated_duration(
    suite_name: str, engines: tuple[str, ...], count: int, device_id: str
) -> None:
    suite = load_suite(suite_name)
    assert suite.stated_limit_s == {"quick": 120, "standard": 900}[suite_name]
    plan = plan_suite(suite_name, engines, make_gpus(count, device_id))
    assert 0 < plan.estimate_s <= suite.stated_limit_s
    measured = {promise.key.benchmark for planned in plan.jobs for promise in planned.job.promises}
    assert {"gemm", "memory", "transfer"} <= measured
    if count > 1:
        assert {"p2p", "collectives"} <= measured
        touched = {
            label for planned in plan.jobs for promise in planned.job.promises
            if promise.key.benchmark in ("gemm", "memory") for label in promise.key.devices
        }  # fmt: skip
        assert len(touched) == count, "each device is measured"


def test_what_is_left_out_is_said() -> None:
    plan = plan_suite("quick", ("tools",), make_gpus(8))
    left_out = [skip for _, skip in plan.skips if "left out to keep suite quick within" in skip.reason]
    assert left_out
    assert all("use --suite standard," in skip.reason for skip in left_out)
    words = plan.left_out
    assert words.startswith("rows left out to keep suite quick within 2 min 00 s: ")
    assert words.endswith("; --suite standard has more time; --device and --only need less")
    for name in {skip.key.benchmark for skip in left_out}:
        assert f" of {name}" in words
    near = {promise.key.devices for planned in plan.jobs for promise in planned.job.promises
            if promise.key.metric == "access"}  # fmt: skip
    labels = [gpu.label for gpu in make_gpus(8)]
    assert near
    assert near <= {(labels[i], labels[(i + 1) % 8]) for i in range(8)}, "neighbours are kept"


def test_quick_checks_the_data_before_it_measures_more_curves() -> None:
    plan = plan_suite("quick", ("tools", "embedded"), make_gpus(2))
    kept = {(promise.key.metric, promise.key.devices) for planned in plan.jobs for promise in planned.job.promises
            if planned.benchmark.name == "ze_peer"}  # fmt: skip
    pairs = [tuple(gpu.label for gpu in gpus) for gpus in (make_gpus(2), make_gpus(2)[::-1])]
    assert {(metric, pair) for metric in ("access", "data") for pair in pairs} <= kept


def test_stress_leaves_nothing_out() -> None:
    plan = plan_suite("stress", ("tools",), make_gpus(8))
    assert plan.left_out == ""
    access = [p for planned in plan.jobs for p in planned.job.promises if p.key.metric == "access"]
    assert len(access) == 56


def test_gemm_runs_on_all_cards_at_once_one_job_a_card() -> None:
    plan = plan_suite("quick", ("embedded",), make_gpus(8))
    groups = [group for group in plan.list_groups() if group[0].benchmark.name == "gemm"]
    assert all(len(group) == 8 for group in groups)
    for group in groups:
        assert len({planned.job.targets for planned in group}) == 8
        assert len({planned.job.env["ZE_AFFINITY_MASK"] for planned in group}) == 8


def test_copies_run_together_only_from_different_nodes() -> None:
    plan = plan_suite("stress", ("embedded",), make_gpus(4))
    groups = [group for group in plan.list_groups() if group[0].benchmark.name == "transfer"]
    assert max(len(group) for group in groups) == 2
    for group in groups:
        nodes = [
            {dict(p.key.params).get("host_node") for p in planned.job.promises} | {planned_node(planned)}
            for planned in group
        ]
        assert len(group) == 1 or not nodes[0] & nodes[1]


def planned_node(planned: PlannedJob) -> int | None:
    return next(gpu.numa_node for gpu in make_gpus(4) if gpu.label in planned.job.targets)


def make_job(name: str, *labels: str) -> Job:
    promises = (Promise(key=make_key("demo", name, labels), unit="GB/s"),)
    return build_job(benchmark="demo", name=name, request=Request(kind="demo", targets=(), params={"name": name}),
                     promises=promises, estimate_s=1, env={})  # fmt: skip


def make_benchmark(claims: bool = True) -> Benchmark:
    return Benchmark(name="demo", summary="", engine="embedded", plan=lambda scope: Plan(), parse=parse_worker_output,
                     claims=claim_cards if claims else None)  # fmt: skip


def test_tiles_of_a_card_and_the_cpu_take_turns() -> None:
    import msgspec

    def job(name: str, *labels: str) -> Job:
        return msgspec.structs.replace(make_job(name, *labels), targets=labels)

    jobs = [job("a", "x/tile0"), job("b", "x/tile1"), job("c", "y/tile0"), job("d", "cpu"), job("e", "cpu")]
    scope = make_scope({}, CPU, numa_nodes=((0, "0-15"),))
    assert list(group_jobs(make_benchmark(), jobs, scope)) == [[0, 2], [1], [3], [4]]
    assert list(group_jobs(make_benchmark(claims=False), jobs, scope)) == [[0], [1], [2], [3], [4]]
    few = make_scope({}, CPU, numa_nodes=((0, "0-1"),))
    assert list(group_jobs(make_benchmark(), jobs, few)) == [[0], [1], [2], [3], [4]], "two processors for each"
    assert "node 0" in claim_cards_and_nodes(jobs[0], scope)


def test_a_group_really_runs_at_the_same_time(tmp_path: Path) -> None:
    meeting = threading.Barrier(3, timeout=20)

    def worker(request: Request) -> Ran:
        meeting.wait()
        return Ran(argv=("w",), rc=0, out=b'{"event":"done"}\n')

    host = WorkerHost(worker)
    benchmark = make_benchmark()
    group = [PlannedJob(name=name, job=make_job(name, name), benchmark=benchmark, group=1) for name in "abc"]
    done: dict[str, JobOutcome] = {}

    def take(planned: PlannedJob, outcome: JobOutcome) -> None:
        assert threading.current_thread() is threading.main_thread()
        done[planned.name] = outcome

    do_group(host, group, RunDirectory.create(tmp_path / "run", RunOptions()), done=take)
    assert sorted(done) == ["a", "b", "c"]


@given(st.lists(st.lists(st.floats(0.1, 50), min_size=1, max_size=6), min_size=1, max_size=6), st.floats(1, 200))
def test_plans_fit_or_are_down_to_one_group_each(durations: list[list[float]], limit_s: float) -> None:
    plans = [[TimedGroup(places=(0,), estimate_s=value) for value in values] for values in durations]
    kept = count_kept(plans, limit_s)
    assert all(1 <= count <= len(groups) for count, groups in zip(kept, plans, strict=True))
    spent = sum(sum(group.estimate_s for group in groups[:count]) for count, groups in zip(kept, plans, strict=True))
    least = sum(groups[0].estimate_s for groups in plans)
    assert spent <= max(limit_s, least) + limit_s * 1e-6 or any(count == 1 for count in kept)
    needed = [sum(values) for values in durations]
    shares = share_time(needed, limit_s)
    assert sum(shares) <= limit_s + 1e-6
    assert all(share <= need + 1e-9 for share, need in zip(shares, needed, strict=True))


def test_rates_come_from_the_specification() -> None:
    slowest = {"fp16": 1e12, "fp64": 1e11}
    known, unknown = make_gpus(1)[0], make_gpus(1, "f0a1")[0]
    assert estimate_gpu_rates(known, slowest)["fp16"] == pytest.approx(0.3 * 98.3e12)
    assert estimate_gpu_rates(unknown, slowest) == slowest == estimate_gpu_rates(None, slowest)
    assert estimate_copy_bytes_per_s(known) == pytest.approx(0.5 * 31.508e9)
    assert estimate_copy_bytes_per_s(unknown) == 4e9
