"""PyTorch for real on this CPU: rows as the embedded engine's, right, planted errors caught, failures explained.

Needs torch in the Python that runs the tests, or in the one that XPUKIT_TORCH_PYTHON names.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from xpukit.core.measurement import Job, Measurement, Method, ParsedOutput, Target
from xpukit.evaluate.benchmark import Benchmark, Scope
from xpukit.evaluate.benchmarks import memory, p2p, torch_collectives, torch_memory, torch_transfer, transfer
from xpukit.evaluate.embedded.collective_jobs import parse_rank_output
from xpukit.evaluate.embedded.collective_maths import COLLECTIVES
from xpukit.evaluate.embedded.environment import build_worker_environment
from xpukit.evaluate.embedded.gemm_cases import DATA_TYPES, Case
from xpukit.evaluate.embedded.memory_sizes import ARRAYS
from xpukit.evaluate.embedded.protocol import Request, build_job, parse_worker_output
from xpukit.host.answers import Ran
from xpukit.host.live import LiveHost

pytestmark = pytest.mark.live

PYTHON = os.environ.get("XPUKIT_TORCH_PYTHON") or (sys.executable if importlib.util.find_spec("torch") else "")
needs_torch = pytest.mark.skipif(not PYTHON, reason="torch is not installed here, and XPUKIT_TORCH_PYTHON is not set")
needs_two_cpus = pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="two ranks need two processors")

HOST = LiveHost()
ROOT = str(Path(__file__).resolve().parents[2])
CPU = Target(label="cpu", kind="cpu", name="CPU", memory_bytes=8 << 30)
PARTS = tuple(Target(label=f"cpu/part{place}", kind="cpu", name="half a CPU", tile=place) for place in range(2))
QUICK = Method(warmup_limit_s=0.02, time_box_s=0.02, min_samples=3, max_samples=8)
MIB = 1 << 20
IMPOSSIBLE_GBPS = 20_000.0


def run_job(job: Job, *, timeout_s: float = 120, python: str = PYTHON) -> Ran:
    """Run a job with the Python that has torch in place of ours."""
    argv = tuple(python if part == sys.executable else part for part in job.argv)
    return HOST.run(argv, timeout_s=timeout_s, input=job.input, env=job.env, cwd=ROOT)


def run_kind(kind: str, params: dict[str, Any], targets: tuple[Target, ...] = (CPU,)) -> ParsedOutput:
    job = build_job(
        benchmark=kind,
        name=kind,
        request=Request(kind=kind, targets=targets, method=QUICK, params=params),
        promises=(),
        estimate_s=15.0,
        env=build_worker_environment(targets),
    )
    ran = run_job(job)
    parsed = parse_worker_output(job, ran)
    assert not parsed.problem, ran.err_text
    return parsed


# A job that outlasts whatever a test does to it.
ENDLESS = Method(time_box_s=60.0, max_samples=1_000_000)


def plan_jobs(benchmark: Benchmark, *, method: Method = QUICK, **settings: Any) -> tuple[Job, ...]:
    scope = Scope(
        targets=(CPU,), settings=settings, method=method, host=HOST, numa_nodes=((0, "0-1"),), memory_bytes=4 << 30
    )
    return benchmark.plan(scope).jobs


def assert_plausible(rows: tuple[Measurement, ...]) -> None:
    for row in rows:
        if row.unit == "GB/s":
            assert 0 < statistics.median(row.samples) < IMPOSSIBLE_GBPS, row
        elif row.unit == "us":
            assert 0.01 < statistics.median(row.samples) < 1e6, row


def verdicts(rows: tuple[Measurement, ...]) -> set[bool | None]:
    return {row.verified for row in rows if row.key.metric != "access"}


CASES = [Case(dtype=dtype, shape="square", m=128, n=128, k=128) for dtype in DATA_TYPES]
SHAPES = [
    Case(dtype=dtype, shape=shape, m=m, n=384, k=256)
    for dtype in ("bf16", "int8", "int4_bf16")
    for shape, m in (("X qkv decode", 1), ("X qkv decode", 16), ("X qkv prefill", 96))
]


@needs_torch
def test_every_type_is_measured_and_right() -> None:
    cases = [*CASES, *SHAPES]
    parsed = run_kind("torch_gemm", {"cases": msgspec.to_builtins(cases)})
    assert parsed.reasons == ()
    assert [row.key for row in parsed.measurements] == [case.build_key("gemm", "cpu") for case in cases]
    assert verdicts(parsed.measurements) == {True}, [row.verify_detail for row in parsed.measurements]
    notes = {dict(row.key.params)["dtype"]: row.note for row in parsed.measurements}
    assert notes["fp32"].startswith("torch.mm, weights ")
    assert notes["int8"].startswith("torch._int_mm")
    assert notes["fp8_e4m3"].startswith("torch._scaled_mm")
    assert "arithmetic by its error" in notes["tf32"]
    assert any(note.startswith("PyTorch ") and "on the CPU" in note for note in parsed.notes)


@needs_torch
@pytest.mark.parametrize("place", [0, 5000, 128 * 128 - 1])
def test_planted_error_is_caught_in_every_type(place: int) -> None:
    parsed = run_kind("torch_gemm", {"cases": msgspec.to_builtins(CASES), "plant_error": place})
    assert len(parsed.measurements) == len(CASES)
    assert verdicts(parsed.measurements) == {False}


@needs_torch
def test_a_shape_that_would_take_too_long_gives_its_reason() -> None:
    cases = [Case(dtype="fp8_e4m3", shape="square", m=n, n=n, k=n) for n in (64, 2048)]
    parsed = run_kind("torch_gemm", {"cases": msgspec.to_builtins(cases), "shape_limit_s": 2.0})
    assert [key for key, _ in parsed.reasons] == [cases[1].build_key("gemm", "cpu")]
    assert "this suite allows 2 s per shape" in parsed.reasons[0][1]


@needs_torch
@pytest.mark.parametrize("plant_error", [False, True])
def test_memory_by_the_plan(plant_error: bool) -> None:
    settings = {"sizes_bytes": [4096, 1 << 20], "plant_error": plant_error}
    (job,) = plan_jobs(torch_memory.BENCHMARK, **settings)
    parsed = parse_worker_output(job, run_job(job))
    assert not parsed.problem
    assert {row.key for row in parsed.measurements} == {promise.key for promise in job.promises}
    assert {dict(row.key.params)["op"] for row in parsed.measurements} == set(ARRAYS)
    assert verdicts(parsed.measurements) == {not plant_error}, [row.verify_detail for row in parsed.measurements]
    assert_plausible(parsed.measurements)
    # The same rows as the embedded engine promises.
    (embedded,) = plan_jobs(memory.BENCHMARK, **settings)
    assert embedded.promises == job.promises


@needs_torch
@pytest.mark.parametrize("plant_error", [False, True])
def test_transfers_by_the_plan(plant_error: bool) -> None:
    settings = {"sizes_bytes": [4096, MIB], "plant_error": plant_error}
    (job,) = plan_jobs(torch_transfer.BENCHMARK, **settings)
    parsed = parse_worker_output(job, run_job(job))
    assert not parsed.problem
    assert {row.key for row in parsed.measurements} == {promise.key for promise in job.promises}
    assert verdicts(parsed.measurements) == {not plant_error}, [row.verify_detail for row in parsed.measurements]
    assert_plausible(parsed.measurements)
    (embedded,) = plan_jobs(transfer.BENCHMARK, **settings)
    ours = {promise.key for promise in job.promises}
    assert {key for p in embedded.promises if dict((key := p.key).params)["memory"] != "shared"} == ours


P2P: dict[str, Any] = {
    "pairs": [[0, 1], [1, 0]],
    "both_ways": [[0, 1]],
    "modes": ["write"],
    "paths": ["peer", "host"],
    "sizes_bytes": [4096, 9 * MIB],
    "peak_sizes_bytes": [9 * MIB],
}


@needs_torch
@pytest.mark.parametrize("plant_error", [False, True])
def test_two_devices_copy_to_each_other(plant_error: bool) -> None:
    """Two names for the CPU: torch cannot divide it, the code is that of two devices."""
    parsed = run_kind("torch_p2p", {**P2P, "plant_error": plant_error}, PARTS)
    assert parsed.reasons == ()
    assert verdicts(parsed.measurements) == {not plant_error}, [row.verify_detail for row in parsed.measurements]
    assert_plausible(parsed.measurements)
    promised = {
        key
        for labels, both in ((("cpu/part0", "cpu/part1"), True), (("cpu/part1", "cpu/part0"), False))
        for way in p2p.list_ways(["write"], ["peer", "host"], both_ways=both)
        for key, _ in p2p._rows(labels, way, P2P["sizes_bytes"], P2P["peak_sizes_bytes"])
    }
    assert {row.key for row in parsed.measurements if row.key.metric != "access"} == promised


@needs_torch
def test_where_torch_cannot_say_who_reaches_whom_the_copies_are_measured() -> None:
    """As PyTorch for XPU could not, before it had torch.xpu.can_device_access_peer."""
    script = (
        "import msgspec, os, sys\n"
        "from xpukit.evaluate.embedded import worker\n"
        "from xpukit.host.native.torch_device import TorchDevice, TorchError\n"
        "def cannot_say(self, peer): raise TorchError('cannot say')\n"
        "TorchDevice.can_access = cannot_say\n"
        "code = worker.main()\n"
        "sys.stderr.flush()\n"
        "os._exit(code)"
    )
    request = Request(kind="torch_p2p", targets=PARTS, method=QUICK, params=P2P)
    env = {**build_worker_environment(PARTS), "PYTHONPATH": ROOT}
    ran = HOST.run([PYTHON, "-c", script], timeout_s=60, input=msgspec.json.encode(request), env=env)
    job = Job(benchmark="torch_p2p", name="p2p", argv=(), promises=(), timeout_s=1)
    parsed = parse_worker_output(job, ran)
    assert {(key.metric, reason) for key, reason in parsed.reasons} == {("access", "cannot say")}
    assert len(parsed.measurements) == 2 * 2 * 4 + 3
    assert verdicts(parsed.measurements) == {True}


@needs_torch
@needs_two_cpus
@pytest.mark.parametrize("plant_error", [False, True])
def test_collectives_by_the_plan(plant_error: bool) -> None:
    settings = {"sizes": [MIB], "dtypes": ["fp32", "fp16", "bf16"], "plant_error": plant_error}
    (job,) = plan_jobs(torch_collectives.BENCHMARK, **settings)
    ran = run_job(job)
    parsed = parse_rank_output(job, ran)
    assert not parsed.problem, ran.err_text
    delivered = {row.key for row in parsed.measurements}
    refused = dict(parsed.reasons)
    assert delivered | set(refused) == {promise.key for promise in job.promises}
    assert {dict(row.key.params)["collective"] for row in parsed.measurements} == set(COLLECTIVES)
    assert all(refused.values())
    assert verdicts(parsed.measurements) == {not plant_error}, [row.verify_detail for row in parsed.measurements]
    if plant_error:
        assert all("rank 1: element" in row.verify_detail for row in parsed.measurements)
    assert_plausible(parsed.measurements)
    assert all(row.note.startswith("gloo of PyTorch ") for row in parsed.measurements)


def find_ranks() -> list[psutil.Process]:
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if process.cmdline()[1:] == ["-m", "xpukit.evaluate.embedded.worker"] and "RANK" in process.environ():
                found.append(process)
        except psutil.Error:
            continue
    return sorted(found, key=lambda process: process.environ()["RANK"]) if len(found) == 2 else []


@needs_torch
@needs_two_cpus
def test_a_rank_that_is_killed_is_named_and_nobody_stays() -> None:
    (job,) = plan_jobs(torch_collectives.BENCHMARK, sizes=[64 * MIB], method=ENDLESS)
    answers: list[Ran] = []
    thread = threading.Thread(target=lambda: answers.append(run_job(job, timeout_s=60)))
    thread.start()
    deadline = time.monotonic() + 30
    while not (ranks := find_ranks()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert ranks, "no ranks came"
    store = Path(ranks[0].environ()["XPUKIT_RANK_STORE"]).parent
    while time.monotonic() < deadline and not all(
        "libtorch_cpu" in Path(f"/proc/{rank.pid}/maps").read_text(encoding="utf-8") for rank in ranks
    ):
        time.sleep(0.05)
    time.sleep(4.0)  # the rest of loading, and meeting
    os.kill(ranks[1].pid, signal.SIGKILL)
    thread.join(timeout=40)
    assert answers
    assert answers[0].seconds < 30
    assert parse_rank_output(job, answers[0]).problem == "rank 1: killed by signal 9"
    assert not any(rank.is_running() and rank.status() != psutil.STATUS_ZOMBIE for rank in ranks)
    assert not store.exists()


@needs_torch
@needs_two_cpus
def test_ranks_end_with_their_job() -> None:
    (job,) = plan_jobs(torch_collectives.BENCHMARK, sizes=[64 * MIB], method=ENDLESS)
    before = set(psutil.pids())
    ran = run_job(job, timeout_s=6)
    assert ran.failure == "timeout"
    assert "a rank hangs" in parse_rank_output(job, ran).problem
    left = [pid for pid in set(psutil.pids()) - before if _is_worker(pid)]
    assert left == []


def _is_worker(pid: int) -> bool:
    try:
        process = psutil.Process(pid)
        return "xpukit.evaluate.embedded.worker" in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


KINDS: list[tuple[str, dict[str, Any]]] = [
    ("torch_gemm", {"cases": msgspec.to_builtins(CASES[:1])}),
    ("torch_memory", {"sizes_bytes": [4096], "peak_sizes_bytes": [], "ops": ["copy"]}),
    (
        "torch_transfer",
        {"routes": [["d2d", "device"]], "sizes_bytes": [4096], "peak_sizes_bytes": [], "host_node": 0},
    ),
    ("torch_p2p", P2P),
]


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A real environment without torch: numpy and msgspec only. (interpreter, PYTHONPATH)"""
    numpy = pytest.importorskip("numpy")
    folder = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")], check=True, timeout=60)
    parts = folder / "parts"
    parts.mkdir()
    site = Path(numpy.__file__).parents[1]
    for path in (Path(numpy.__file__).parent, site / "numpy.libs", Path(msgspec.__file__).parent):
        (parts / path.name).symlink_to(path)
    return str(folder / "venv" / "bin" / "python"), f"{parts}:{ROOT}"


@pytest.mark.parametrize(("kind", "params"), KINDS, ids=[kind for kind, _ in KINDS])
def test_without_torch_the_reason_is_said(kind: str, params: dict[str, Any], bare_python: tuple[str, str]) -> None:
    python, path = bare_python
    job = build_job(
        benchmark=kind,
        name=kind,
        request=Request(kind=kind, targets=(CPU,), method=QUICK, params=params),
        promises=(),
        estimate_s=5.0,
        env={**build_worker_environment((CPU,)), "PYTHONPATH": path},
    )
    parsed = parse_worker_output(job, run_job(job, python=python))
    assert parsed.problem == f"torch is not installed for {python}"


@needs_two_cpus
def test_without_torch_ranks_say_so(bare_python: tuple[str, str]) -> None:
    python, path = bare_python
    (job,) = plan_jobs(torch_collectives.BENCHMARK, sizes=[MIB])
    job = msgspec.structs.replace(job, env={**job.env, "PYTHONPATH": path})
    parsed = parse_rank_output(job, run_job(job, python=python))
    assert f"torch is not installed for {python}" in parsed.problem


@needs_torch
def test_a_gpu_that_torch_does_not_show_is_said() -> None:
    if _has_accelerator():
        pytest.skip("this torch shows an accelerator")
    gpu = Target(label="0000:03:00.0", kind="gpu", name="B60", level_zero_index=0)
    job = build_job(
        benchmark="torch_gemm",
        name="torch gemm",
        request=Request(
            kind="torch_gemm", targets=(gpu,), method=QUICK, params={"cases": msgspec.to_builtins(CASES[:1])}
        ),
        promises=(),
        estimate_s=5.0,
        env=build_worker_environment((gpu,)),
    )
    parsed = parse_worker_output(job, run_job(job))
    assert "shows no device to this worker" in parsed.problem


def _has_accelerator() -> bool:
    script = "import torch; print(torch.accelerator.is_available())"
    ran = subprocess.run([PYTHON, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    return ran.stdout.strip() == "True"
