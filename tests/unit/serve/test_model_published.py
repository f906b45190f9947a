"""Parameters and layers of published models, from shapes alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from xpukit.host.live import LiveHost
from xpukit.serve.kv_cache import lay_out_kv
from xpukit.serve.memory_types import MemorySettings, Parallel
from xpukit.serve.model import resolve_model
from xpukit.serve.model_types import Model
from xpukit.serve.weights import count_parameters

PUBLISHED: dict[str, Any] = json.loads(Path(__file__).with_name("published_models.json").read_text())["models"]
# Zamba's shared blocks: adapters and wider inputs are not counted, and the plan says so.
ROUGH = {"Zyphra/Zamba2-7B": 0.06}


def open_published(folder: Path, name: str) -> Model:
    (folder / "config.json").write_text(json.dumps(PUBLISHED[name][1]), encoding="utf-8")
    return resolve_model(str(folder), LiveHost())


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_those_published(name: str, tmp_path: Path) -> None:
    model = open_published(tmp_path, name)
    billions = PUBLISHED[name][0]
    assert count_parameters(model) / 1e9 == pytest.approx(billions, rel=ROUGH.get(name, 0.02))
    told = {guess.what for guess in model.guesses}
    assert name not in ROUGH or "shared blocks" in told
    assert model.architecture.known or "model type" in told


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("meta-llama/Llama-4-Scout-17B-16E-Instruct", {"sliding": 36, "full": 12}),
        ("google/gemma-3-27b-it", {"sliding": 52, "full": 10}),
        ("CohereForAI/c4ai-command-r7b-12-2024", {"sliding": 24, "full": 8}),
        ("deepseek-ai/DeepSeek-V2-Lite", {"mla": 27}),
        ("Qwen/Qwen3-Next-80B-A3B-Instruct", {"linear": 36, "full": 12}),
        ("moonshotai/Kimi-Linear-48B-A3B-Instruct", {"linear": 20, "mla": 7}),
        ("MiniMaxAI/MiniMax-Text-01", {"linear": 70, "full": 10}),
        ("tiiuae/Falcon-H1-34B-Instruct", {"full": 72, "mamba": 72}),
        ("ai21labs/AI21-Jamba-1.5-Mini", {"mamba": 28, "full": 4}),
        ("Zyphra/Zamba2-7B", {"mamba": 81, "full": 13}),
        ("nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16", {"mamba": 23, "none": 23, "full": 6}),
        ("mistralai/Mamba-Codestral-7B-v0.1", {"mamba": 64}),
        ("LiquidAI/LFM2-1.2B", {"mamba": 10, "full": 6}),
        ("openai/whisper-large-v3-turbo", {"full": 4}),
        ("LGAI-EXAONE/EXAONE-4.0-32B", {"sliding": 48, "full": 16}),
        ("allenai/Olmo-3-32B", {"sliding": 48, "full": 16}),
        ("rednote-hilab/dots.llm1.inst", {"full": 62}),
        ("meituan-longcat/LongCat-Flash-Chat", {"mla": 56}),
        ("nvidia/NVIDIA-Nemotron-Nano-9B-v2", {"mamba": 27, "none": 25, "full": 4}),
    ],
)
def test_layers_by_kind(name: str, layers: dict[str, int], tmp_path: Path) -> None:
    found: dict[str, int] = {}
    for group in open_published(tmp_path, name).architecture.groups:
        found[group.attention] = found.get(group.attention, 0) + group.count
    assert found == layers


@pytest.mark.parametrize(
    ("name", "bytes_per_token"),
    [
        ("tiiuae/Falcon-H1-34B-Instruct", 72 * 2 * 4 * 128 * 2),
        ("moonshotai/Kimi-Linear-48B-A3B-Instruct", 7 * (512 + 64) * 2),
        ("meta-llama/Llama-4-Scout-17B-16E-Instruct", 12 * 2 * 8 * 128 * 2),
        ("mistralai/Mamba-Codestral-7B-v0.1", 0),
    ],
)
def test_what_a_token_costs(name: str, bytes_per_token: int, tmp_path: Path) -> None:
    model = open_published(tmp_path, name)
    assert lay_out_kv(model.architecture, Parallel(), MemorySettings()).bytes_per_token == bytes_per_token


def test_keys_that_the_class_would_fill_in(tmp_path: Path) -> None:
    """Gemma 3 4B's own file names neither heads nor vocabulary: transformers left out what its class has anyway."""
    text = {
        "model_type": "gemma3_text",
        "hidden_size": 2560,
        "num_hidden_layers": 34,
        "intermediate_size": 10240,
        "sliding_window": 1024,
    }
    vision = PUBLISHED["google/gemma-3-4b-it"][1]["vision_config"]
    config = {"architectures": ["Gemma3ForConditionalGeneration"], "model_type": "gemma3", "text_config": text}
    (tmp_path / "config.json").write_text(json.dumps({**config, "vision_config": vision}), encoding="utf-8")
    model = resolve_model(str(tmp_path), LiveHost())
    assert count_parameters(model) / 1e9 == pytest.approx(4.30, rel=0.02)
    assert (model.architecture.heads, model.architecture.kv_heads, model.architecture.vocabulary) == (8, 4, 262_208)
    [guess] = [guess for guess in model.guesses if guess.what == "keys left out"]
    assert "num_attention_heads 8" in guess.value
    assert "transformers 4.57" in guess.why
    # A key that is there and null was left out by nobody.
    plain: dict[str, Any] = {"model_type": "mistral", "architectures": ["MistralForCausalLM"], "sliding_window": None}
    (tmp_path / "config.json").write_text(json.dumps(plain), encoding="utf-8")
    assert {group.attention for group in resolve_model(str(tmp_path), LiveHost()).architecture.groups} == {"full"}


def test_a_config_as_python_writes_it(tmp_path: Path) -> None:
    config = PUBLISHED["nvidia/Nemotron-H-56B-Base-8K"][1]
    text = json.dumps({**config, "time_step_limit": [0.0, float("inf")]})
    assert "Infinity" in text
    (tmp_path / "config.json").write_text(text, encoding="utf-8")
    assert resolve_model(str(tmp_path), LiveHost()).architecture.layers == 118


# As transformers 5 writes what it saves: other names than the authors' own files have.
NEWER: dict[str, tuple[dict[str, Any], list[tuple[int, str, str, int]]]] = {
    "nemotron_h": (
        {
            "model_type": "nemotron_h", "hidden_size": 4096, "vocab_size": 131072, "num_attention_heads": 32,
            "num_key_value_heads": 8, "head_dim": 128, "intermediate_size": 21504, "mamba_num_heads": 128,
            "mamba_head_dim": 64, "n_groups": 8, "ssm_state_size": 128, "n_routed_experts": 8, "num_experts_per_tok": 2,
            "moe_intermediate_size": 7688, "layers_block_type": ["linear_attention", "moe", "full_attention", "mlp"],
        },
        [(1, "mamba", "none", 0), (1, "none", "moe", 0), (1, "full", "none", 128), (1, "none", "dense", 0)],
    ),
    "kimi_linear": (
        {
            "model_type": "kimi_linear", "hidden_size": 2304, "vocab_size": 163840, "num_hidden_layers": 4,
            "num_attention_heads": 32, "num_key_value_heads": 32, "intermediate_size": 9216, "num_experts": 256,
            "num_experts_per_tok": 8, "moe_intermediate_size": 1024, "num_shared_experts": 1, "kv_lora_rank": 512,
            "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128, "linear_head_dim": 128,
            "linear_num_heads": 32, "linear_conv_kernel_dim": 4, "mlp_layer_types": ["dense", "sparse", "sparse", "sparse"],
            "layer_types": ["linear_attention", "linear_attention", "linear_attention", "full_attention"],
        },
        [(1, "linear", "dense", 0), (2, "linear", "moe", 0), (1, "mla", "moe", 72)],
    ),
    "gemma4_text": (
        {
            "model_type": "gemma4_text", "hidden_size": 2304, "vocab_size": 262144, "num_hidden_layers": 6,
            "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "intermediate_size": 9216,
            "sliding_window": 512, "layer_types": ["sliding_attention"] * 5 + ["full_attention"],
            "per_layer_config": {"5": {"head_dim": 512, "num_key_value_heads": 2}},
        },
        [(5, "sliding", "dense", 256), (1, "full", "dense", 512)],
    ),
    "minimax": (
        {
            "model_type": "minimax", "hidden_size": 4096, "vocab_size": 32000, "num_hidden_layers": 2,
            "num_attention_heads": 32, "num_key_value_heads": 8, "intermediate_size": 14336, "num_local_experts": 8,
            "num_experts_per_tok": 2, "layer_types": ["full_attention", "linear_attention"],
        },
        [(1, "full", "moe", 128), (1, "linear", "moe", 0)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NEWER)
def test_a_config_as_transformers_5_writes_it(name: str, tmp_path: Path) -> None:
    config, layers = NEWER[name]
    (tmp_path / "config.json").write_text(json.dumps({"transformers_version": "5.18.0", **config}), encoding="utf-8")
    shape = resolve_model(str(tmp_path), LiveHost()).architecture
    assert [(one.count, one.attention, one.mlp, one.head_dim) for one in shape.groups] == layers
    if name == "gemma4_text":
        assert [one.kv_heads for one in shape.groups] == [4, 2]
    else:
        assert shape.state is not None
        assert shape.state.weight_elements > 1_000_000
        assert shape.state.state_elements > 0


@pytest.mark.parametrize(("version", "tied"), [("4.57.1", True), ("5.18.0", False)])
def test_whose_word_counts_on_tied_embeddings(version: str, tied: bool, tmp_path: Path) -> None:
    inner = {"model_type": "qwen3_vl_text", "hidden_size": 2048, "num_hidden_layers": 2, "num_attention_heads": 16}
    inner |= {"num_key_value_heads": 8, "vocab_size": 151936, "tie_word_embeddings": True}
    config = {"model_type": "qwen3_vl", "transformers_version": version, "tie_word_embeddings": False}
    (tmp_path / "config.json").write_text(json.dumps(config | {"text_config": inner}), encoding="utf-8")
    assert resolve_model(str(tmp_path), LiveHost()).architecture.tied is tied


def test_falcon_s_one_pair_of_heads(tmp_path: Path) -> None:
    config = {"model_type": "falcon", "hidden_size": 4544, "num_hidden_layers": 32, "num_attention_heads": 71}
    config |= {"num_kv_heads": 71, "multi_query": True, "new_decoder_architecture": False, "vocab_size": 65024}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    assert resolve_model(str(tmp_path), LiveHost()).architecture.kv_heads == 1
    (tmp_path / "config.json").write_text(json.dumps(config | {"new_decoder_architecture": True}), encoding="utf-8")
    assert resolve_model(str(tmp_path), LiveHost()).architecture.kv_heads == 71


def test_parts_of_a_wrapper_that_we_do_not_know_are_told(tmp_path: Path) -> None:
    inner = {"model_type": "llama", "hidden_size": 4096, "num_hidden_layers": 2, "num_attention_heads": 32}
    config = {"model_type": "new_wrapper", "text_config": inner, "vision_config": {"hidden_size": 64}}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    told = [guess.what for guess in resolve_model(str(tmp_path), LiveHost()).guesses]
    assert "parts beside the language model" in told
