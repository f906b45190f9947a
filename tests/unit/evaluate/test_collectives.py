"""Formulas, data patterns and plans of the collectives: all pure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from xpukit.core.errors import BadFactsError
from xpukit.core.measurement import Method, Target
from xpukit.evaluate.benchmark import Scope
from xpukit.evaluate.benchmarks import collectives, collectives_ceiling
from xpukit.evaluate.embedded import collective_jobs
from xpukit.evaluate.embedded.collective_jobs import choose_rank_counts, explain_failure, sort_gpus
from xpukit.evaluate.embedded.collective_maths import (
    COLLECTIVES,
    ITEM_BYTES,
    bus_factor,
    choose_modulus,
    compare,
    decode,
    encode,
    lay_out,
    make_expected,
    make_send,
    make_unset,
    round_bytes,
)
from xpukit.evaluate.embedded.protocol import Request
from xpukit.evaluate.embedded.ranks import RankParams
from xpukit.facts.suites import list_suites, load_suite
from xpukit.host.answers import Ran
from xpukit.host.live import LiveHost
from xpukit.host.native import mpi, oneccl

np = pytest.importorskip("numpy")

CPU = Target(label="cpu", kind="cpu", name="CPU")


def make_gpu(index: int, tile: int | None = None) -> Target:
    bdf = f"0000:{index + 3:02x}:00.0"
    label = bdf if tile is None else f"{bdf}/tile{tile}"
    return Target(label=label, kind="gpu", name="GPU", bdf=bdf, level_zero_index=index, tile=tile)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment with mpiexec in it; nothing of the user's settings."""
    for name in ("I_MPI_FABRICS", "CCL_ALLREDUCE", "LD_LIBRARY_PATH"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "lib").mkdir()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "mpiexec").touch()
    monkeypatch.setattr(collective_jobs, "find_library_dir", lambda: tmp_path / "lib")
    return tmp_path


def make_scope(*targets: Target, cpus: str = "0-7", **settings: Any) -> Scope:
    return Scope(
        targets=targets, settings=settings, method=Method(), host=LiveHost(), numa_nodes=((0, cpus),) if cpus else ()
    )


def read_request(job: Any) -> tuple[Request, RankParams]:
    request = msgspec.json.decode(job.input, type=Request)
    return request, msgspec.convert(request.params, RankParams)


@pytest.mark.parametrize(
    ("collective", "ranks", "factor"),
    [
        ("allreduce", 2, 1.0),
        ("allreduce", 8, 1.75),
        ("allgather", 2, 0.5),
        ("allgather", 4, 0.75),
        ("reduce_scatter", 8, 0.875),
        ("alltoall", 3, 2 / 3),
        ("broadcast", 2, 1.0),
        ("broadcast", 8, 1.0),
    ],
)
def test_bus_factor_is_that_of_nccl_tests(collective: str, ranks: int, factor: float) -> None:
    assert bus_factor(collective, ranks) == pytest.approx(factor)


def test_bytes_count_the_whole_operation_as_nccl_tests_does() -> None:
    size = 1 << 20
    for collective, send, receive, count in (
        ("allreduce", size, size, size),
        ("broadcast", size, size, size),
        ("allgather", size // 4, size, size // 4),
        ("reduce_scatter", size, size // 4, size // 4),
        ("alltoall", size, size, size // 4),
    ):
        layout = lay_out(collective, size, 4, "bf16")
        assert (layout.send * 2, layout.receive * 2, layout.count * 2) == (send, receive, count), collective


@pytest.mark.parametrize("ranks", [2, 3, 4, 7, 12])
@pytest.mark.parametrize("size", [1, 64, 1000, 1 << 20])
def test_sizes_divide_among_ranks_whatever_the_type(size: int, ranks: int) -> None:
    rounded = round_bytes(size, ranks)
    assert rounded > 0
    assert rounded <= max(size, ranks * 16)
    for item in ITEM_BYTES.values():
        assert rounded % (ranks * item) == 0


def simulate(collective: str, sends: list[Any], count: int) -> list[Any]:
    """The collective by its definition, on unencoded values; independent of `make_expected`."""
    ranks = len(sends)
    if collective == "allreduce":
        return [sum(sends)] * ranks
    if collective == "broadcast":
        return [sends[0]] * ranks
    if collective == "allgather":
        return [np.concatenate(sends)] * ranks
    if collective == "reduce_scatter":
        total = sum(sends)
        return [total[rank * count : (rank + 1) * count] for rank in range(ranks)]
    return [
        np.concatenate([sends[source][rank * count : (rank + 1) * count] for source in range(ranks)])
        for rank in range(ranks)
    ]


@pytest.mark.parametrize("dtype", ITEM_BYTES)
@pytest.mark.parametrize("ranks", [2, 3, 8])
@pytest.mark.parametrize("collective", COLLECTIVES)
def test_expected_data_is_what_the_collective_means(collective: str, ranks: int, dtype: str) -> None:
    size = round_bytes(5000, ranks)
    layout = lay_out(collective, size, ranks, dtype)
    sends = [make_send(collective, rank, layout, ranks, dtype) for rank in range(ranks)]
    numbers = [np.array([decode(raw, dtype) for raw in send]) for send in sends]
    for rank, result in enumerate(simulate(collective, numbers, layout.count)):
        expected = make_expected(collective, rank, layout, ranks, dtype)
        assert expected.size == layout.receive
        assert [decode(raw, dtype) for raw in expected] == list(result)
        assert compare(make_unset(layout, dtype), expected, dtype), "an untouched buffer must not pass"


@pytest.mark.parametrize("collective", COLLECTIVES)
def test_a_block_at_a_wrong_place_or_of_a_wrong_rank_shows(collective: str) -> None:
    ranks, dtype = 4, "bf16"
    layout = lay_out(collective, 1 << 16, ranks, dtype)
    right = make_expected(collective, 1, layout, ranks, dtype)
    for shift in (1, 64, layout.receive // ranks, layout.receive // 2):
        assert compare(np.roll(right, shift), right, dtype), f"shifted by {shift}"
    if collective in ("allgather", "alltoall"):
        blocks = right.reshape(ranks, -1)
        assert compare(blocks[[1, 0, 2, 3]].reshape(-1), right, dtype), "two ranks' blocks exchanged"


@pytest.mark.parametrize("ranks", [2, 4, 8, 16, 64, 128])
def test_sums_are_exact_in_every_type(ranks: int) -> None:
    modulus = choose_modulus("allreduce", ranks)
    most = ranks * (modulus - 1)
    for dtype in ITEM_BYTES:
        for value in (most, most - 1):
            assert decode(encode([value], dtype)[0], dtype) == value


def test_more_ranks_than_the_data_can_check_are_refused() -> None:
    with pytest.raises(ValueError, match="129 ranks"):
        choose_modulus("allreduce", 129)


def test_compare_says_where_and_what() -> None:
    expected = encode([3, 4, 5, 6], "bf16")
    got = encode([3, 4, 9, 7], "bf16")
    assert compare(expected, expected, "bf16") == ""
    assert compare(got, expected, "bf16") == "element 2 is 9 where 5 was expected (2 of 4 wrong)"


def test_rank_counts() -> None:
    assert choose_rank_counts(1, "max") == ()
    assert choose_rank_counts(6, "max") == (6,)
    assert choose_rank_counts(6, "powers") == (2, 4, 6)
    assert choose_rank_counts(8, "powers") == (2, 4, 8)
    assert choose_rank_counts(4, "all") == (2, 3, 4)


def test_cpu_plan_promises_each_row_once_and_starts_ranks_by_mpiexec(folder: Path) -> None:
    plan = collectives.BENCHMARK.plan(make_scope(CPU, cpus="0-1", sizes=(1 << 20,), dtypes=("fp32", "bf16")))
    (job,) = plan.jobs
    assert plan.skips == ()
    assert job.argv[:7] == (str(folder / "bin/mpiexec"), "-launcher", "fork", "-s", "all", "-n", "2")
    keys = [promise.key for promise in job.promises]
    assert len(keys) == len(set(keys)) == 5 * 2 * 3
    assert {key.metric for key in keys} == {"latency", "algbw", "busbw"}
    assert job.env["CCL_PLUGIN"] == str(folder / "lib/libccl_legacy_cpu.so")
    assert job.env["LD_LIBRARY_PATH"] == str(folder / "lib")
    _, params = read_request(job)
    assert (params.ranks, params.mode, params.devices) == (2, "cpu", ("cpu",))


def test_cpu_ranks_are_as_many_as_processors_but_at_most_four(folder: Path) -> None:
    for cpus, ranks in (("0-2", 3), ("0-63", 4), ("5,9", 2)):
        plan = collectives.BENCHMARK.plan(make_scope(CPU, cpus=cpus))
        assert [read_request(job)[1].ranks for job in plan.jobs] == [ranks], cpus
    plan = collectives.BENCHMARK.plan(make_scope(CPU, cpus="3"))
    assert plan.jobs == ()
    assert {skip.reason for skip in plan.skips} == {
        "only one processor may be used: two ranks would wait for each other's turn"
    }


def test_one_gpu_is_not_applicable_with_the_reason(folder: Path) -> None:
    plan = collectives.BENCHMARK.plan(make_scope(make_gpu(0)))
    assert plan.jobs == ()
    assert len(plan.skips) == 2 * 5 * 3  # modes, collectives, metrics
    assert {skip.reason for skip in plan.skips} == {"one GPU (or tile): a collective needs two"}


def test_gpu_plan_has_a_job_per_mode_and_rank_count(folder: Path) -> None:
    gpus = [make_gpu(index) for index in (2, 0, 1, 3)]
    plan = collectives.BENCHMARK.plan(make_scope(*gpus, ranks="powers"))
    seen = [(read_request(job)[1].mode, read_request(job)[1].ranks, job.env["ZE_AFFINITY_MASK"]) for job in plan.jobs]
    assert seen == [("p2p", 2, "0,1"), ("usm", 2, "0,1"), ("p2p", 4, "0,1,2,3"), ("usm", 4, "0,1,2,3")]
    assert [job.env["CCL_TOPO_P2P_ACCESS"] for job in plan.jobs] == ["1", "0", "1", "0"]
    assert all(job.env["CCL_PLUGIN"].endswith("/libccl_legacy.so") for job in plan.jobs)
    assert plan.jobs[0].targets == ("0000:03:00.0", "0000:04:00.0")


def test_gpu_order_counts_indices_as_numbers() -> None:
    gpus = [make_gpu(index) for index in (10, 2, 9)]
    assert [target.level_zero_index for target in sort_gpus(gpus)] == [2, 9, 10]


def test_tiles_become_devices_since_oneccl_selects_only_those(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from xpukit.host.level_zero.snapshot import LevelZeroAnswer

    monkeypatch.setattr(LiveHost, "level_zero", lambda self: LevelZeroAnswer(status="no-loader"))
    tiles = [make_gpu(card, tile) for card in (0, 1) for tile in (0, 1)]
    plan = collectives.BENCHMARK.plan(make_scope(*tiles, modes=("p2p",)))
    (job,) = plan.jobs
    assert (job.env["ZE_FLAT_DEVICE_HIERARCHY"], job.env["ZE_AFFINITY_MASK"]) == ("FLAT", "0,1,2,3")


def test_what_the_user_set_stands(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = {"CCL_ALLREDUCE": "direct", "CCL_ATL_SYNC_COLL": "1"}
    job = collectives.BENCHMARK.plan(make_scope(CPU, cpu_environment=wanted)).jobs[0]
    assert (job.env["CCL_ALLREDUCE"], job.env["I_MPI_FABRICS"]) == ("direct", "shm")
    monkeypatch.setenv("CCL_ALLREDUCE", "ring")
    monkeypatch.setenv("I_MPI_FABRICS", "shm:ofi")
    job = collectives.BENCHMARK.plan(make_scope(CPU, cpu_environment=wanted)).jobs[0]
    assert "CCL_ALLREDUCE" not in job.env
    assert "I_MPI_FABRICS" not in job.env
    assert job.env["CCL_ATL_SYNC_COLL"] == "1"


def test_ceiling_is_for_the_cpu_and_has_the_rows_that_collectives_has(folder: Path) -> None:
    settings: dict[str, Any] = {"sizes": (4096, 1 << 20), "ranks": "all"}
    assert collectives_ceiling.BENCHMARK.plan(make_scope(make_gpu(0), make_gpu(1), **settings)).jobs == ()

    def rows(benchmark: Any) -> set[tuple[object, ...]]:
        plan = benchmark.plan(make_scope(CPU, cpus="0-3", **settings))
        found = [dict(promise.key.params) for job in plan.jobs for promise in job.promises]
        return {(row["collective"], row["bytes"], row["ranks"], row["dtype"]) for row in found}

    assert rows(collectives.BENCHMARK) == rows(collectives_ceiling.BENCHMARK)
    assert collectives_ceiling.BENCHMARK.order < collectives.BENCHMARK.order


def test_without_mpiexec_the_worker_is_started_alone_to_say_so(folder: Path) -> None:
    (folder / "bin/mpiexec").unlink()
    (job,) = collectives.BENCHMARK.plan(make_scope(CPU)).jobs
    assert job.argv[1:] == ("-m", "xpukit.evaluate.embedded.worker")


def test_split_by_collective_makes_smaller_jobs(folder: Path) -> None:
    plan = collectives.BENCHMARK.plan(make_scope(CPU, cpus="0-1", split="collective"))
    assert [job.name for job in plan.jobs] == [f"collectives-{name}-cpu-2ranks" for name in COLLECTIVES]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"collectives": ("gather",)}, "gather is none of"),
        ({"dtypes": ("fp64",)}, "fp64 is none of"),
        ({"ranks": "some"}, "ranks must be one of"),
        ({"size": (1,)}, "size"),
    ],
)
def test_a_bad_suite_table_is_refused_with_the_word(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(BadFactsError, match=words):
        collectives.BENCHMARK.plan(make_scope(CPU, **settings))


@pytest.mark.parametrize("suite", list_suites())
def test_shipped_suites_plan(suite: str, folder: Path) -> None:
    loaded = load_suite(suite)
    for benchmark in (collectives.BENCHMARK, collectives_ceiling.BENCHMARK):
        scope = make_scope(CPU, cpus="0-1", **loaded.benchmarks[benchmark.name])
        assert benchmark.plan(msgspec.structs.replace(scope, method=loaded.method)).jobs


def make_ran(*, rc: int, out: str = "", err: str = "", failure: str = "") -> Ran:
    return Ran(argv=("mpiexec",), rc=rc, out=out.encode(), err=err.encode(), failure=failure, seconds=31.0)


def test_reasons_name_the_rank_that_failed() -> None:
    banner = "=   BAD TERMINATION OF ONE OF YOUR APPLICATION PROCESSES\n=   RANK 1 PID 7467 RUNNING AT vm\n"
    killed = make_ran(rc=137, out=f"{banner}=   KILLED BY SIGNAL: 9 (Killed)\n======\n")
    assert explain_failure(killed) == "rank 1 was killed by signal 9 (Killed)"
    own = make_ran(rc=1, err=f"{mpi.RANK_MESSAGE}1: no memory\nAbort(1) on node 1\n", out=killed.text)
    assert explain_failure(own) == "rank 1: no memory"
    assert "31 s" in explain_failure(make_ran(rc=-9, failure="timeout"))
    assert explain_failure(make_ran(rc=1, err="something else")) == ""


def test_settings_in_the_note_are_those_that_shape_the_result() -> None:
    shown = oneccl.describe_settings(
        {"CCL_ALLREDUCE": "ring", "CCL_PLUGIN": "/x", "I_MPI_FABRICS": "shm", "I_MPI_ROOT": "/y", "PATH": "/z"}
    )
    assert shown == "CCL_ALLREDUCE=ring I_MPI_FABRICS=shm"
