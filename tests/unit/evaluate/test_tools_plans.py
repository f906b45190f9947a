"""Engine `tools`: what is planned, and that the real programs' output gives every row that was promised."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.unit.evaluate.memory_scopes import CPU, make_gpu, make_scope
from xpukit.core.measurement import Job, Method, ParsedOutput
from xpukit.core.units import MIB
from xpukit.evaluate.benchmarks import (
    matrix_mul,
    oneccl_benchmark,
    ze_bandwidth,
    ze_peak,
    ze_peak_compute,
    ze_peak_transfer,
    ze_peer,
)
from xpukit.evaluate.embedded.collective_jobs import read_settings
from xpukit.evaluate.tools.jobs import judge_output
from xpukit.facts.tools import get_tool
from xpukit.host.answers import FoundAnswer, LinkAnswer, NamesAnswer, Ran, StatAnswer
from xpukit.host.level_zero.snapshot import LevelZeroAnswer
from xpukit.host.live import LiveHost
from xpukit.host.overlay import OverlayHost

P2P = {"sizes_bytes": [4096, 64 * MIB]}
TRANSFER = {"sizes_bytes": [4096, 1 << 20]}
COLLECTIVES: dict[str, Any] = {"sizes": [1 << 20, 1 << 26], "dtypes": ["fp16"], "modes": ["p2p", "usm"]}
GEMM = {"dtypes": ["fp16", "bf16", "int8", "fp8_e4m3"], "squares": [4096]}
GPUS = tuple(make_gpu(index) for index in range(4))
LONG = Method(time_box_s=2.0)


def make_host(**programs: str) -> OverlayHost:
    """A machine on which only these programs are found (name="/path"); ONEAPI_ROOT is not set."""
    answers: dict[tuple[str, ...], Any] = {("level-zero",): LevelZeroAnswer(status="ok")}
    names = ("ze_peak", "ze_bandwidth", "ze_peer", "matrix_mul_mkl", "1ccl_benchmark", "mpirun", "numactl")
    for name in names:
        path = programs.get(name.replace("1ccl", "one_ccl"))
        answers[("which", name)] = FoundAnswer(value=path)
    for folder in ("/opt/intel/multi-arc", "/opt/intel/oneapi/ccl", "/opt/intel/oneapi/mpi"):
        answers[("list", folder)] = NamesAnswer(error="ENOENT")
    answers[("env", "ONEAPI_ROOT")] = FoundAnswer()
    for path in (
        "setvars.sh",
        "ccl/latest/env/vars.sh",
        "mpi/latest/bin/mpirun",
        "ccl/latest/examples/benchmark/benchmark",
    ):
        answers[("stat", f"/opt/intel/oneapi/{path}")] = StatAnswer(error="ENOENT")
    peak = programs.get("ze_peak")
    if peak:
        answers[("resolve", peak)] = LinkAnswer(target=peak)
        answers[("list", peak.rpartition("/")[0])] = NamesAnswer(names=get_tool("ze_peak").beside)
    return OverlayHost(LiveHost(), answers)


FULL = make_host(
    ze_peak="/tools/ze_peak", ze_bandwidth="/tools/ze_bandwidth", ze_peer="/tools/ze_peer",
    matrix_mul_mkl="/usr/bin/matrix_mul_mkl", one_ccl_benchmark="/usr/bin/1ccl_benchmark", mpirun="/usr/bin/mpirun",
)  # fmt: skip


def keys_of(jobs: tuple[Job, ...]) -> list[Any]:
    return [promise.key for job in jobs for promise in job.promises]


def test_every_ordered_pair_has_its_jobs_and_is_numbered_among_the_visible() -> None:
    gpus = (make_gpu(1), make_gpu(3))
    plan = ze_peer.plan(make_scope(P2P, *gpus, host=FULL, method=LONG))
    commands = [" ".join(job.argv) for job in plan.jobs]
    assert "/tools/ze_peer -s 0 -d 1" in commands
    assert "/tools/ze_peer -s 1 -d 0" in commands
    assert "/tools/ze_peer -s 0 -d 1 -b -t transfer_bw" in commands
    assert not any(command.startswith("/tools/ze_peer -s 1 -d 0 -b") for command in commands)
    assert {job.env["ZE_AFFINITY_MASK"] for job in plan.jobs} == {"1,3"}
    assert {job.env["RenderCompressedBuffersEnabled"] for job in plan.jobs} == {"0"}
    keys = keys_of(plan.jobs)
    assert len(keys) == len(set(keys))


def test_pairs_at_once_from_four_devices_on() -> None:
    four = ze_peer.plan(make_scope(P2P, *GPUS, host=FULL, method=LONG))
    together = [job for job in four.jobs if "--parallel_pair_targets" in job.argv]
    assert len(together) == 4
    assert together[0].argv[1:3] == ("--parallel_pair_targets", "0:1,2:3")
    three = ze_peer.plan(make_scope(P2P, *GPUS[:3], host=FULL, method=LONG))
    assert not any("--parallel_pair_targets" in job.argv for job in three.jobs)


def test_sizes_that_ze_peer_cannot_measure_are_said() -> None:
    settings = {"sizes_bytes": [4096, 12288, 1 << 30], "memory_fraction": 0.5}
    plan = ze_peer.plan(make_scope(settings, *GPUS[:2], host=FULL, method=LONG))
    assert {dict(skip.key.params)["bytes"] for skip in plan.skips} == {12288}
    assert any(job.argv[-2:] == ("-z", str(1 << 30)) for job in plan.jobs)


@pytest.mark.parametrize("targets", [(CPU,), (make_gpu(0), CPU)], ids=["cpu", "one gpu"])
def test_fewer_than_two_devices(targets: tuple[Any, ...]) -> None:
    for benchmark, settings in ((ze_peer, P2P), (oneccl_benchmark, COLLECTIVES)):
        plan = benchmark.plan(make_scope(settings, *targets, host=FULL, method=LONG))
        assert plan.jobs == ()
        assert all(skip.reason for skip in plan.skips)
        assert len(plan.skips) >= 3


def test_tiles_are_devices_of_their_own() -> None:
    plan = ze_peer.plan(make_scope(P2P, make_gpu(0, tile=0), make_gpu(0, tile=1), host=FULL, method=LONG))
    assert plan.jobs[0].env["ZE_FLAT_DEVICE_HIERARCHY"] == "FLAT"
    assert plan.jobs[0].env["ZE_AFFINITY_MASK"] == "0,1"


def test_ze_peak_runs_where_its_kernels_are() -> None:
    plans = [
        b.plan(make_scope({}, *GPUS[:2], host=FULL, method=LONG)) for b in (ze_peak, ze_peak_transfer, ze_peak_compute)
    ]
    jobs = [job for plan in plans for job in plan.jobs]
    assert {job.cwd for job in jobs} == {"/tools"}
    assert [job.argv[2] for job in jobs if job.targets == (GPUS[0].label,)] == [
        "global_bw", "transfer_bw", "hp_compute", "sp_compute", "dp_compute", "int_compute",
    ]  # fmt: skip
    assert {job.env["ZE_AFFINITY_MASK"] for job in jobs} == {"0", "1"}


def test_each_numa_node_by_numactl() -> None:
    nodes = ((0, "0-3"), (1, "4-7"))
    bound = make_host(ze_bandwidth="/tools/ze_bandwidth", numactl="/usr/bin/numactl")
    plan = ze_bandwidth.plan(make_scope(TRANSFER, GPUS[0], host=bound, numa_nodes=nodes))
    assert [job.argv[:4] for job in plan.jobs] == [
        ("/usr/bin/numactl", f"--cpunodebind={node}", f"--membind={node}", "/tools/ze_bandwidth") for node in (0, 1)
    ]
    assert {dict(key.params).get("host_node") for key in keys_of(plan.jobs[1:])} == {1}
    free = ze_bandwidth.plan(make_scope(TRANSFER, GPUS[0], host=FULL, numa_nodes=nodes))
    assert [job.argv[0] for job in free.jobs] == ["/tools/ze_bandwidth"]
    assert all("host_node" not in dict(key.params) for key in keys_of(free.jobs)), "nobody knows the node"


def test_sizes_between_the_doublings_are_said() -> None:
    plan = ze_bandwidth.plan(make_scope({"sizes_bytes": [4096, 12288]}, GPUS[0], host=FULL, method=LONG))
    assert {dict(skip.key.params)["bytes"] for skip in plan.skips} == {12288}
    assert plan.jobs[0].argv[-4:] == ("-sb", "4096", "-se", str(256 * MIB))


def test_both_ways_to_call_matrix_mul() -> None:
    installed = matrix_mul.plan(make_scope(GEMM, GPUS[0], host=FULL, method=LONG))
    assert [job.argv[1:] for job in installed.jobs] == [
        (name, "-m", "4096", "-n", "4096", "-k", "4096", "-c", "0") for name in ("half", "bf16", "int8")
    ]
    assert installed.jobs[2].promises[0].unit == "TOPS"
    public = make_host(matrix_mul_mkl="/home/me/matrix_mul_mkl")
    plan = matrix_mul.plan(make_scope(GEMM, GPUS[0], host=public))
    assert [job.argv[1:] for job in plan.jobs] == [("half", "4096", "4096", "4096")]


def test_collectives_over_ranks_and_modes() -> None:
    plan = oneccl_benchmark.plan(make_scope({**COLLECTIVES, "ranks": "powers"}, *GPUS, host=FULL, method=LONG))
    assert [job.argv[:4] for job in plan.jobs][:1] == [("/usr/bin/mpirun", "-np", "2", "/usr/bin/1ccl_benchmark")]
    assert len(plan.jobs) == 2 * 2 * 5
    assert {(job.env["CCL_TOPO_P2P_ACCESS"], dict(job.promises[0].key.params)["mode"]) for job in plan.jobs} == {
        ("1", "p2p"), ("0", "usm"),
    }  # fmt: skip
    assert not any("-o" in job.argv for job in plan.jobs), "no CSV is left behind"
    keys = keys_of(plan.jobs)
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize("ranks", [2, 3, 4, 8])
@pytest.mark.parametrize("collective", ["allreduce", "allgather", "alltoall", "reduce_scatter", "broadcast"])
def test_doubling_comes_by_every_size(collective: str, ranks: int) -> None:
    settings = read_settings(COLLECTIVES, "collectives")
    sweep = oneccl_benchmark.build_sweep(settings, collective, ranks, "fp16")
    parts = ranks if collective in ("allgather", "alltoall", "reduce_scatter") else 1
    reached = set()
    count = sweep.first
    while count <= sweep.last:
        reached.add(count * 2 * parts)
        count *= 2
    assert {*sweep.sizes, sweep.latency_bytes} <= reached
    if ranks != 3:
        assert sweep.sizes == (1 << 20, 1 << 26), "the embedded engine's sizes"
    assert all(size <= wanted for size, wanted in zip(sweep.sizes, (1 << 20, 1 << 26), strict=True))


def run_of(job: Job, corpus: Path, name: str) -> Ran:
    base = corpus / "captured" / name
    said = base.with_suffix(".cmd").read_text(encoding="utf-8")
    rc = int(next(line.split()[-1] for line in said.splitlines() if line.startswith("exit")))
    out, err = base.with_suffix(".txt").read_bytes(), base.with_suffix(".err").read_bytes()
    return Ran(argv=job.argv, rc=rc, out=out, err=err)


def find_job(jobs: tuple[Job, ...], *words: str) -> Job:
    return next(job for job in jobs if job.argv[1:] == words)


def check(output: ParsedOutput, job: Job) -> None:
    delivered = {measurement.key: measurement for measurement in output.measurements}
    assert [promise.key for promise in job.promises if promise.key not in delivered] == []
    assert all(delivered[promise.key].unit == promise.unit for promise in job.promises)
    assert all(delivered[promise.key].higher_is_better == promise.higher_is_better for promise in job.promises)
    assert output.problem == ""


def test_real_ze_peer_keeps_every_promise(corpus_dir: Path) -> None:
    two = ze_peer.plan(make_scope(P2P, *GPUS[:2], host=FULL, method=LONG))
    for words, name in (
        (("-s", "0", "-d", "1"), "ze_peer/d2_default_i3"),
        (("-s", "0", "-d", "1", "-b", "-t", "transfer_bw"), "ze_peer/d2_b_i3"),
        (
            ("-s", "0", "-d", "1", "-t", "transfer_bw", "-o", "write", "-v", "-z", str(4 * MIB)),
            "ze_peer/d2_validate_ok",
        ),
    ):
        job = find_job(two.jobs, *words)
        check(ze_peer.parse(job, run_of(job, corpus_dir, name)), job)
    four = ze_peer.plan(make_scope(P2P, *GPUS, host=FULL, method=LONG))
    job = next(job for job in four.jobs if "--parallel_pair_targets" in job.argv)
    check(ze_peer.parse(job, run_of(job, corpus_dir, "ze_peer/d4_pair_targets_01_23_write_bw")), job)


def test_real_ze_peak_keeps_every_promise(corpus_dir: Path) -> None:
    for benchmark, name in (
        (ze_peak, "global_bw"),
        (ze_peak_transfer, "d1_transfer_bw"),
        (ze_peak_compute, "hp_compute"),
        (ze_peak_compute, "sp_compute"),
        (ze_peak_compute, "dp_compute"),
        (ze_peak_compute, "int_compute"),
    ):
        plan = benchmark.plan(make_scope({}, GPUS[0], host=FULL, method=LONG))
        job = find_job(plan.jobs, "-t", name.removeprefix("d1_"))
        check(benchmark.BENCHMARK.parse(job, run_of(job, corpus_dir, f"ze_peak/{name}")), job)


def test_real_ze_bandwidth_keeps_every_promise(corpus_dir: Path) -> None:
    plan = ze_bandwidth.plan(make_scope(TRANSFER, GPUS[0], host=FULL, method=LONG))
    (job,) = plan.jobs
    check(ze_bandwidth.parse(job, run_of(job, corpus_dir, "ze_bandwidth/d1_default_i20")), job)


def test_real_oneccl_benchmark_keeps_every_promise(corpus_dir: Path) -> None:
    settings = {**COLLECTIVES, "sizes": [1 << 12, 1 << 20], "latency_bytes": 1024, "collectives": ["allreduce"]}
    plan = oneccl_benchmark.plan(make_scope(settings, *GPUS, host=FULL, method=LONG))
    job = plan.jobs[0]
    check(oneccl_benchmark.parse(job, run_of(job, corpus_dir, "oneccl-benchmark-llmscaler/allreduce_f16_np4")), job)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ze_peer/err_no_p2p_allpairs_d4", "do not have P2P capabilities"),
        ("ze_peer/err_u_out_of_range", "(exit 139)"),
        ("ze_peer/err_bad_option", "OPTIONS"),
    ],
)
def test_real_failures_give_their_reason(corpus_dir: Path, name: str, words: str) -> None:
    plan = ze_peer.plan(make_scope(P2P, *GPUS[:2], host=FULL, method=LONG))
    job = find_job(plan.jobs, "-s", "0", "-d", "1")
    assert words in ze_peer.parse(job, run_of(job, corpus_dir, name)).problem


def test_a_good_exit_code_without_the_rows_is_no_success() -> None:
    job = ze_peak.plan(make_scope({}, GPUS[0], host=FULL, method=LONG)).jobs[0]
    output = ze_peak.BENCHMARK.parse(job, Ran(argv=job.argv, rc=0, out=b"hello\n"))
    assert output.measurements == ()
    assert "ended without an error code, but" in output.problem


def test_all_rows_and_a_bad_exit_code_is_still_a_problem() -> None:
    job = ze_peak.plan(make_scope({}, GPUS[0], host=FULL, method=LONG)).jobs[0]
    rows = "".join(f"float{width} : 300.1 GB/s\n" for width in ("", 2, 4, 8, 16))
    ran = Ran(argv=job.argv, rc=-6, failure="signal:6", out=b"Global memory bandwidth (GB/s)\n" + rows.encode())
    output = ze_peak.BENCHMARK.parse(job, ran)
    assert {m.key for m in output.measurements} >= {promise.key for promise in job.promises}
    assert output.problem.startswith("ze_peak crashed (signal 6)")


def test_what_was_not_asked_for_is_no_row() -> None:
    job = matrix_mul.plan(make_scope(GEMM, GPUS[0], host=FULL, method=LONG)).jobs[0]
    out = b"(1024 x 1024) x (1024 x 1024) matrix multiplication, half precision\nAverage performance: 88.1TF\n"
    output = matrix_mul.parse(job, Ran(argv=job.argv, rc=0, out=out))
    assert output.measurements == ()
    assert any("m=1024" in note for note in output.notes)


def test_dropped_output_is_said() -> None:
    job = ze_peak.plan(make_scope({}, GPUS[0], host=FULL, method=LONG)).jobs[0]
    ran = Ran(argv=job.argv, rc=0, dropped_bytes=77)
    output = judge_output(job, ran, (get_tool("ze_peak"),), (), problems=(), notes=())
    assert any("77 bytes" in note for note in output.notes)


def test_the_launcher_that_is_missing_is_named() -> None:
    lonely = make_host(one_ccl_benchmark="/usr/bin/1ccl_benchmark")
    job = oneccl_benchmark.plan(make_scope(COLLECTIVES, *GPUS[:2], host=lonely)).jobs[0]
    output = oneccl_benchmark.parse(job, Ran(argv=job.argv, rc=127, failure="not-found"))
    assert output.problem.startswith("mpirun is not installed; Intel MPI")
    none = oneccl_benchmark.plan(make_scope(COLLECTIVES, *GPUS[:2], host=make_host())).jobs[0]
    output = oneccl_benchmark.parse(none, Ran(argv=none.argv, rc=127, failure="not-found"))
    assert output.problem.startswith("1ccl_benchmark or benchmark is not installed")


def test_jobs_survive_their_encoding() -> None:
    job = ze_peak.plan(make_scope({}, GPUS[0], host=FULL, method=LONG)).jobs[0]
    assert msgspec.json.decode(msgspec.json.encode(job), type=Job) == job
