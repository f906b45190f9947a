"""Model directories as small as they can be, and known models without a host."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import Any

from xpukit.host.live import LiveHost
from xpukit.serve.memory_types import DeviceMemory, MemorySettings
from xpukit.serve.model import resolve_model
from xpukit.serve.model_types import Model

B60 = DeviceMemory(total_bytes=24 << 30, name="B60")
GIB = 1 << 30

LLAMA: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 256,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "intermediate_size": 512,
    "vocab_size": 1024,
    "max_position_embeddings": 2048,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
}


def get_model(name: str) -> Model:
    """A model of the registry, or one guessed from its name."""
    return resolve_model(name, LiveHost())


def set_up(version: str = "0.14.0-b8", **changes: Any) -> MemorySettings:
    """llm-scaler's usual launch: eager, 8192 tokens a step."""
    given: dict[str, Any] = {"graphs": False, "max_num_batched_tokens": 8192, **changes}
    return MemorySettings(engine="llm-scaler-vllm", version=version, **given)


def list_llama_tensors(config: dict[str, Any] = LLAMA) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a Llama checkpoint."""
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    head = hidden // config["num_attention_heads"]
    pair = head * config["num_key_value_heads"]
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (config["vocab_size"], hidden),
        "lm_head.weight": (config["vocab_size"], hidden),
        "model.norm.weight": (hidden,),
    }
    for index in range(config["num_hidden_layers"]):
        layer = f"model.layers.{index}"
        shapes |= {
            f"{layer}.self_attn.q_proj.weight": (hidden, hidden),
            f"{layer}.self_attn.k_proj.weight": (pair, hidden),
            f"{layer}.self_attn.v_proj.weight": (pair, hidden),
            f"{layer}.self_attn.o_proj.weight": (hidden, hidden),
            f"{layer}.mlp.gate_proj.weight": (inner, hidden),
            f"{layer}.mlp.up_proj.weight": (inner, hidden),
            f"{layer}.mlp.down_proj.weight": (hidden, inner),
            f"{layer}.input_layernorm.weight": (hidden,),
            f"{layer}.post_attention_layernorm.weight": (hidden,),
        }
    return shapes


def write_safetensors(path: Path, shapes: dict[str, tuple[int, ...]], dtype: str = "BF16", size: int = 2) -> int:
    """A file with a true header and a hole for the weights; returns the bytes that they would take."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    place = 0
    for name, shape in shapes.items():
        count = size
        for length in shape:
            count *= length
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [place, place + count]}
        place += count
    data = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(data)) + data)
    os.truncate(path, 8 + len(data) + place)
    return place


def write_directory(path: Path, config: dict[str, Any] = LLAMA, *, shards: int = 2) -> int:
    """config.json, an index and its shards; returns the bytes of all weights."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "config.json").write_text(json.dumps(config))
    names = list(list_llama_tensors(config).items())
    total = 0
    weight_map: dict[str, str] = {}
    for shard in range(shards):
        name = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        part = dict(names[shard::shards])
        total += write_safetensors(path / name, part)
        weight_map |= dict.fromkeys(part, name)
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (path / "model.safetensors.index.json").write_text(json.dumps(index))
    return total
