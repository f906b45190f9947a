"""Bytes of weights on a rank: quantizations, tensor, pipeline and expert parallel, what is replicated, what is on disk."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.serve.model_files import LLAMA, get_model, write_directory, write_safetensors
from xpukit.host.live import LiveHost
from xpukit.serve.memory_types import MemorySettings, Parallel, size_dtype
from xpukit.serve.model import resolve_model
from xpukit.serve.model_types import StoredQuantization
from xpukit.serve.weights import count_parameters, list_parts, size_rank, size_weight, valid_tp

SETTINGS = MemorySettings(engine="llm-scaler-vllm", version="0.21.0-b1")
OLD = MemorySettings(engine="llm-scaler-vllm", version="0.14.0-b8")


def size(name: str, quantization: str = "none", **parallel: int) -> int:
    return size_rank(get_model(name), quantization=quantization, parallel=Parallel(**parallel), settings=SETTINGS)[0]  # type: ignore[arg-type]


def test_16_bit_weights_are_two_bytes_a_parameter() -> None:
    assert size("Qwen/Qwen3-8B") == 2 * count_parameters(get_model("Qwen/Qwen3-8B"))


def test_float32_checkpoints_run_in_16_bit() -> None:
    assert size("BAAI/bge-m3") == 2 * count_parameters(get_model("BAAI/bge-m3"))


def test_quantization_leaves_embeddings_and_head_wide() -> None:
    model = get_model("Qwen/Qwen3-8B")
    wide = 2 * 151936 * 4096 * 2
    linear = sum(part.elements for part in list_parts(model.architecture) if part.quantizable)
    rest = 2 * count_parameters(model) - 2 * linear
    assert rest >= wide
    assert size("Qwen/Qwen3-8B", "fp8") == pytest.approx(linear + rest, abs=2)
    assert size("Qwen/Qwen3-8B", "sym_int4") == pytest.approx(linear * (0.5 + 2 / 128) + rest, abs=2)


def test_int4_scales_follow_the_image_s_version_and_the_variable() -> None:
    assert size_weight("sym_int4", None, SETTINGS)[0] == 0.5 + 2 / 128
    assert size_weight("sym_int4", None, OLD)[0] == 0.5 + 2 / 64
    given_group = msgspec.structs.replace(SETTINGS, int4_group=32)
    assert size_weight("sym_int4", None, given_group) == (0.5 + 2 / 32, "VLLM_INT4_GROUP_SIZE as given")


@pytest.mark.parametrize(
    ("stored", "bytes_each"),
    [
        (StoredQuantization(method="awq", bits=4, group=128), 0.5 + 2.5 / 128),
        (StoredQuantization(method="gptq", bits=8, group=32), 1 + 2.5 / 32),
        (StoredQuantization(method="gptq", bits=4), 0.5 + 2.5 / 128),
        (StoredQuantization(method="fp8", bits=8, block=(128, 128)), 1 + 4 / 16384),
        (StoredQuantization(method="fp8", bits=8), 1.0),
        (StoredQuantization(method="mxfp4", bits=4), 0.5 + 1 / 32),
        (StoredQuantization(method="brand-new", bits=6, group=64), 0.75 + 2 / 64),
    ],
)
def test_stored_weights(stored: StoredQuantization, bytes_each: float) -> None:
    assert size_weight("stored", stored, SETTINGS)[0] == pytest.approx(bytes_each)


def test_modules_that_the_config_skips_stay_wide() -> None:
    # gpt-oss: only the experts are in mxfp4, as its published size says (about 61 GiB on disk).
    assert size("openai/gpt-oss-120b", "mxfp4") / 2**30 == pytest.approx(60.8, abs=0.7)
    assert size("openai/gpt-oss-20b", "mxfp4") / 2**30 == pytest.approx(12.8, abs=0.3)


def test_block_fp8_of_deepseek_r1() -> None:
    # 671 GB of fp8 and 2 x 1.85 GB of 16-bit embeddings.
    assert size("deepseek-ai/DeepSeek-R1", "stored") / 1e9 == pytest.approx(673, rel=0.01)


def test_tensor_parallel_splits_all_but_norms_and_shared_key_value_heads() -> None:
    one, two, eight = (size("Qwen/Qwen3-8B", tp=tp) for tp in (1, 2, 8))
    assert one / 2 < two < one / 2 + 2**20
    assert one / 8 < eight < one / 8 + 2**21
    # GLM-4-9B has two key-value heads: from tensor parallel 4 on, each rank keeps a whole one.
    model = get_model("zai-org/GLM-4-9B-0414")
    pair = next(part.elements for part in list_parts(model.architecture) if part.name == "key-value projections") * 2
    split = (size("zai-org/GLM-4-9B-0414", tp=2) - pair / 2) / 2 + pair / 2
    assert size("zai-org/GLM-4-9B-0414", tp=4) == pytest.approx(split, rel=0.001)


def test_latent_projections_are_replicated() -> None:
    model = get_model("deepseek-ai/DeepSeek-V2-Lite")
    latent = next(part.elements for part in list_parts(model.architecture) if part.name == "latent projections")
    halves = size("deepseek-ai/DeepSeek-V2-Lite") / 2
    assert size("deepseek-ai/DeepSeek-V2-Lite", tp=2) > halves + latent * 0.9


def test_expert_parallel_spreads_experts_over_data_parallel_ranks() -> None:
    name = "Qwen/Qwen3-30B-A3B"
    model = get_model(name)
    experts = next(part.elements for part in list_parts(model.architecture) if part.name == "experts") * 2
    alone = size(name)
    spread = size_rank(model, quantization="none", parallel=Parallel(dp=4, expert_parallel=True), settings=SETTINGS)[0]
    assert spread == pytest.approx(alone - experts * 3 / 4, abs=2)
    assert size(name, dp=4) == alone


def test_pipeline_parallel_keeps_one_end() -> None:
    name = "meta-llama/Llama-3.1-70B"
    ends = 128256 * 8192 * 2
    assert size(name, pp=2) == pytest.approx((size(name) - 2 * ends) / 2 + ends, rel=0.001)


def test_a_tower_whose_heads_do_not_divide_is_replicated() -> None:
    # InternViT-6B has 25 heads.
    model = get_model("internlm/Intern-S1")
    _, rows = size_rank(model, quantization="none", parallel=Parallel(tp=8), settings=SETTINGS)
    tower = next(row.bytes for row in rows if row.name == "vision tower")
    assert tower == model.architecture.towers[0].parameters * 2


def test_mtp_layers_only_when_asked() -> None:
    with_mtp = size_rank(
        get_model("Qwen/Qwen3.6-27B"), quantization="none", parallel=Parallel(), settings=MemorySettings(mtp=True)
    )[0]
    assert with_mtp > size("Qwen/Qwen3.6-27B") + 3e8


def test_bytes_on_disk_are_taken_as_they_are(tmp_path: Path) -> None:
    total = write_directory(tmp_path)
    model = resolve_model(str(tmp_path), LiveHost())
    weights, rows = size_rank(model, quantization="none", parallel=Parallel(), settings=SETTINGS)
    assert weights == total
    assert {row.origin for row in rows} == {"fact"}
    half = size_rank(model, quantization="fp8", parallel=Parallel(), settings=SETTINGS)[0]
    assert total / 2 < half < total


def test_what_is_on_disk_counts_whatever_it_is_called(tmp_path: Path) -> None:
    # Query, key and value in one tensor, an odd one, and a head that tied embeddings make useless.
    (tmp_path / "config.json").write_text(json.dumps({**LLAMA, "tie_word_embeddings": True}))
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (1024, 256),
        "lm_head.weight": (1024, 256),
        "model.layers.0.self_attn.qkv_proj.weight": (384, 256),
        "model.layers.0.brand_new.weight": (100, 100),
    }
    write_safetensors(tmp_path / "model.safetensors", shapes)
    model = resolve_model(str(tmp_path), LiveHost())
    one, rows = size_rank(model, quantization="none", parallel=Parallel(), settings=SETTINGS)
    assert one == 2 * (1024 * 256 + 384 * 256 + 100 * 100)
    assert {row.name for row in rows} == {"embedding", "attention", "other"}
    two = size_rank(model, quantization="none", parallel=Parallel(tp=2), settings=SETTINGS)[0]
    assert two == 1024 * 256 + 384 * 256 + 2 * 100 * 100


def test_an_index_without_its_shards_scales_the_formula(tmp_path: Path) -> None:
    write_directory(tmp_path)
    index = tmp_path / "model.safetensors.index.json"
    document = json.loads(index.read_text(encoding="utf-8"))
    document["metadata"]["total_size"] = 4_000_000
    index.write_text(json.dumps(document))
    for shard in tmp_path.glob("*.safetensors"):
        shard.unlink()
    model = resolve_model(str(tmp_path), LiveHost())
    weights, rows = size_rank(model, quantization="none", parallel=Parallel(), settings=SETTINGS)
    assert weights == pytest.approx(4_000_000, rel=0.001)
    assert "safetensors index" in rows[0].why


def test_valid_tensor_parallel_sizes() -> None:
    assert valid_tp(get_model("Qwen/Qwen3-8B").architecture, 16) == (1, 2, 4, 8, 16)
    assert valid_tp(get_model("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B").architecture, 8) == (1, 2, 4)
    assert 3 not in valid_tp(get_model("deepseek-ai/DeepSeek-R1").architecture, 16)


def test_dtypes() -> None:
    assert [size_dtype(name) for name in ("float16", "bfloat16", "fp8", "fp8_e5m2", "float32", "auto")] == [
        2.0, 2.0, 1.0, 1.0, 4.0, 2.0,
    ]  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(["Qwen/Qwen3-8B", "Qwen/Qwen3-30B-A3B", "deepseek-ai/DeepSeek-R1", "google/gemma-3-27b-it"]),
    tp=st.sampled_from([1, 2, 4, 8, 16]),
    pp=st.integers(1, 4),
)
def test_ranks_together_hold_at_least_the_model(name: str, tp: int, pp: int) -> None:
    model = get_model(name)
    quantization = "stored" if model.is_pre_quantized else "none"
    whole = size_rank(model, quantization=quantization, parallel=Parallel(), settings=SETTINGS)[0]
    rank = size_rank(model, quantization=quantization, parallel=Parallel(tp=tp, pp=pp), settings=SETTINGS)[0]
    assert rank <= whole
    assert rank * tp * pp >= whole * 0.999


def test_a_smaller_quantization_is_smaller() -> None:
    sizes = [size("Qwen/Qwen3-32B", name) for name in ("none", "fp8", "sym_int4")]
    assert sizes == sorted(sizes, reverse=True)


# Kimi-K2-Thinking: routed experts in 4 bits, all else in 16; its page says 594 GB (shape and size from memory).
EXPERTS_ONLY = {
    "model_type": "kimi_k2", "hidden_size": 7168, "num_hidden_layers": 61, "num_attention_heads": 64,
    "num_key_value_heads": 64, "intermediate_size": 18432, "vocab_size": 163840, "moe_intermediate_size": 2048,
    "n_routed_experts": 384, "n_shared_experts": 1, "num_experts_per_tok": 8, "first_k_dense_replace": 1,
    "kv_lora_rank": 512, "q_lora_rank": 1536, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128,
    "max_position_embeddings": 262144, "tie_word_embeddings": False, "torch_dtype": "bfloat16",
    "quantization_config": {
        "quant_method": "compressed-tensors",
        "config_groups": {"group_0": {"weights": {"num_bits": 4, "type": "int", "group_size": 32}}},
        "ignore": [
            "lm_head", "re:.*self_attn.*", "re:.*shared_experts.*", "re:.*mlp\\.(gate|up|gate_up|down)_proj.*",
        ],
    },
}  # fmt: skip


def test_shared_experts_in_16_bit_do_not_make_the_others_so(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(EXPERTS_ONLY))
    model = resolve_model(str(tmp_path), LiveHost())
    held, rows = size_rank(model, quantization="stored", parallel=Parallel(), settings=SETTINGS)
    assert held / 1e9 == pytest.approx(594, rel=0.01)
    parts = {part.name: part.elements for part in list_parts(model.architecture)}
    sizes = {row.name: row.bytes for row in rows}
    assert sizes["experts"] == pytest.approx(parts["experts"] * 4.5 / 8)
    for name in ("shared experts", "attention", "mlp"):
        assert sizes[name] == 2 * parts[name]
