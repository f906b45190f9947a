"""Estimate beside fact, and the correction that is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.serve.model_files import B60, GIB, get_model, set_up
from xpukit.core.errors import CouldNotJudgeError
from xpukit.host.answers import FoundAnswer
from xpukit.host.live import LiveHost
from xpukit.host.overlay import OverlayHost
from xpukit.serve.calibrate import (
    compare_log,
    derive_correction,
    find_correction,
    find_corrections_path,
    load_corrections,
    make_model_key,
    save_correction,
)
from xpukit.serve.engine_log import read_engine_log
from xpukit.serve.memory import fit_memory
from xpukit.serve.memory_types import Correction, MemoryPlan, Parallel

SEED = "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B"
STARTED = """\
INFO 07-11 06:18:20 [gpu_model_runner.py:1780] Model loading took 14.2717 GiB and 8.11 seconds
INFO 07-11 06:18:32 [gpu_worker.py:227] Available KV cache memory: 6.11 GiB
INFO 07-11 06:18:32 [kv_cache_utils.py:646] GPU KV cache size: 114,432 tokens
INFO 07-11 06:18:32 [kv_cache_utils.py:649] Maximum concurrency for 18,000 tokens per request: 6.36x
"""
REFUSED = (
    "ERROR 07-11 06:23:05 [core.py:390] ValueError: To serve at least one request with the models's max seq len (118000), "
    "(6.30 GiB KV cache is needed, which is larger than the available KV cache memory (6.11 GiB). Based on the available "
    "memory, the estimated maximum model length is 114432."
)


def plan_seed(length: int = 18_000) -> MemoryPlan:
    return fit_memory(get_model(SEED), quantization="none", device=B60, settings=set_up("1.0", max_model_len=length))


def host_with(state: Path) -> OverlayHost:
    return OverlayHost(LiveHost(), {("env", "XDG_STATE_HOME"): FoundAnswer(value=str(state))})


def make(**changes: object) -> Correction:
    given: dict[str, object] = {
        "host": "h", "model": SEED, "quantization": "none", "engine": "llm-scaler-vllm", "version": "1.0", "tp": 1, "pp": 1,
        "weights_delta_bytes": 5, "other_delta_bytes": -7, "created": "2026-11-21T16:00:00Z", "source": "a.log", **changes,
    }  # fmt: skip
    return Correction(**given)  # type: ignore[arg-type]


def test_the_seed_s_log_beside_the_estimate() -> None:
    rows = {row.name + row.unit: row for row in compare_log(plan_seed(), read_engine_log(STARTED), get_model(SEED))}
    assert rows["weightsGiB"].error_percent == pytest.approx(0, abs=1)
    concurrency = rows["requests of 18,000 tokensx"]
    assert f"{concurrency.estimate:.2f}" == "6.36" == f"{concurrency.fact:.2f}"
    assert rows["KV cachetokens"].fact == 114_432


def test_the_seed_s_refusal_beside_the_estimate() -> None:
    rows = {row.name: row for row in compare_log(plan_seed(118_000), read_engine_log(REFUSED), get_model(SEED))}
    assert rows["longest request"].estimate == rows["longest request"].fact == 114_432
    assert f"{rows['cache of 118,000 tokens'].estimate:.2f}" == "6.30"


def test_a_corrected_plan_meets_the_log() -> None:
    model, log = get_model(SEED), read_engine_log(STARTED)
    correction = derive_correction(
        plan_seed(), log, model, host_key="h", model_key=SEED, created="2026-11-21T16:00:00Z", source="start.log"
    )
    plan = fit_memory(
        model, quantization="none", device=B60, settings=set_up("1.0", max_model_len=18_000), correction=correction
    )
    assert plan.kv_tokens == 114_432
    assert f"{plan.concurrency:.2f}" == "6.36"
    assert plan.weights_bytes == round(14.2717 * GIB)
    assert plan.fits
    again = derive_correction(
        plan, log, model, host_key="h", model_key=SEED, created="2026-11-21T16:00:00Z", source="start.log"
    )
    assert again == correction


def test_a_log_with_the_cache_only() -> None:
    log = read_engine_log(REFUSED)
    correction = derive_correction(
        plan_seed(), log, get_model(SEED), host_key="h", model_key=SEED, created="now", source="r.log"
    )
    assert correction.weights_delta_bytes == 0
    assert correction.other_delta_bytes == plan_seed().kv_bytes - 114_432 * 57344


def test_a_log_that_says_nothing() -> None:
    with pytest.raises(CouldNotJudgeError, match="no line about weights"):
        derive_correction(
            plan_seed(), read_engine_log("hi"), get_model(SEED), host_key="h", model_key="m", created="", source=""
        )
    assert compare_log(plan_seed(), read_engine_log("hi"), get_model(SEED)) == ()


def test_a_hybrid_model_s_log_gives_bytes_from_its_gib() -> None:
    model = get_model("Qwen/Qwen3.6-27B")
    plan = fit_memory(
        model, quantization="fp8", device=B60, parallel=Parallel(tp=2), settings=set_up(max_model_len=8192)
    )
    log = read_engine_log(f"Available KV cache memory: {plan.kv_bytes / GIB:.2f} GiB")
    correction = derive_correction(plan, log, model, host_key="h", model_key="m", created="", source="")
    assert abs(correction.other_delta_bytes) <= 0.01 * GIB


def test_corrections_are_kept_and_found(tmp_path: Path) -> None:
    host = host_with(tmp_path)
    assert load_corrections(host) == ()
    path = save_correction(host, make())
    save_correction(host, make(tp=2))
    save_correction(host, make(weights_delta_bytes=9))
    assert path == find_corrections_path(host) == tmp_path / "xpukit" / "serve" / "corrections.json"
    kept = load_corrections(host)
    assert len(kept) == 2
    keys: dict[str, Any] = {
        "host_key": "h",
        "model_key": SEED.upper(),
        "quantization": "none",
        "engine": "llm-scaler-vllm",
    }
    found = find_correction(kept, **keys, tp=1)
    assert found is not None
    assert found.weights_delta_bytes == 9
    assert find_correction(kept, **keys, tp=4) is None
    assert find_correction(kept, **{**keys, "host_key": "other"}, tp=1) is None
    assert find_correction(kept, **{**keys, "quantization": "fp8"}, tp=1) is None


@pytest.mark.parametrize("content", ["", "{", '{"schema": "other", "corrections": []}', "[]", '{"schema": 1}'])
def test_a_damaged_file_counts_as_empty_and_is_replaced(tmp_path: Path, content: str) -> None:
    host = host_with(tmp_path)
    path = find_corrections_path(host)
    path.parent.mkdir(parents=True)
    path.write_text(content)
    assert load_corrections(host) == ()
    save_correction(host, make())
    assert len(load_corrections(host)) == 1
    assert [item.name for item in path.parent.iterdir()] == ["corrections.json"]


def test_the_key_of_a_model() -> None:
    assert make_model_key(get_model("/llm/models/DeepSeek-R1-Distill-Qwen-7B")) == SEED
