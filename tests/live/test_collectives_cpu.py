"""Two real ranks on this CPU: oneCCL and mpi4py under Intel mpiexec."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from xpukit.core.measurement import Job, Method, Param, ParsedOutput, Target
from xpukit.evaluate.benchmark import Benchmark, Scope
from xpukit.evaluate.benchmarks import collectives, collectives_ceiling
from xpukit.evaluate.embedded import collective_jobs
from xpukit.evaluate.embedded.collective_maths import COLLECTIVES
from xpukit.host.answers import Ran
from xpukit.host.live import LiveHost
from xpukit.host.native.libraries import describe_missing

_NEEDED = {"oneccl", "impi-rt", "mpi4py", "numpy"}
pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(
        bool(_NEEDED & set(describe_missing(cpu=False))), reason="the embedded extra is not installed here"
    ),
    pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="two ranks need two processors"),
]

HOST = LiveHost()
CPU = Target(label="cpu", kind="cpu", name="CPU")
SHORT = Method(warmup_limit_s=0.02, time_box_s=0.02, min_samples=3, max_samples=10)


def plan_job(benchmark: Benchmark = collectives.BENCHMARK, method: Method = SHORT, **settings: Any) -> Job:
    scope = Scope(targets=(CPU,), settings=settings, method=method, host=HOST, numa_nodes=((0, "0-1"),))
    (job,) = benchmark.plan(scope).jobs
    return job


def start(job: Job, *, timeout_s: float | None = None) -> Ran:
    return HOST.run(job.argv, timeout_s=timeout_s or job.timeout_s, input=job.input, env=job.env)


def list_below(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def wait_for(find: Callable[[], Any], limit_s: float = 30.0) -> Any:
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        found = find()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError("what was waited for did not come")


def find_ranks() -> list[psutil.Process]:
    """Our two worker processes."""
    found = []
    for process in list_below(os.getpid()):
        try:
            line = process.cmdline()
        except psutil.Error:
            continue
        if line[:1] == [sys.executable] and "xpukit.evaluate.embedded.worker" in line:
            found.append(process)
    return found if len(found) == 2 else []


def with_ranks(job: Job, act: Callable[[list[psutil.Process]], None], *, timeout_s: float) -> tuple[Ran, list[int]]:
    """Run a job; when both ranks are measuring, do something to them. The answer, and all pids that the job had."""
    answers: list[Ran] = []
    thread = threading.Thread(target=lambda: answers.append(start(job, timeout_s=timeout_s)))
    thread.start()
    ranks = wait_for(find_ranks)
    # A communicator is up when oneCCL's engine is mapped; then give it a moment to be inside a collective.
    wait_for(
        lambda: all(
            "libccl_legacy_cpu.so" in Path(f"/proc/{rank.pid}/maps").read_text(encoding="utf-8") for rank in ranks
        )
    )
    time.sleep(1.0)
    pids = [process.pid for process in list_below(os.getpid())]
    act(ranks)
    thread.join(timeout=timeout_s + 30)
    assert answers, "the job did not end"
    return answers[0], pids


def assert_gone(pids: list[int]) -> None:
    def alive() -> list[int]:
        return [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE]

    wait_for(lambda: not alive(), limit_s=5.0)


def params_of(parsed: ParsedOutput) -> list[dict[str, Param]]:
    return [dict(row.key.params) for row in parsed.measurements]


def test_every_collective_and_type_is_measured_and_right() -> None:
    job = plan_job(sizes=(1 << 18,), dtypes=("fp32", "fp16", "bf16"))
    parsed = collectives.BENCHMARK.parse(job, start(job))
    assert parsed.problem == ""
    assert parsed.reasons == ()
    assert {row.key for row in parsed.measurements} == {promise.key for promise in job.promises}
    assert all(row.verified for row in parsed.measurements), [row.verify_detail for row in parsed.measurements]
    assert {row["collective"] for row in params_of(parsed)} == set(COLLECTIVES)
    for row in parsed.measurements:
        assert len(row.samples) >= SHORT.min_samples
        assert all(sample > 0 for sample in row.samples)
        assert "oneCCL 2022.1" in row.note
        assert "I_MPI_FABRICS=" in row.note
    assert any("slowest rank" in note for note in parsed.notes)


def test_rates_are_consistent_with_each_other() -> None:
    job = plan_job(sizes=(1 << 20,), collectives=("allgather",), latency_bytes=0)
    parsed = collectives.BENCHMARK.parse(job, start(job))
    by_metric = {row.key.metric: row.samples for row in parsed.measurements}
    assert [2 * value for value in by_metric["busbw"]] == pytest.approx(by_metric["algbw"])
    assert 0.01 < max(by_metric["algbw"]) < 200, "GB/s of main memory"


def test_mpi4py_measures_the_same_rows() -> None:
    job = plan_job(collectives_ceiling.BENCHMARK, sizes=(1 << 18,))
    parsed = collectives_ceiling.BENCHMARK.parse(job, start(job))
    assert parsed.problem == ""
    assert {row.key for row in parsed.measurements} == {promise.key for promise in job.promises}
    assert all(row.verified for row in parsed.measurements)
    assert "mpi4py" in parsed.measurements[0].note


@pytest.mark.parametrize("collective", COLLECTIVES)
def test_a_planted_error_is_caught_on_its_rank(collective: str) -> None:
    job = plan_job(sizes=(1 << 16,), latency_bytes=0, collectives=(collective,), dtypes=("bf16",), plant_error=True)
    parsed = collectives.BENCHMARK.parse(job, start(job))
    assert parsed.problem == ""
    assert parsed.measurements
    for row in parsed.measurements:
        assert row.verified is False
        assert row.verify_detail.startswith("rank 1: element ")
        assert "was expected (1 of " in row.verify_detail
        assert "rank 0" not in row.verify_detail


def test_a_type_that_the_library_refuses_costs_its_rows_only() -> None:
    job = plan_job(sizes=(1 << 16,), latency_bytes=0, collectives=("allreduce",), dtypes=("fp32", "fp16"))
    # Type 99 does not exist: the worker's table is the place to break, so break it in a copy of the process.
    patch = (
        "import sys; from xpukit.host.native import oneccl; oneccl._DATA_TYPES['fp16'] = 99; "
        "from xpukit.evaluate.embedded import worker; sys.exit(worker.main())"
    )
    broken = msgspec.structs.replace(job, argv=(*job.argv[:-2], "-c", patch))
    parsed = collectives.BENCHMARK.parse(broken, start(broken))
    assert {row["dtype"] for row in params_of(parsed)} == {"fp32"}
    assert {dict(key.params)["dtype"] for key, _ in parsed.reasons} == {"fp16"}
    assert all("oneCCL error" in reason for _, reason in parsed.reasons)


def test_a_killed_rank_costs_its_rows_and_leaves_nothing_behind() -> None:
    method = msgspec.structs.replace(SHORT, time_box_s=20.0, max_samples=10**6)
    job = plan_job(method=method, sizes=(1 << 16,), collectives=("allreduce",))
    before = set(os.listdir("/dev/shm"))

    def kill_second(ranks: list[psutil.Process]) -> None:
        max(ranks, key=lambda rank: rank.pid).send_signal(signal.SIGKILL)

    ran, pids = with_ranks(job, kill_second, timeout_s=60)
    assert ran.failure != "timeout", "mpiexec must notice by itself"
    parsed = collectives.BENCHMARK.parse(job, ran)
    assert parsed.measurements == ()
    assert "was killed by signal 9" in parsed.problem
    assert len(pids) >= 3
    assert_gone(pids)
    assert set(os.listdir("/dev/shm")) <= before


def test_a_hanging_rank_is_ended_by_the_watchdog_with_all_others() -> None:
    method = msgspec.structs.replace(SHORT, time_box_s=20.0, max_samples=10**6)
    job = plan_job(method=method, sizes=(1 << 16,), collectives=("allreduce",))

    def stop_second(ranks: list[psutil.Process]) -> None:
        max(ranks, key=lambda rank: rank.pid).send_signal(signal.SIGSTOP)

    ran, pids = with_ranks(job, stop_second, timeout_s=8)
    assert ran.failure == "timeout"
    parsed = collectives.BENCHMARK.parse(job, ran)
    assert "a rank hangs" in parsed.problem
    assert_gone(pids)


def test_a_failing_rank_says_why_and_ends_the_others() -> None:
    job = plan_job(sizes=(1 << 16,), collectives=("allreduce",))
    patch = (
        "import sys; from xpukit.evaluate.embedded import collective_maths as m, ranks; "
        "real = ranks.compare; n = []\n"
        "def fail(*a):\n"
        "    from mpi4py import MPI\n"
        "    if MPI.COMM_WORLD.rank == 1: raise MemoryError('no more')\n"
        "    return real(*a)\n"
        "ranks.compare = fail\n"
        "from xpukit.evaluate.embedded import worker; sys.exit(worker.main())"
    )
    broken = msgspec.structs.replace(job, argv=(*job.argv[:-2], "-c", patch))
    ran = start(broken, timeout_s=40)
    parsed = collectives.BENCHMARK.parse(broken, ran)
    assert ran.failure != "timeout", "the other rank must not wait for ever"
    assert parsed.problem == "rank 1: MemoryError: no more"


def test_a_missing_package_is_the_reason_of_every_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collective_jobs, "find_library_dir", lambda: tmp_path / "lib")
    job = plan_job(sizes=(1 << 16,))
    assert "mpiexec" not in job.argv[0]
    # A worker whose environment has no oneCCL, as where the extra was not installed.
    patch = (
        "import sys; from pathlib import Path; from xpukit.host.native import libraries; "
        f"libraries.find_library_dir = lambda: Path({str(tmp_path)!r}); "
        "from xpukit.evaluate.embedded import worker; sys.exit(worker.main())"
    )
    bare = msgspec.structs.replace(job, argv=(sys.executable, "-c", patch))
    parsed = collectives.BENCHMARK.parse(bare, start(bare))
    assert parsed.problem == ""
    assert {key for key, _ in parsed.reasons} == {promise.key for promise in job.promises}
    assert all("oneccl, impi-rt" in reason and "xpukit[embedded]" in reason for _, reason in parsed.reasons)


def test_it_runs_without_any_network_and_with_a_host_name_that_nobody_knows() -> None:
    prefix = ("unshare", "-n", "-u", "sh", "-c", 'hostname nowhere.invalid && exec "$@"', "sh")
    if not HOST.run((*prefix, "true"), timeout_s=5).ok:
        pytest.skip("no namespaces for this user")
    job = plan_job(sizes=(1 << 16,), collectives=("allreduce",))
    apart = msgspec.structs.replace(job, argv=(*prefix, *job.argv))
    parsed = collectives.BENCHMARK.parse(apart, start(apart, timeout_s=40))
    assert parsed.problem == ""
    assert all(row.verified for row in parsed.measurements)
    assert parsed.measurements
