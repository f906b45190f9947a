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
