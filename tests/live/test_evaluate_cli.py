"""`xpukit evaluate` as a user runs it, for real on this CPU: every kind of benchmark, Ctrl-C, resume, self-check."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

pytestmark = [pytest.mark.live, pytest.mark.timeout(400)]


def xpukit(*argv: str | Path, cwd: Path, timeout_s: float = 300) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "xpukit", *map(str, argv)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


@pytest.fixture(scope="module", autouse=True)
def engine() -> None:
    pytest.importorskip("dpctl", reason="the embedded engine is not installed (extra embedded)")


@pytest.fixture(scope="module")
def quick_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], str]:
    """One real quick run, shared: it takes most of a minute."""
    place = tmp_path_factory.mktemp("run")
    ran = xpukit("--record", place / "recording", "evaluate", "--suite", "quick", "--device", "cpu", "--json",
                 "--out", place / "run", cwd=place)  # fmt: skip
    assert ran.returncode in (0, 1), ran.stderr
    return place / "run", json.loads(ran.stdout), ran.stderr


def test_every_kind_is_measured_verified_and_judged(quick_run: tuple[Path, dict[str, Any], str]) -> None:
    _, document, _ = quick_run
    assert document["schema"] == "xpukit.evaluate/1"
    assert document["complete"]
    rows = document["results"]
    assert not [row for row in rows if row["verdict"] == "unknown"]
    for benchmark in ("gemm", "memory", "transfer", "collectives"):
        # A number format that this processor's library lacks (fp8 without AMX) is a row that says so.
        mine = [row for row in rows if row["benchmark"] == benchmark and row["verdict"] != "not-applicable"]
        assert mine, benchmark
        assert all(row["value"] and row["value"] > 0 for row in mine), benchmark
        assert all(row["verified"] for row in mine), benchmark
        judged = [row for row in mine if row["reference"]]
        assert judged, benchmark
        assert {row["reference"]["kind"] for row in judged} == {"measured-here"}
    assert {row["verdict"] for row in rows if row["benchmark"] == "p2p"} == {"not-applicable"}
    dtypes = {row["params"]["dtype"] for row in rows if row["benchmark"] == "gemm"}
    assert {"fp64", "fp32", "fp16", "bf16", "int8", "fp8_e4m3", "fp8_e5m2", "int4_fp16", "int4_bf16"} <= dtypes
    names = {row["params"]["collective"] for row in rows if row["benchmark"] == "collectives"}
    assert names == {"allreduce", "allgather", "reduce_scatter", "alltoall", "broadcast"}
    for row in rows:
        if row["value"] is not None:
            assert row["min"] <= row["median"] <= row["max"]
            assert row["n"] >= 1


def test_the_run_directory_is_whole(quick_run: tuple[Path, dict[str, Any], str]) -> None:
    run, document, _ = quick_run
    names = {path.name for path in run.iterdir()}
    assert {
        "run.json",
        "probe.json",
        "results.json",
        "report.md",
        "report.html",
        "results.csv",
        "upstream.csv",
    } <= names
    assert json.loads((run / "results.json").read_text(encoding="utf-8")) == document
    assert len(list((run / "logs").iterdir())) == len(document["jobs"])
    assert (run / "results.csv").read_text(encoding="utf-8").count("\n") == len(document["results"]) + 1
    assert document["conditions"]["before"]["memory_available_bytes"] > 0
    assert document["conditions"]["after"]
    assert all(job["overhead_s"] is not None and job["timing_us"] < 50 for job in document["jobs"])


def test_progress_goes_to_stderr(quick_run: tuple[Path, dict[str, Any], str]) -> None:
    _, document, err = quick_run
    assert f"[{len(document['jobs'])}/{len(document['jobs'])}]" in err
    assert "recorded to" in err


def test_planted_errors_are_all_found(tmp_path: Path) -> None:
    ran = xpukit(
        "evaluate", "--suite", "quick", "--device", "cpu", "--plant-error", "--json", "--out", "run", cwd=tmp_path
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    rows = json.loads(ran.stdout)["results"]
    for benchmark in ("gemm", "memory", "transfer", "collectives"):
        judged = [row for row in rows if row["benchmark"] == benchmark and row["verdict"] != "not-applicable"]
        verified = {row["verified"] for row in judged}
        assert verified == {False}, benchmark
    assert "0 were not" in ran.stderr


def _start(cwd: Path, *argv: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "xpukit", "evaluate", "--suite", "quick", "--device", "cpu", "--out", "run", *argv],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _wait_for(path: Path, count: int, timeout_s: float = 90) -> None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if path.is_dir() and len(list(path.glob("*.json"))) >= count:
            return
        time.sleep(0.05)
    raise AssertionError(f"{path} did not get {count} files")


def _list_workers() -> list[int]:
    return [
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if "xpukit.evaluate.embedded.worker" in " ".join(process.info["cmdline"] or ())
    ]


def test_ctrl_c_keeps_what_is_done_kills_the_worker_and_resumes(tmp_path: Path) -> None:
    before = set(_list_workers())
    process = _start(tmp_path, "--only", "gemm")
    _wait_for(tmp_path / "run" / "jobs", 2)
    time.sleep(0.5)  # in the middle of the third job
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "--resume run" in err
    assert "Traceback" not in err
    assert not set(_list_workers()) - before
    partial = json.loads((tmp_path / "run" / "results.json").read_text(encoding="utf-8"))
    assert not partial["complete"]
    kept = {path.name: path.read_bytes() for path in (tmp_path / "run" / "jobs").iterdir()}
    assert len(kept) >= 2
    ran = xpukit("evaluate", "--resume", "run", "--json", cwd=tmp_path)
    assert ran.returncode in (0, 1), ran.stderr
    assert "kept from before" in ran.stderr
    document = json.loads(ran.stdout)
    assert document["complete"]
    # The one that was running is run again; all others are as they were.
    done = {name: content for name, content in kept.items() if not json.loads(content)["record"]["failure"]}
    assert len(done) >= 2
    for name, content in done.items():
        assert (tmp_path / "run" / "jobs" / name).read_bytes() == content


def test_a_killed_worker_costs_its_rows_only(tmp_path: Path) -> None:
    process = _start(tmp_path, "--only", "gemm")
    _wait_for(tmp_path / "run" / "jobs", 1)
    own = psutil.Process(process.pid)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        workers = [child for child in own.children() if child.pid in _list_workers()]
        if workers:
            workers[0].kill()
            break
        time.sleep(0.02)
    process.communicate(timeout=200)
    assert process.returncode == 3
    rows = json.loads((tmp_path / "run" / "results.json").read_text(encoding="utf-8"))["results"]
    lost = [row for row in rows if row["verdict"] == "unknown"]
    assert lost
    assert all("crashed (signal 9)" in row["reason"] for row in lost)
    assert len({row["params"]["dtype"] for row in lost}) == 1
    assert len([row for row in rows if row["value"] is not None]) > len(lost)


def test_a_full_disk_is_an_error_and_not_a_traceback(tmp_path: Path) -> None:
    target = tmp_path / "small"
    target.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", target], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        ran = xpukit(
            "evaluate", "--suite", "quick", "--device", "cpu", "--only", "gemm", "--out", target / "run", cwd=tmp_path
        )
        assert ran.returncode == 4, ran.stderr
        assert "No space left" in ran.stderr
        assert "Traceback" not in ran.stderr
    finally:
        subprocess.run(["umount", target], check=False)
