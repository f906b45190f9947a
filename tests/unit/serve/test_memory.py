"""Does it fit: the breakdown adds up, the reason is named, and each way out really is one."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.serve.model_files import B60, GIB, get_model, set_up
from xpukit.serve.memory import apply_needs, find_default, fit_memory
from xpukit.serve.memory_types import Correction, DeviceMemory, MemoryPlan, MemorySettings, Parallel, WayOut

ONLINE = ("fp8", "sym_int4")


def fit(
    name: str, quantization: str = "none", tp: int = 1, *, device: DeviceMemory = B60, **changes: Any
) -> MemoryPlan:
    options = {key: changes.pop(key) for key in ("host_memory_bytes", "available_gpus", "correction") if key in changes}
    return fit_memory(
        get_model(name),
        quantization=quantization,
        device=device,
        parallel=Parallel(tp=tp),
        settings=set_up(**changes),
        quantizations=ONLINE,
        **options,
    )


def apply(name: str, plan: MemoryPlan, way: WayOut, device: DeviceMemory = B60) -> MemoryPlan:
    parallel, quantization, changed = plan.parallel, plan.quantization, plan.settings
    for key, value in way.change.items():
        if key in ("tp", "pp"):
            parallel = msgspec.structs.replace(parallel, **{key: value})
        elif key == "quantization":
            quantization = value
        else:
            changed = msgspec.structs.replace(changed, **{key: value})
    return fit_memory(
        get_model(name), quantization=quantization, device=device, parallel=parallel, settings=changed, available_gpus=8
    )


def test_a_model_that_fits() -> None:
    plan = fit("Qwen/Qwen3-8B", "fp8", max_model_len=32768)
    assert plan.fits
    assert not plan.reason
    assert not plan.ways_out
    assert plan.short_bytes == 0
    assert plan.utilization == 0.9
    assert sum(row.bytes for row in plan.rows) == plan.budget_bytes == int(24 * GIB * 0.9)
    assert plan.margin_bytes == plan.kv_bytes - plan.request_bytes > 0
    assert plan.kv_tokens == plan.kv_blocks * 64
    assert plan.max_context == 40960  # the model's own limit
    assert plan.memory_context > plan.max_context
    assert plan.concurrency == pytest.approx(plan.kv_blocks / 512)
    assert all(row.why for row in plan.rows)


def test_the_seed_s_launch_comes_out_near_its_log() -> None:
    # The guide's log has 6.11 GiB of cache on a 24 GB card, and does not say with what batch.
    plan = fit("/llm/models/DeepSeek-R1-Distill-Qwen-7B", version="1.0", max_model_len=18000)
    assert plan.fits
    assert plan.kv_bytes / GIB == pytest.approx(6.11, rel=0.15)


def test_a_checkpoint_in_4_bits_where_the_engine_reads_one() -> None:
    def ask(name: str, *checkpoints: str) -> MemoryPlan:
        return fit_memory(
            get_model(name),
            quantization="none",
            device=B60,
            settings=MemorySettings(version="0.33.0", max_model_len=8192),
            available_gpus=1,
            quantizations=("none",),
            checkpoints=checkpoints,
        )

    plan = ask("Qwen/Qwen3-14B", "awq", "gptq")
    assert [way.kind for way in plan.ways_out] == ["quantization", "gpus"]
    assert plan.ways_out[0].text.startswith("a 4-bit checkpoint of the model (AWQ or GPTQ), if there is one: ")
    assert [way.kind for way in ask("Qwen/Qwen3-14B").ways_out] == ["gpus"]
    # Nothing alone is enough: fewer devices with such a checkpoint come before more without.
    large = ask("meta-llama/Llama-3.1-70B", "gptq")
    assert [way.kind for way in large.ways_out] == ["gpus", "gpus"]
    assert "with a 4-bit checkpoint (GPTQ), if there is one," in large.ways_out[0].text
    first, second = (way.change["tp"] * way.change["pp"] for way in large.ways_out)
    assert first < second


def test_too_long_a_context_says_by_how_much() -> None:
    plan = fit("/llm/models/DeepSeek-R1-Distill-Qwen-7B", max_model_len=118_000)
    assert not plan.fits
    assert "one request of 118,000 tokens needs 6.30 GiB" in plan.reason
    assert plan.short_bytes == plan.request_bytes - plan.kv_bytes == -plan.margin_bytes
    assert [way.kind for way in plan.ways_out] == ["context", "kv-dtype", "quantization"]
    assert plan.ways_out[0].change["max_model_len"] % 64 == 0


def test_weights_that_do_not_fit_name_devices() -> None:
    plan = fit("Qwen/Qwen3-14B", available_gpus=1, max_model_len=8192)
    assert not plan.fits
    assert "weights and activations alone exceed" in plan.reason
    assert plan.short_bytes > 8 * GIB
    assert plan.kv_bytes < 0
    assert plan.max_context == 0
    assert plan.concurrency == 0
    assert [way.kind for way in plan.ways_out] == ["quantization", "gpus"]
    assert "2 devices (tensor parallel 2); 1 is there" in plan.ways_out[1].text


@pytest.mark.parametrize(
    ("name", "quantization", "tp", "length"),
    [
        ("/llm/models/DeepSeek-R1-Distill-Qwen-7B", "none", 1, 118_000),
        ("Qwen/Qwen3-32B", "none", 1, 8192),
        ("Qwen/Qwen3-32B", "fp8", 1, 40_960),
        ("meta-llama/Llama-3.1-70B", "fp8", 2, 131_072),
        ("google/gemma-3-27b-it", "fp8", 1, 131_072),
        ("Qwen/Qwen3.6-35B-A3B", "sym_int4", 1, 262_144),
        ("openai/gpt-oss-120b", "mxfp4", 2, 131_072),
        ("deepseek-ai/DeepSeek-R1", "stored", 8, 32_768),
    ],
)
def test_every_way_out_fits(name: str, quantization: str, tp: int, length: int) -> None:
    plan = fit(name, quantization, tp, max_model_len=length, available_gpus=8)
    assert not plan.fits
    assert 1 <= len(plan.ways_out) <= 3
    for way in plan.ways_out:
        assert apply(name, plan, way).fits, way


def test_memory_that_another_process_holds() -> None:
    plan = fit(
        "Qwen/Qwen3-8B", "fp8", device=DeviceMemory(total_bytes=24 * GIB, free_bytes=18 * GIB), max_model_len=8192
    )
    assert not plan.fits
    assert "18.00 GiB are free and the engine asks for 90%" in plan.reason
    (way, *_) = plan.ways_out
    assert (way.kind, way.change) == ("utilization", {"utilization": 0.75})


def test_nothing_at_all_is_offered_where_nothing_helps() -> None:
    tiny = DeviceMemory(total_bytes=256 << 20)
    plan = fit("deepseek-ai/DeepSeek-R1", "stored", device=tiny, max_model_len=2048)
    assert not plan.fits
    assert plan.ways_out == ()


def test_an_encoder_needs_no_cache() -> None:
    plan = fit("BAAI/bge-m3", max_model_len=8192)
    assert plan.fits
    assert plan.kv_tokens == 0
    assert plan.request_bytes == 0
    assert plan.max_context == 8194


def test_images_and_loras_take_memory() -> None:
    plain = fit("Qwen/Qwen2.5-VL-7B-Instruct", "fp8", images=0, max_model_len=8192)
    one = fit("Qwen/Qwen2.5-VL-7B-Instruct", "fp8", images=1, max_model_len=8192)
    assert plain.kv_bytes - one.kv_bytes > 200 << 20
    lora = fit("Qwen/Qwen2.5-VL-7B-Instruct", "fp8", images=0, loras=4, lora_rank=128, max_model_len=8192)
    assert plain.kv_bytes - lora.kv_bytes > 500 << 20


def test_collectives_and_graphs_take_memory() -> None:
    assert "collective buffers" not in {row.name for row in fit("Qwen/Qwen3-8B", max_model_len=4096).rows}
    assert "collective buffers" in {row.name for row in fit("Qwen/Qwen3-8B", tp=2, max_model_len=4096).rows}
    eager = fit("Qwen/Qwen3-8B", "fp8", version="0.21.0-b1", max_model_len=4096)
    graphs = fit("Qwen/Qwen3-8B", "fp8", version="0.21.0-b1", max_model_len=4096, graphs=True)
    assert eager.kv_bytes > graphs.kv_bytes
    # before vLLM 0.21 they came on top of the budget
    assert (
        fit("Qwen/Qwen3-8B", "fp8", max_model_len=4096, graphs=True).kv_bytes
        == fit("Qwen/Qwen3-8B", "fp8", max_model_len=4096).kv_bytes
    )


def test_defaults_follow_engine_version_and_device() -> None:
    assert find_default("utilization", set_up("0.21.0-b1"), 0) == 0.92
    assert find_default("max_num_batched_tokens", MemorySettings(engine="vllm", version="0.20.0"), 80 * GIB) == 8192
    assert find_default("max_num_batched_tokens", MemorySettings(engine="vllm", version="0.20.0"), 24 * GIB) == 2048
    assert find_default("nothing", set_up(), 0) == 0.0


@pytest.mark.parametrize("engine", ["vllm", "llm-scaler-vllm", "sglang", "lmdeploy"])
def test_each_engine_s_budget(engine: str) -> None:
    plan = fit_memory(
        get_model("Qwen/Qwen3-8B"),
        quantization="none",
        device=DeviceMemory(total_bytes=80 * GIB, free_bytes=78 * GIB),
        settings=MemorySettings(engine=engine, max_model_len=32768),
    )
    assert plan.fits
    assert plan.budget_bytes <= 78 * GIB
    used = plan.weights_bytes + plan.activation_bytes + plan.other_bytes + plan.kv_bytes
    assert used == plan.budget_bytes
    if engine == "lmdeploy":  # 0.8 of what is free after loading
        rest = 78 * GIB - plan.weights_bytes - plan.activation_bytes - plan.other_bytes
        assert plan.kv_bytes == int(rest * 0.8)


def test_an_encoder_that_does_not_fit_is_refused_by_every_engine() -> None:
    for engine in ("vllm", "llm-scaler-vllm", "sglang", "lmdeploy"):
        plan = fit_memory(
            get_model("BAAI/bge-m3"),
            quantization="none",
            device=DeviceMemory(total_bytes=24 * GIB, free_bytes=1700 << 20),
            settings=MemorySettings(engine=engine, max_model_len=8192, max_num_batched_tokens=16384),
        )
        assert not plan.fits, engine


def test_a_correction_moves_the_cache() -> None:
    plain = fit("Qwen/Qwen3-8B", "fp8", max_model_len=4096)
    correction = Correction(
        host="h", model="Qwen/Qwen3-8B", quantization="fp8", engine="llm-scaler-vllm", version="0.14.0-b8", tp=1, pp=1,
        weights_delta_bytes=300 << 20, other_delta_bytes=-(100 << 20), created="2026-11-21T00:00:00Z", source="a.log",
    )  # fmt: skip
    moved = fit("Qwen/Qwen3-8B", "fp8", max_model_len=4096, correction=correction)
    assert plain.kv_bytes - moved.kv_bytes == 200 << 20
    assert sum(row.bytes for row in moved.rows) == moved.budget_bytes
    row = next(row for row in moved.rows if row.name == "calibration")
    assert row.origin == "measured"
    assert "a.log" in row.why


def test_what_the_model_s_guide_sets_is_planned_with() -> None:
    plan = fit("deepseek-ai/DeepSeek-V2-Lite", "fp8", max_model_len=4096)
    assert plan.settings.mla is False
    assert plan.kv_bytes_per_token == 27 * 2 * 16 * 192 * 2
    other = apply_needs(get_model("deepseek-ai/DeepSeek-V2-Lite"), MemorySettings(engine="sglang"))
    assert other.mla is True
    diffusion = apply_needs(get_model("google/diffusiongemma-26B-A4B-it"), set_up())
    assert (diffusion.int4_group, diffusion.state_dtype) == (32, "float16")


def test_guesses_are_listed() -> None:
    plan = fit("someone/Foo-7B", max_model_len=4096)
    assert {guess.what for guess in plan.guesses} >= {"shape", "context length", "runtime"}


@settings(max_examples=80, deadline=None)
@given(
    name=st.sampled_from(
        [
            "Qwen/Qwen3-8B",
            "Qwen/Qwen3-30B-A3B",
            "google/gemma-3-27b-it",
            "deepseek-ai/DeepSeek-V2-Lite",
            "Qwen/Qwen3.6-27B",
            "openai/whisper-large-v3",
            "BAAI/bge-m3",
            "OpenGVLab/InternVL3-8B",
        ]
    ),
    quantization=st.sampled_from(["none", "fp8", "sym_int4"]),
    tp=st.sampled_from([1, 2, 4]),
    total=st.integers(4, 160),
    held=st.integers(0, 8),
    length=st.sampled_from([None, 448, 4096, 100_000]),
    engine=st.sampled_from(["vllm", "llm-scaler-vllm", "sglang", "lmdeploy"]),
    host=st.sampled_from([None, 32, 512]),
)
def test_a_plan_never_exceeds_the_device(
    name: str, quantization: str, tp: int, total: int, held: int, length: int | None, engine: str, host: int | None
) -> None:
    device = DeviceMemory(total_bytes=total * GIB, free_bytes=max(0, total - held) * GIB)
    plan = fit_memory(
        get_model(name),
        quantization=quantization,
        device=device,
        parallel=Parallel(tp=tp),
        settings=MemorySettings(engine=engine, max_model_len=length),
        host_memory_bytes=None if host is None else host * GIB,
    )
    assert plan.fits == (not plan.reason)
    if plan.fits:
        assert device.free_bytes is not None
        assert sum(row.bytes for row in plan.rows) <= device.free_bytes
        assert plan.load.device_bytes <= device.free_bytes
        assert plan.margin_bytes >= 0
        assert plan.memory_context >= plan.asked_context
    else:
        assert plan.reason
