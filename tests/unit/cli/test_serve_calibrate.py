"""`serve --calibrate` on the machine at hand, and the plans that follow; what an evaluation of it changes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.machines.recorded_machines import open_machine
from xpukit.cli.app import run
from xpukit.host.answers import FoundAnswer
from xpukit.host.door import Host
from xpukit.host.live import LiveHost
from xpukit.host.mediated import MediatedHost, Question

MODEL = "Qwen/Qwen3-8B"
ENGINE = ("--engine", "llm-scaler-vllm:0.14.0-b8.3.1")
ARGUMENTS = (
    "{'model_tag': '/llm/models/Qwen3-8B', 'port': 8000, 'model': '/llm/models/Qwen3-8B', 'dtype': 'float16', "
    "'max_model_len': 8192, 'quantization': 'fp8', 'enforce_eager': True, 'tensor_parallel_size': 2, "
    "'runner': <Runner.AUTO: 1>, 'gpu_memory_utilization': 0.9, 'max_num_batched_tokens': 8192, 'block_size': 64}"
)


def write_log(path: Path, *, weights: float = 4.9, cache: float = 12.0, arguments: str = ARGUMENTS) -> str:
    path.write_text(
        "INFO 11-20 10:00:00 [api_server.py:1800] vLLM API server version 0.14.1.dev0+gb17039bcc.d20260710\n"
        f"INFO 11-20 10:00:00 [utils.py:233] non-default args: {arguments}\n"
        f"(Worker_TP0) INFO 11-20 10:01:00 [gpu_model_runner.py:2338] Model loading took {weights:.4f} GiB and 41.0 seconds\n"
        f"(Worker_TP1) INFO 11-20 10:01:00 [gpu_model_runner.py:2338] Model loading took {weights - 0.1:.4f} GiB and 41.0 seconds\n"
        f"(Worker_TP0) INFO 11-20 10:01:09 [gpu_worker.py:298] Available KV cache memory: {cache:.2f} GiB\n",
        encoding="utf-8",
    )
    return str(path)


class AtHand(MediatedHost):
    """A recorded machine that answers as the one at hand: its files below `folder` are real, and it is written to."""

    def __init__(self, inner: Host, folder: Path) -> None:
        super().__init__(inner)
        self._live, self._folder = LiveHost(), folder

    def mediate(self, question: Question, answer_type: type[Any], ask: Callable[[], Any]) -> Any:
        kind, *words = question
        if kind == "env" and words[0] in ("XDG_STATE_HOME", "HOME", "PWD"):
            return FoundAnswer(value=str(self._folder))
        if kind == "env-names" and words[0] in ("HOME", "PWD"):
            return answer_type(names=(words[0],))
        if kind in ("read", "list", "stat") and str(words[0]).startswith((str(self._folder), "/llm/")):
            return getattr(self._live, kind)(words[0])
        return ask()


@pytest.fixture
def at_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    machine = open_machine("b60x4_bmc")
    monkeypatch.setattr("xpukit.host.live.LiveHost", lambda: AtHand(machine, tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return tmp_path


def call(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    code = run(["serve", *argv])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def plan_of(capsys: pytest.CaptureFixture[str], *argv: str) -> dict[str, Any]:
    code, out, err = call(capsys, *argv, "--json")
    assert code == 0, err
    document: dict[str, Any] = json.loads(out)
    return document


LAUNCH = (MODEL, *ENGINE, "-q", "fp8", "--tp", "2", "-c", "8192", "--utilization", "0.9", "--batched-tokens", "8192")


def test_a_correction_is_kept_and_changes_later_plans(at_hand: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = plan_of(capsys, *LAUNCH)["memory"]
    assert before["correction"] is None
    code, out, err = call(capsys, MODEL, *ENGINE, "--calibrate", write_log(at_hand / "vllm.log"))
    assert code == 0
    assert "is kept in" in err
    assert "taken from the log: tp 2" in err
    assert "fp8 weights, TP 2, llm-scaler-vllm" in err
    assert "weights" in out
    after = plan_of(capsys, *LAUNCH)["memory"]
    # What the log said is now what the plan says.
    assert after["weights_bytes"] / 2**30 == pytest.approx(4.9, abs=1e-3)
    assert after["kv_bytes"] / 2**30 == pytest.approx(12.0, abs=0.01)
    assert after["kv_tokens"] < before["kv_tokens"]
    [row] = [row for row in after["rows"] if row["name"] == "calibration"]
    assert row["origin"] == "measured"
    assert "from the log vllm.log (llm-scaler-vllm 0.14.1" in row["why"]
    # Other launches are as they were: another division, quantization, engine or model.
    for other in (("--tp", "1"), ("-q", "sym_int4"), ("--engine", "vllm:0.14.0")):
        assert plan_of(capsys, *LAUNCH, *other)["memory"]["correction"] is None
    assert plan_of(capsys, "Qwen/Qwen3-14B", *LAUNCH[1:])["memory"]["correction"] is None
    # A second look at the same log finds nothing left to correct, and replaces the first.
    code, out, _ = call(capsys, MODEL, *ENGINE, "--calibrate", str(at_hand / "vllm.log"))
    assert code == 0
    assert plan_of(capsys, *LAUNCH)["memory"]["weights_bytes"] == after["weights_bytes"]
    [kept] = json.loads((at_hand / "xpukit" / "serve" / "corrections.json").read_text())["corrections"]
    assert (kept["tp"], kept["quantization"]) == (2, "fp8")


def test_the_correction_is_shown_in_the_plan(at_hand: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(capsys, MODEL, *ENGINE, "--calibrate", write_log(at_hand / "vllm.log"))[0] == 0
    _, out, _ = call(capsys, *LAUNCH, "--explain")
    [line] = [line for line in out.splitlines() if line.startswith("calibration")]
    assert "measured" in line
    assert "weights +0." in line


def test_the_model_and_its_launch_are_read_from_the_log(at_hand: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, *ENGINE, "--calibrate", write_log(at_hand / "vllm.log"), "--json")
    assert code == 0
    found = json.loads(out)
    assert found["kept"].endswith("corrections.json")
    assert (found["correction"]["model"], found["correction"]["tp"]) == (MODEL, 2)
    assert plan_of(capsys, *LAUNCH)["memory"]["correction"] is not None


def test_a_log_of_another_launch_is_refused(at_hand: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = write_log(at_hand / "vllm.log")
    code, _, err = call(capsys, MODEL, *ENGINE, "--tp", "4", "--calibrate", log)
    assert code == 2
    assert "tp 4 was asked for; the log is of a launch with tp 2" in err
    code, out, err = call(capsys, "Qwen/Qwen3-32B", *ENGINE, "--calibrate", log)
    assert code == 3
    assert "weights" in out
    assert "was not kept" in err
    assert "another model" in err
    assert not (at_hand / "xpukit").exists()


SGLANG = """\
[2026-11-20 10:00:00] server_args=ServerArgs(model_path='/llm/Qwen3-8B', dtype='auto', quantization=None, tp_size=2, \
pp_size=1, dp_size=1, mem_fraction_static=0.8, context_length=8192, chunked_prefill_size=4096, disable_cuda_graph=True)
[2026-11-20 10:00:29 TP1] Load weight end. elapsed=18.1 s, type=Qwen3ForCausalLM, avail mem=16.1 GB, mem usage=7.90 GB.
[2026-11-20 10:00:29 TP0] Load weight end. elapsed=18.2 s, type=Qwen3ForCausalLM, avail mem=16.1 GB, mem usage=7.92 GB.
[2026-11-20 10:00:30 TP0] KV Cache is allocated. #tokens: 150000, K size: 5.15 GB, V size: 5.15 GB
[2026-11-20 10:00:31 TP0] max_total_num_tokens=150000, chunked_prefill_size=4096, max_prefill_tokens=16384, context_len=8192
"""
LMDEPLOY = """\
2026-11-20 10:00:00 - lmdeploy - INFO - input backend=pytorch, backend_config=PytorchEngineConfig(dtype='auto', tp=2, \
session_len=8192, cache_max_entry_count=0.7, block_size=64, max_prefill_token_num=4096, eager_mode=True)
2026-11-20 10:00:09 - lmdeploy - INFO - Building CacheEngine with config:
CacheConfig(max_batches=256, block_size=64, num_cpu_blocks=0, num_gpu_blocks=2000, window_size=-1)
"""


@pytest.mark.parametrize(
    ("engine", "text", "tokens", "share"), [("sglang", SGLANG, 150_000, "0.8"), ("lmdeploy", LMDEPLOY, 128_000, "0.7")]
)
def test_logs_of_other_engines(
    engine: str, text: str, tokens: int, share: str, at_hand: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (at_hand / "engine.log").write_text(text, encoding="utf-8")
    launch = (MODEL, "--engine", engine, "--tp", "2", "-q", "none", "-c", "8192", "--batched-tokens", "4096")
    launch = (*launch, "--utilization", share, "--eager")
    assert plan_of(capsys, *launch)["memory"]["kv_tokens"] != tokens
    code, _, err = call(capsys, MODEL, "--calibrate", str(at_hand / "engine.log"))
    assert code == 0, err
    assert "is kept in" in err
    memory = plan_of(capsys, *launch)["memory"]
    # The budget of these engines depends on what is beside the cache: a correction must not be taken back by it.
    assert memory["kv_tokens"] == pytest.approx(tokens, rel=1e-3)
    code, _, err = call(capsys, MODEL, "--engine", "vllm", "--calibrate", str(at_hand / "engine.log"))
    assert code == 2
    assert f"the plan is for vllm, the log is of {engine}" in err


def test_a_log_without_arguments_needs_the_model(at_hand: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = at_hand / "short.log"
    log.write_text("INFO Model loading took 4.9000 GiB and 41.0 seconds\n", encoding="utf-8")
    code, _, err = call(capsys, "--calibrate", str(log))
    assert code == 2
    assert "the log does not name it" in err


def write_run(folder: Path, read_gbps: float, gemm_tflops: float) -> Path:
    run_dir = folder / "xpukit-runs" / "20261120-100000-standard"
    run_dir.mkdir(parents=True)
    common = {"devices": ["gpu0"], "verified": True, "verdict": "pass"}
    rows = [
        {
            "benchmark": "memory",
            "metric": "peak_bandwidth",
            "value": read_gbps,
            "unit": "GB/s",
            "params": {"op": "read"},
        },
        {
            "benchmark": "gemm",
            "metric": "rate",
            "value": gemm_tflops,
            "unit": "TFLOPS",
            "params": {"dtype": "bf16", "m": 4096, "n": 4096, "k": 4096},
        },
    ]
    document = {"schema": "xpukit.evaluate/1", "results": [{**common, **row} for row in rows]}
    (run_dir / "results.json").write_text(json.dumps(document), encoding="utf-8")
    return run_dir


def test_measurements_of_this_host_decide_the_prediction(at_hand: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = (MODEL, *ENGINE, "-q", "none", "--tp", "1")
    published = plan_of(capsys, *asked)["prediction"]
    assert published["kind"] == "published"
    run_dir = write_run(at_hand, 200.0, 40.0)
    measured = plan_of(capsys, *asked)["prediction"]
    assert measured["kind"] == "measured"
    assert str(run_dir) in measured["source"]
    assert measured["decode_tps_per_sequence"] < 0.6 * published["decode_tps_per_sequence"]
    assert measured["prefill_tps"] < 0.7 * published["prefill_tps"]
    _, out, _ = call(capsys, *asked, "--explain")
    assert "Predicted speed (measured: " in out
    # Another run by name instead of the newest.
    other = write_run(at_hand / "other", 100.0, 20.0)
    named = plan_of(capsys, *asked, "--evaluation", str(other))["prediction"]
    assert named["decode_tps_per_sequence"] < 0.7 * measured["decode_tps_per_sequence"]
    assert named["source"] != measured["source"]


@pytest.mark.parametrize("redact", [False, True])
def test_a_recording_plans_as_the_machine_itself(
    redact: bool, at_hand: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(capsys, MODEL, *ENGINE, "--calibrate", write_log(at_hand / "vllm.log"))[0] == 0
    write_run(at_hand, 200.0, 40.0)
    here = plan_of(capsys, *LAUNCH)
    recording = tmp_path / "recording"
    options = ["--record", str(recording), *(["--redact"] if redact else [])]
    assert run([*options, "serve", *LAUNCH, "--json"]) == 0
    capsys.readouterr()
    there = plan_of(capsys, *LAUNCH, "--from", str(recording))
    assert there["memory"] == here["memory"]
    assert there["memory"]["correction"] is not None
    assert there["prediction"]["decode_tps_per_sequence"] == here["prediction"]["decode_tps_per_sequence"]
    assert there["launches"] == here["launches"]
