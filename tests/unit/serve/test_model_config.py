"""config.json as a shape: each family's own keys, and odd ones that must not raise."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.serve.model_files import LLAMA
from xpukit.serve.model_config import find_text_config, read_architecture
from xpukit.serve.model_quantization import read_quantization
from xpukit.serve.model_types import Architecture


def read(**changes: Any) -> Architecture:
    return read_architecture({**LLAMA, **changes})[0]


def list_kinds(architecture: Architecture) -> dict[str, int]:
    return {group.attention: group.count for group in architecture.groups}


def test_a_plain_decoder() -> None:
    shape = read()
    assert (shape.layers, shape.hidden, shape.heads, shape.kv_heads, shape.head_dim) == (4, 256, 8, 2, 32)
    assert list_kinds(shape) == {"full": 4}
    assert shape.known
    assert shape.causal
    assert not shape.tied
    assert not shape.is_moe
    assert not shape.is_hybrid


@pytest.mark.parametrize(
    ("keys", "kinds"),
    [
        ({"sliding_window": 128}, {"sliding": 4}),
        ({"sliding_window": 128, "use_sliding_window": False}, {"full": 4}),
        ({"sliding_window": None}, {"full": 4}),
        ({"sliding_window": 128, "sliding_window_pattern": 2}, {"sliding": 2, "full": 2}),
        ({"sliding_window": 128, "use_sliding_window": True, "max_window_layers": 3}, {"full": 3, "sliding": 1}),
        ({"model_type": "gemma3_text", "sliding_window": 128, "num_hidden_layers": 13}, {"sliding": 11, "full": 2}),
        (
            {"layer_types": ["full_attention", "sliding_attention"] * 2, "sliding_window": 64},
            {"full": 2, "sliding": 2},
        ),
        ({"layer_types": ["linear_attention"] * 3 + ["full_attention"]}, {"linear": 3, "full": 1}),
        ({"layers_block_type": ["mamba", "mamba", "attention", "mamba"]}, {"mamba": 3, "full": 1}),
        ({"model_type": "jamba", "attn_layer_period": 4, "attn_layer_offset": 2}, {"mamba": 3, "full": 1}),
        ({"model_type": "nemotron_h", "hybrid_override_pattern": "M-*-"}, {"mamba": 1, "none": 2, "full": 1}),
    ],
)
def test_which_layers_attend_how(keys: dict[str, Any], kinds: dict[str, int]) -> None:
    assert list_kinds(read(**keys)) == kinds


@pytest.mark.parametrize(
    ("keys", "moe_layers"),
    [
        ({"num_experts": 8, "num_experts_per_tok": 2}, 4),
        ({"n_routed_experts": 8, "num_experts_per_tok": 2, "first_k_dense_replace": 1}, 3),
        ({"num_experts": 8, "num_experts_per_tok": 2, "decoder_sparse_step": 2}, 2),
        ({"num_experts": 8, "num_experts_per_tok": 2, "mlp_only_layers": [0, 3]}, 2),
        ({"num_local_experts": 1}, 0),
        ({"num_experts": 8, "enable_moe_block": False}, 0),
    ],
)
def test_which_layers_have_experts(keys: dict[str, Any], moe_layers: int) -> None:
    shape = read(**keys)
    assert sum(group.count for group in shape.groups if group.mlp in ("moe", "both")) == moe_layers


def test_shared_experts_by_number_and_by_width() -> None:
    by_number = read(n_routed_experts=8, moe_intermediate_size=64, n_shared_experts=2).experts
    by_width = read(num_experts=8, moe_intermediate_size=64, shared_expert_intermediate_size=96).experts
    assert by_number is not None
    assert by_width is not None
    assert (by_number.shared_intermediate, by_width.shared_intermediate) == (128, 96)


def test_experts_of_two_kinds_count_both() -> None:
    experts = read(moe_num_experts=[64, 64], moe_intermediate_size=[1536, 512], moe_k=6).experts
    assert experts is not None
    assert (experts.count, experts.intermediate, experts.per_token) == (64, 2048, 6)


def test_old_names() -> None:
    shape, _ = read_architecture(
        {
            "model_type": "chatglm", "hidden_size": 4096, "num_layers": 40, "num_attention_heads": 32,
            "multi_query_attention": True, "multi_query_group_num": 2, "kv_channels": 128, "ffn_hidden_size": 13696,
            "padded_vocab_size": 151552, "seq_length": 131072,
        }
    )  # fmt: skip
    assert (shape.layers, shape.kv_heads, shape.head_dim, shape.intermediate) == (40, 2, 128, 13696)
    assert (shape.vocabulary, shape.max_positions) == (151552, 131072)


def test_the_language_model_of_a_nested_config() -> None:
    text = {"model_type": "qwen2", "hidden_size": 64}
    assert find_text_config({"text_config": text, "hidden_size": 1}) is text
    assert find_text_config({"thinker_config": {"text_config": text}}) is text
    assert find_text_config({"llm_config": text}) is text
    assert find_text_config({"text_config": "odd", "hidden_size": 1}) == {"text_config": "odd", "hidden_size": 1}


def test_yarn_lengthens_the_context_only_where_it_is_not_yet_in_the_positions() -> None:
    scaling = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 2048}
    assert read(rope_scaling=scaling).max_positions == 8192
    assert read(rope_scaling=scaling, max_position_embeddings=8192).max_positions == 8192


def test_an_unknown_type_is_said_and_sized_as_a_plain_decoder() -> None:
    shape, guesses = read_architecture({**LLAMA, "model_type": "brand_new"})
    assert not shape.known
    assert [guess.what for guess in guesses] == ["model type"]
    assert "brand_new" in guesses[0].why


def test_what_is_missing_is_guessed_and_said() -> None:
    shape, guesses = read_architecture({"model_type": "llama", "hidden_size": 512, "num_hidden_layers": 2})
    assert (shape.heads, shape.intermediate, shape.max_positions) == (4, 2048, 4096)
    assert {guess.what for guess in guesses} == {
        "attention heads",
        "intermediate size",
        "context length",
        "vocabulary",
    }


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({"quant_method": "awq", "bits": 4, "group_size": 128}, ("awq", 4.0, 128, None)),
        ({"quant_method": "gptq", "bits": 8, "group_size": -1}, ("gptq", 8.0, 0, None)),
        ({"quant_method": "fp8", "weight_block_size": [128, 64]}, ("fp8", 8.0, 0, (128, 64))),
        ({"quant_method": "fp8", "weight_block_size": ["x"]}, ("fp8", 8.0, 0, None)),
        ({"quant_method": "mxfp4"}, ("mxfp4", 4.0, 0, None)),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, ("bitsandbytes", 4.0, 0, None)),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4", "group_size": 16}, ("nvfp4", 4.0, 16, None)),
        (
            {"quant_method": "compressed-tensors", "config_groups": {"g": {"weights": {"num_bits": 4, "group_size": 32}}}},
            ("compressed-tensors", 4.0, 32, None),
        ),
        (
            {"quant_method": "quark", "global_quant_config": {"weight": {"dtype": "fp4", "group_size": 32}}},
            ("quark", 4.0, 32, None),
        ),
        ({"quant_method": "quark", "global_quant_config": {"weight": {"dtype": "fp8_e4m3"}}}, ("quark", 8.0, 0, None)),
        ({"quant_method": "torchao", "quant_type": "int4_weight_only"}, ("torchao", 4.0, 0, None)),
        (
            {
                "quant_method": "torchao",
                "quant_type": {"default": {"_type": "Int4WeightOnlyConfig", "_data": {"group_size": 64}}},
            },
            ("torchao", 4.0, 64, None),
        ),
        (
            {"quant_method": "torchao", "quant_type": {"default": {"_type": "Int8DynamicActivationInt4WeightConfig"}}},
            ("torchao", 4.0, 0, None),
        ),
        (
            {"quant_method": "hqq", "quant_config": {"weight_quant_params": {"nbits": 3, "group_size": 64}}},
            ("hqq", 3.0, 64, None),
        ),
        ({"quant_method": "exl2", "bits": 4.65}, ("exl2", 4.65, 0, None)),
        ({"quant_method": "bitnet"}, ("bitnet", 2.0, 0, None)),
        ({"quant_method": "gptq", "bits": float("inf")}, ("gptq", 4.0, 0, None)),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {
                    "a": {"weights": {"num_bits": 4, "group_size": 32}}, "b": {"weights": {"num_bits": 8}},
                },
            },
            ("compressed-tensors", 8.0, 0, None),
        ),
        (
            {"quant_method": "modelopt", "quant_algo": "NVFP4", "config_groups": {"g": {"weights": {"num_bits": 4, "group_size": 16}}}},
            ("nvfp4", 4.0, 16, None),
        ),
        ({}, ("unknown", 8.0, 0, None)),
    ],
)  # fmt: skip
def test_stored_quantization(found: dict[str, Any], expected: tuple[str, float, int, tuple[int, int] | None]) -> None:
    stored = read_quantization({"quantization_config": found})
    if not found:
        assert stored is None or stored.method == "unknown"
        return
    assert stored is not None
    assert (stored.method, stored.bits, stored.group, stored.block) == expected


def test_modules_of_a_few_layers_do_not_stand_for_all() -> None:
    def read_skipped(*names: str) -> tuple[str, ...]:
        config = {"num_hidden_layers": 4, "quantization_config": {"quant_method": "fp8", "ignored_layers": list(names)}}
        stored = read_quantization(config)
        assert stored is not None
        return stored.skipped

    assert read_skipped("lm_head", "model.layers.0.self_attn.q_proj", "model.layers.3*") == ("lm_head",)
    every = tuple(f"model.layers.{number}.self_attn.q_proj" for number in range(4))
    assert read_skipped("lm_head", *every) == ("lm_head", *every)
    assert read_skipped("model.layers.*.self_attn", "re:.*mlp.*") == ("model.layers.*.self_attn", "re:.*mlp.*")


def test_no_stored_quantization() -> None:
    assert read_quantization({}) is None
    assert read_quantization({"quantization_config": None}) is None
    assert read_quantization({"quantization_config": "fp8"}) is None
    cache_only = {"quant_method": "compressed-tensors", "config_groups": {}, "kv_cache_scheme": {"num_bits": 8}}
    assert read_quantization({"quantization_config": cache_only}) is None


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from(
    [
        *LLAMA, "layer_types", "num_experts", "moe_intermediate_size", "kv_lora_rank", "sliding_window", "text_config",
        "vision_config", "quantization_config", "linear_num_value_heads", "rope_scaling", "head_dim", "encoder_layers",
        "decoder_layers", "hybrid_override_pattern", "decoder_sparse_step", "mlp_only_layers", "full_attention_interval",
    ]
)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(KEYS, JUNK, max_size=8))
def test_no_config_raises(changes: dict[str, Any]) -> None:
    for config in (changes, {**LLAMA, **changes}):
        shape, _ = read_architecture(config)
        read_quantization(config)
        assert shape.layers >= 0
