"""The newest evaluation of a host: found, read, and turned into what a prediction rests on."""

from __future__ import annotations

import json
from typing import Any

from xpukit.host.answers import FileAnswer, FoundAnswer, NamesAnswer
from xpukit.serve.last_run import LastRun, find_last_run, read_measurements


class Files:
    """A host with these files below HOME, and nothing else."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files

    def env_names(self, prefix: str) -> NamesAnswer:
        return NamesAnswer(names=("HOME",) if prefix == "HOME" else ())

    def env(self, name: str) -> FoundAnswer:
        return FoundAnswer(value="/h" if name == "HOME" else None)

    def list(self, path: str) -> NamesAnswer:
        below = {name[len(path) + 1 :].split("/")[0] for name in self.files if name.startswith(f"{path}/")}
        return NamesAnswer(names=tuple(sorted(below)))

    def read(self, path: str, *, limit_bytes: int) -> FileAnswer:
        data = self.files.get(path)
        return FileAnswer(error="ENOENT") if data is None else FileAnswer(data=data[:limit_bytes])


def document(*rows: dict[str, Any]) -> bytes:
    return json.dumps({"schema": "xpukit.evaluate/1", "results": rows}).encode()


def row(benchmark: str, metric: str, value: float | None, unit: str, **more: Any) -> dict[str, Any]:
    base = {"benchmark": benchmark, "metric": metric, "value": value, "unit": unit, "devices": ["0"], "params": {}}
    return {**base, "verified": True, "verdict": "pass", **more}


def find(files: dict[str, bytes]) -> LastRun | None:
    return find_last_run(Files(files))  # type: ignore[arg-type]


def test_the_newest_whole_run_is_taken() -> None:
    files = {
        "/h/xpukit-runs/20261101-quick/results.json": document(),
        "/h/xpukit-runs/20261102-quick/results.json": b'{"schema": "xpukit.evaluate/1", "resul',
        "/h/xpukit-runs/20261103-quick/results.json": b'{"schema": "other/1"}',
    }
    found = find(files)
    assert found is not None
    assert found.path == "/h/xpukit-runs/20261101-quick/results.json"
    assert find({}) is None


def test_the_slowest_gpu_reading_sets_the_pace_and_doubtful_rows_do_not_count() -> None:
    stream = {"params": {"op": "read"}}
    rows = (
        row("memory", "peak_bandwidth", 440.0, "GB/s", **stream),
        row("memory", "peak_bandwidth", 400.0, "GB/s", **stream, devices=["1"]),
        row("memory", "peak_bandwidth", 300.0, "GB/s", params={"op": "copy"}),
        row("memory", "peak_bandwidth", 1.0, "GB/s", **stream, verified=False),
        row("memory", "peak_bandwidth", 2.0, "GB/s", **stream, verdict="unknown"),
        row("memory", "peak_bandwidth", 3.0, "GB/s", **stream, devices=["cpu"]),
        row("memory", "peak_bandwidth", None, "GB/s", **stream),
        row("gemm", "throughput", 80.0, "TFLOPS", params={"dtype": "fp16", "m": 8, "n": 16, "k": 32}),
        row("gemm", "throughput", 90.0, "TFLOPS", params={"dtype": "fp16", "shape": "square"}),
        row("collectives", "busbw", 12.0, "GB/s", params={"collective": "allreduce"}),
        row("collectives", "busbw", 20.0, "GB/s", params={"collective": "alltoall"}),
    )
    found = find({"/h/xpukit-runs/1/results.json": document(*rows)})
    assert found is not None
    measured = read_measurements(found)
    assert measured is not None
    assert measured.memory_gbps == 400.0
    assert measured.gemm == (("fp16", 8, 16, 32, 80.0),)
    assert measured.collective_gbps == 12.0
    assert measured.source == found.path


def test_a_run_of_the_processor_says_nothing_of_gpus() -> None:
    only = row("memory", "peak_bandwidth", 45.0, "GB/s", params={"op": "copy"}, devices=["cpu"])
    found = find({"/h/xpukit-runs/1/results.json": document(only)})
    assert found is not None
    assert read_measurements(found) is None
