"""Engine `tools` through the real process runner: programs that print what the vendor's print, and misbehave."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from tests.live.docker_engine import find_processes
from xpukit.core.errors import InterruptedRunError
from xpukit.core.machine import Device, Machine
from xpukit.core.measurement import Job, Method, Target
from xpukit.evaluate.benchmark import Benchmark, Scope
from xpukit.evaluate.error_counters import ErrorCounters
from xpukit.evaluate.reference import Limits, ReferenceBook
from xpukit.evaluate.registry import list_benchmarks
from xpukit.evaluate.result import Evaluation, Result
from xpukit.evaluate.run import Evaluator, do_group
from xpukit.evaluate.run_directory import JobOutcome, RunDirectory, RunOptions
from xpukit.evaluate.run_plan import PlannedJob, RunPlan, plan_run
from xpukit.facts.suites import JudgeSettings, SettleSettings, Suite
from xpukit.host import Host
from xpukit.host.level_zero.snapshot import LevelZeroAnswer, Peer
from xpukit.host.live import LiveHost
from xpukit.host.overlay import OverlayHost

pytestmark = pytest.mark.live

STAND_INS = Path(__file__).resolve().parents[1] / "data" / "stand_ins" / "intel-tools"
SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"
MIB = 1 << 20
GPUS = tuple(
    Target(
        label=f"0000:{bus:02x}:00.0", kind="gpu", name="Arc Pro B60", bdf=f"0000:{bus:02x}:00.0", device_id="e211",
        level_zero_index=index, memory_bytes=24 << 30,
    )
    for index, bus in ((1, 3), (3, 4))
)  # fmt: skip
FIRST, SECOND = (gpu.label for gpu in GPUS)
TABLES: dict[str, dict[str, Any]] = {
    "gemm": {"dtypes": ["fp16", "fp32", "bf16"], "squares": [4096]},
    "memory": {},
    "xpu_smi_health": {},
    "sycl_ls": {},
    "transfer": {"sizes_bytes": [4096, MIB]},
    "p2p": {"sizes_bytes": [4096, 64 * MIB]},
    "collectives": {"sizes": [MIB, 64 * MIB], "dtypes": ["fp16"], "collectives": ["allreduce", "allgather"]},
}
TOOLS = tuple(benchmark for benchmark in list_benchmarks() if benchmark.engine == "tools")


class Quiet:
    """An observer that counts, and interrupts where it is told to."""

    def __init__(self, interrupt_at: int = 0) -> None:
        self.interrupt_at = interrupt_at
        self.resumed: list[bool] = []
        self.told: list[str] = []

    def planned(self, jobs: int, estimate_s: float) -> None: ...
    def job_started(self, position: int, name: str, estimate_s: float) -> None:
        if position == self.interrupt_at:
            raise KeyboardInterrupt

    def noticed(self, text: str) -> None:
        self.told.append(text)

    def job_finished(self, position: int, outcome: JobOutcome, *, resumed: bool) -> None:
        self.resumed.append(resumed)


class Bench:
    """Runs the engine's benchmarks and keeps what came of it."""

    def __init__(self, path: Path, host: Host) -> None:
        self.path = path
        self.host = host
        self.counters: ErrorCounters | None = None

    def plan(self, *names: str) -> RunPlan:
        chosen: list[Benchmark] = [b for b in TOOLS if not names or b.name in names]
        return plan_run(chosen, self.suite(chosen), RunOptions(), self.scope())

    def suite(self, chosen: list[Benchmark]) -> Suite:
        tables = {name: TABLES[benchmark.table] for benchmark in chosen for name in (benchmark.name, benchmark.table)}
        return Suite(
            name="t", summary="", stated_limit_s=9, method=Method(), judge=JudgeSettings(),
            settle=SettleSettings(limit_s=0.0), benchmarks=tables,
        )  # fmt: skip

    def scope(self) -> Scope:
        return Scope(
            targets=GPUS, settings={}, method=Method(), host=self.host, numa_nodes=((0, "0-1"),), memory_bytes=64 << 30
        )

    def run(
        self, *names: str, timeout_s: float | None = None, interrupt_at: int = 0, resume: bool = False
    ) -> Evaluation:
        plan = self.plan(*names)
        if timeout_s is not None:
            jobs = [
                PlannedJob(
                    name=planned.name,
                    job=msgspec.structs.replace(planned.job, timeout_s=timeout_s),
                    benchmark=planned.benchmark,
                )
                for planned in plan.jobs
            ]
            plan = RunPlan(jobs=tuple(jobs), skips=plan.skips)
        chosen = [b for b in TOOLS if not names or b.name in names]
        directory = RunDirectory.reopen(self.path)[0] if resume else RunDirectory.create(self.path, RunOptions())
        self.observer = Quiet(interrupt_at)
        return Evaluator(
            host=self.host,
            directory=directory,
            options=RunOptions(engine="tools"),
            suite=self.suite(chosen),
            plan=plan,
            machine=Machine(),
            targets=GPUS,
            book=ReferenceBook((), GPUS),
            limits=Limits({}),
            read_conditions=dict,
            read_state=dict,
            observer=self.observer,
            counters=self.counters,
        ).run()


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Bench]:
    """`bench("ze_peer=hang")`: stand-ins first on PATH, with that switch; two GPUs (indices 1 and 3)."""

    def make(switches: str = "", refused: bool = False, path: str = str(STAND_INS)) -> Bench:
        monkeypatch.setenv("PATH", f"{path}:{SYSTEM_PATH}")
        monkeypatch.setenv("XPUKIT_STAND_IN", switches)
        monkeypatch.setenv("XPUKIT_STAND_IN_NOTES", str(tmp_path / "notes.txt"))
        for name in ("ONEAPI_ROOT", "ZE_AFFINITY_MASK", "CCL_TOPO_P2P_ACCESS"):
            monkeypatch.delenv(name, raising=False)
        peers = (Peer(driver_index=0, src="1", dst="3", can_access=False),) if refused else ()
        answer = LevelZeroAnswer(status="ok", peers=peers)
        return Bench(tmp_path / "run", OverlayHost(LiveHost(), {("level-zero",): answer}))

    return make


def find(evaluation: Evaluation, metric: str, *devices: str, **params: Any) -> Result:
    rows = [
        row
        for row in evaluation.results
        if row.metric == metric and (not devices or row.devices == devices) and params.items() <= row.params.items()
    ]
    assert len(rows) == 1, [row.key for row in rows]
    return rows[0]


def test_everything_that_is_promised_comes(bench: Callable[..., Bench], tmp_path: Path) -> None:
    made = bench()
    before = set(STAND_INS.iterdir()) | set(Path.cwd().iterdir())
    evaluation = made.run()
    assert evaluation.complete
    bad = [(row.key, row.reason) for row in evaluation.results if row.value is None]
    assert bad == []
    assert {row.engine for row in evaluation.results} == {"tools"}
    assert {row.benchmark for row in evaluation.results} == {
        "collectives", "compute", "gemm", "health", "memory", "p2p", "sycl", "transfer",
    }  # fmt: skip
    keys = [row.key for row in evaluation.results]
    assert len(keys) == len(set(keys))
    # the same rows as the embedded engine's
    assert find(evaluation, "peak_bandwidth", FIRST, op="read").value == 370.1
    assert find(evaluation, "throughput", SECOND, dtype="fp16", m=4096, shape="square").value == 88.1234
    assert find(evaluation, "bandwidth", SECOND, FIRST, mode="write", direction="uni", bytes=64 * MIB).value == 21.96
    assert find(evaluation, "bandwidth", FIRST, SECOND, mode="read", direction="bi", bytes=64 * MIB).value == 31.43
    assert find(evaluation, "data", FIRST, SECOND, mode="read").verified is True
    assert find(evaluation, "access", FIRST, SECOND).value == 1.0
    p2p = find(evaluation, "busbw", collective="allreduce", mode="p2p", bytes=64 * MIB).value
    usm = find(evaluation, "busbw", collective="allreduce", mode="usm", bytes=64 * MIB).value
    assert p2p == pytest.approx(19.97, rel=1e-3)
    assert usm == pytest.approx(10.99, rel=1e-3)
    half = find(evaluation, "busbw", collective="allgather", mode="p2p", bytes=64 * MIB)
    assert half.value == pytest.approx(19.97 / 2, rel=1e-3)
    assert find(evaluation, "bandwidth", FIRST, direction="h2d", memory="pinned", bytes=MIB).verified is True
    # raw output is kept
    logs = sorted((tmp_path / "run" / "logs").iterdir())
    assert len(logs) == len(evaluation.jobs)
    assert any("enqueueWriteBuffer : 24.1 GB/s" in log.read_text(encoding="utf-8") for log in logs)
    # nothing is left lying about
    assert (set(STAND_INS.iterdir()) | set(Path.cwd().iterdir())) - before <= {STAND_INS / "__pycache__"}


def test_what_the_programs_were_told(bench: Callable[..., Bench], tmp_path: Path) -> None:
    bench().run("ze_peak", "ze_peer", "oneccl_benchmark", "ze_bandwidth")
    notes = (tmp_path / "notes.txt").read_text(encoding="utf-8").splitlines()
    peaks = [note for note in notes if note.startswith("ze_peak ")]
    assert [note.split(" | ")[0] for note in peaks] == ["ze_peak -t global_bw"] * 2
    assert ["ZE_AFFINITY_MASK=1 " in peaks[0], "ZE_AFFINITY_MASK=3 " in peaks[1]] == [True, True]
    assert all("NEOReadDebugKeys=1 RenderCompressedBuffersEnabled=0" in note for note in peaks)
    assert all(note.endswith(f"| {STAND_INS}") for note in peaks), "ze_peak reads its kernels from there"
    peers = [note for note in notes if note.startswith("ze_peer ")]
    assert all("ZE_AFFINITY_MASK=1,3 " in note for note in peers)
    assert any(note.startswith("ze_peer -s 1 -d 0 -i 20 |") for note in peers)
    modes = [note.partition("CCL_TOPO_P2P_ACCESS=")[2][0] for note in notes if note.startswith("oneccl_benchmark")]
    assert modes == ["1", "1", "0", "0"]


def test_oneapis_environment_reaches_the_ranks(
    bench: Callable[..., Bench], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = bench()
    (tmp_path / "oneapi").mkdir()
    (tmp_path / "oneapi" / "setvars.sh").write_text(f"export CCL_ROOT=/some/ccl\necho >> {tmp_path}/sourced\n")
    monkeypatch.setenv("ONEAPI_ROOT", str(tmp_path / "oneapi"))
    made.run("oneccl_benchmark", "matrix_mul")
    notes = (tmp_path / "notes.txt").read_text(encoding="utf-8").splitlines()
    assert len(notes) > 6
    assert all("CCL_ROOT=/some/ccl" in note for note in notes)
    assert (tmp_path / "sourced").read_text(encoding="utf-8") == "\n", "once, not per command"


def test_a_slow_tool_is_waited_for(bench: Callable[..., Bench]) -> None:
    evaluation = bench("ze_peak=slow").run("ze_peak")
    assert find(evaluation, "peak_bandwidth", FIRST).value == 370.1
    assert all(job.seconds > 1 for job in evaluation.jobs)


def test_a_hanging_tool_is_stopped_and_costs_its_rows(bench: Callable[..., Bench]) -> None:
    started = time.monotonic()
    evaluation = bench("ze_peak=hang").run("ze_peak", "matrix_mul", timeout_s=1.5)
    assert time.monotonic() - started < 30
    assert "hung and was stopped after" in find(evaluation, "peak_bandwidth", FIRST).reason
    assert find(evaluation, "throughput", FIRST, dtype="fp16").value == 88.1234
    assert find_processes(str(STAND_INS / "ze_peak")) == []


def test_ranks_end_with_their_launcher(bench: Callable[..., Bench]) -> None:
    evaluation = bench("oneccl_benchmark=hang").run("oneccl_benchmark", timeout_s=1.5)
    assert {row.verdict for row in evaluation.results} == {"unknown"}
    assert all("hung" in row.reason for row in evaluation.results)
    assert find_processes(str(STAND_INS / "1ccl_benchmark")) == []


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        ("crash", "crashed (signal 11)"),
        ("garbage", "ended without an error code, but"),
        ("wrong-units", "could not read line"),
    ],
)
def test_a_bad_tool_costs_only_its_own_rows(
    bench: Callable[..., Bench], tmp_path: Path, behaviour: str, words: str
) -> None:
    evaluation = bench(f"ze_peer={behaviour},ze_bandwidth={behaviour}").run("ze_peer", "ze_bandwidth", "ze_peak")
    assert find(evaluation, "peak_bandwidth", FIRST, op="read").value == 370.1
    lost = [row for row in evaluation.results if row.benchmark in ("p2p", "transfer")]
    assert len(lost) > 20
    assert {row.verdict for row in lost} == {"unknown"}
    assert all(words in row.reason for row in lost), {row.reason for row in lost}
    assert all(len((tmp_path / "run" / job.log).read_bytes()) > 100 for job in evaluation.jobs if behaviour != "crash")


@pytest.mark.parametrize("tool", ["ze_peak", "ze_peer", "ze_bandwidth", "matrix_mul", "oneccl_benchmark"])
@pytest.mark.parametrize("behaviour", ["crash", "garbage", "wrong-units"])
def test_no_tool_can_pass_off_noise_as_a_measurement(bench: Callable[..., Bench], tool: str, behaviour: str) -> None:
    switch = "matrix_mul_mkl" if tool == "matrix_mul" else tool
    evaluation = bench(f"{switch}={behaviour}").run(tool)
    assert {row.verdict for row in evaluation.results} == {"unknown"}
    assert all(row.reason and row.value is None for row in evaluation.results)


def test_what_a_tool_printed_before_it_died_is_kept(bench: Callable[..., Bench]) -> None:
    evaluation = bench("ze_peer=half").run("ze_peer")
    known = [row for row in evaluation.results if row.metric == "access" and row.value is not None]
    lost = find(evaluation, "bandwidth", FIRST, SECOND, mode="write", direction="uni", bytes=64 * MIB)
    assert len(known) == 2
    assert "crashed (signal 6)" in lost.reason
    assert "terminate called" in lost.reason


def test_without_p2p_access_is_no_and_the_reason_is_told(bench: Callable[..., Bench]) -> None:
    evaluation = bench("ze_peer=no-p2p").run("ze_peer")
    assert find(evaluation, "access", FIRST, SECOND).value == 0.0
    lost = find(evaluation, "bandwidth", SECOND, FIRST, mode="read", direction="uni", bytes=64 * MIB)
    assert lost.verdict == "unknown"
    assert "do not have P2P capabilities" in lost.reason


def test_a_pair_that_the_driver_refuses_is_asked_once(bench: Callable[..., Bench]) -> None:
    evaluation = bench("ze_peer=no-p2p", refused=True).run("ze_peer")
    assert find(evaluation, "access", FIRST, SECOND).value == 0.0
    assert len(evaluation.jobs) == 2
    assert [job.failure for job in evaluation.jobs] == ["", ""]
    rest = [row for row in evaluation.results if row.metric != "access"]
    assert {row.verdict for row in rest} == {"not-applicable"}


def test_wrong_data_fails_a_device(bench: Callable[..., Bench]) -> None:
    evaluation = bench("ze_peer=bad-data").run("ze_peer")
    row = find(evaluation, "data", FIRST, SECOND, mode="write")
    assert (row.verdict, row.value) == ("fail", 0.0)
    assert "validate_buffer 255" in row.reason
    assert evaluation.verdict == "fail"


def test_verification_that_fails_is_the_reason(bench: Callable[..., Bench]) -> None:
    evaluation = bench("ze_bandwidth=bad-data,matrix_mul_mkl=bad-data").run("ze_bandwidth", "matrix_mul")
    assert "verification failed" in find(evaluation, "bandwidth", FIRST, direction="h2d", bytes=4096).reason
    assert "FAILS" in find(evaluation, "throughput", FIRST, dtype="fp16").reason


def test_a_missing_tool_says_what_brings_it(bench: Callable[..., Bench], tmp_path: Path) -> None:
    evaluation = bench(path=str(tmp_path / "nothing")).run()
    assert {row.verdict for row in evaluation.results} == {"unknown"}
    reasons = {row.reason for row in evaluation.results}
    assert len(reasons) == 7
    assert all("is not installed" in reason and "brings it" in reason for reason in reasons), reasons


def test_kernels_that_are_missing(bench: Callable[..., Bench], tmp_path: Path) -> None:
    folder = tmp_path / "tools"
    folder.mkdir()
    for name in ("ze_peak", "stand_in.py"):
        (folder / name).write_bytes((STAND_INS / name).read_bytes())
        os.chmod(folder / name, 0o755)
    made = bench(path=str(folder))
    reason = next(b for b in TOOLS if b.name == "ze_peak").available(made.host)  # type: ignore[misc]
    assert "without ze_global_bw.spv" in reason
    evaluation = made.run("ze_peak")
    assert "Failed to load binary file: ze_global_bw.spv" in find(evaluation, "peak_bandwidth", FIRST).reason


def test_ctrl_c_and_resume(bench: Callable[..., Bench], tmp_path: Path) -> None:
    made = bench()
    with pytest.raises(InterruptedRunError):
        made.run("ze_peak", "matrix_mul", interrupt_at=3)
    partial = json.loads((tmp_path / "run" / "results.json").read_text(encoding="utf-8"))
    assert not partial["complete"]
    assert len(partial["jobs"]) == 2
    evaluation = made.run("ze_peak", "matrix_mul", resume=True)
    assert made.observer.resumed == [True, True, False, False, False, False]
    assert all(row.value is not None for row in evaluation.results)


def test_health_and_sycl_are_rows(bench: Callable[..., Bench]) -> None:
    evaluation = bench().run("xpu_smi_health", "sycl_ls")
    assert find(evaluation, "health", FIRST, component="core_temperature").verdict == "pass"
    warm = find(evaluation, "health", SECOND, component="core_temperature")
    assert (warm.verdict, warm.reason) == ("warn", "warning: A sensor is warm.")
    assert find(evaluation, "diag", FIRST, component="GPU").verdict == "pass"
    assert find(evaluation, "visible").note == "SYCL sees 2 GPUs over Level Zero, 2 are measured"
    assert evaluation.verdict == "warn"


def test_xpu_smi_says_how_pairs_are_wired_and_what_was_counted(
    bench: Callable[..., Bench], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XPUKIT_STAND_IN_COUNT", str(tmp_path / "asked"))
    made = bench()
    devices = tuple(
        Device(index=i, bdf=bdf, vendor_id="8086", device_id="e211", name="B60", known=True, xpu_smi_index=i)
        for i, bdf in enumerate((FIRST, SECOND))
    )
    made.counters = ErrorCounters(made.host, Machine(devices=devices), (FIRST, SECOND))
    evaluation = made.run("xpu_smi_topology", "sycl_ls")
    assert find(evaluation, "wiring", FIRST, SECOND).note.startswith("NODE: PCIe within one NUMA node (xpu-smi 1.x ")
    assert [row.verdict for row in evaluation.results if row.metric == "errors" and not row.params] == ["pass", "warn"]
    grown = find(evaluation, "errors", SECOND, counter="memory_errors_correctable")
    assert (grown.value, grown.reason.partition(" during")[0]) == (1.0, "1 corrected errors in the device's memory")
    assert evaluation.conditions["before"]["errors_counted"][SECOND]["memory_errors_correctable"] == 41
    assert evaluation.verdict == "warn"


def test_ctrl_c_ends_all_jobs_of_a_group(tmp_path: Path) -> None:
    """Two children side by side, which would run for ten minutes: an interrupt in the main thread ends both."""
    jobs = [
        Job(benchmark="t", name=name, argv=("sleep", "600"), promises=(), timeout_s=600.0, targets=(name,))
        for name in "ab"
    ]
    group = [PlannedJob(name=job.name, job=job, benchmark=TOOLS[0], group=1) for job in jobs]
    directory = RunDirectory.create(tmp_path / "run", RunOptions())
    main = threading.main_thread().ident
    assert main is not None
    timer = threading.Timer(1.0, signal.pthread_kill, (main, signal.SIGINT))
    timer.start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        do_group(LiveHost(), group, directory, done=lambda planned, outcome: None)
    assert time.monotonic() - started < 60
    assert not [child for child in psutil.Process().children(recursive=True) if child.name() == "sleep"]
