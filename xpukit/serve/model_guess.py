"""What a model's name says about it, for models that no source describes. All of it is a guess and is labelled so."""

from __future__ import annotations

import re
from typing import Any

from xpukit.serve.model_types import Guess, StoredQuantization

_SIZE = re.compile(r"(?<![A-Za-z0-9.])(?:(\d+)x)?(\d+(?:\.\d+)?)([BbMmTt])(?![A-Za-z0-9])")
_ACTIVE = re.compile(r"[-_]A(\d+(?:\.\d+)?)[Bb](?![A-Za-z0-9])")
_UNITS = {"m": 1e-3, "b": 1.0, "t": 1e3}
_HEAD_DIM = 128
_VOCABULARY = 151_936
_CONTEXT = 32_768
_SUFFIXES: tuple[tuple[re.Pattern[str], StoredQuantization], ...] = (
    (re.compile(r"[-_.]awq(?:[-_]int4)?$", re.I), StoredQuantization(method="awq", bits=4, group=128)),
    (re.compile(r"[-_.]gptq[-_]int8$", re.I), StoredQuantization(method="gptq", bits=8, group=128)),
    (re.compile(r"[-_.]gptq(?:[-_]int4)?$", re.I), StoredQuantization(method="gptq", bits=4, group=128)),
    (re.compile(r"[-_.]auto-?round(?:[-_]int4)?$", re.I), StoredQuantization(method="auto-round", bits=4, group=128)),
    (re.compile(r"[-_.]fp8(?:[-_]dynamic)?$", re.I), StoredQuantization(method="fp8", bits=8)),
    (re.compile(r"[-_.]nvfp4$", re.I), StoredQuantization(method="nvfp4", bits=4, group=16)),
    (re.compile(r"[-_.]mxfp4$", re.I), StoredQuantization(method="mxfp4", bits=4, group=32)),
    (re.compile(r"[-_.](?:w4a16|int4)$", re.I), StoredQuantization(method="compressed-tensors", bits=4, group=128)),
    (re.compile(r"[-_.](?:bnb-4bit|4bit)$", re.I), StoredQuantization(method="bitsandbytes", bits=4, group=64)),
)  # fmt: skip


def strip_quantization(name: str) -> tuple[str, StoredQuantization | None, str]:
    """The name without an ending that says how the weights are stored, that way, and why."""
    for pattern, quantization in _SUFFIXES:
        found = pattern.search(name)
        if found:
            return name[: found.start()], quantization, f"the name ends in {found[0]!r}"
    return name, None, ""


def read_billions(name: str) -> tuple[float, float]:
    """Parameters in all and for a token (0: all), in units of 1e9, as the last part of the name says them."""
    last = name.rstrip("/").rpartition("/")[2]
    active = _ACTIVE.search(last)
    sizes = [
        float(match[2]) * float(match[1] or 1) * _UNITS[match[3].lower()]
        for match in _SIZE.finditer(last)
        if active is None or match.start() < active.start()
    ]
    return (max(sizes) if sizes else 0.0), (float(active[1]) if active else 0.0)


def guess_config(name: str, billions: float | None = None) -> tuple[dict[str, Any] | None, tuple[Guess, ...]]:
    """A config of that many parameters, and what was guessed; None where the name says no size."""
    named, active = read_billions(name)
    total = billions or named
    if not total or not 0.01 <= total <= 10_000:
        return None, ()
    dense = active or total
    width = _find_width(dense * 1e9)
    heads = width // _HEAD_DIM
    tables = 1 if dense < 3 else 2  # small models tie input and output embeddings
    layers = max(4, round((dense * 1e9 - tables * _VOCABULARY * width) / (12 * width * width)))
    config: dict[str, Any] = {
        "architectures": [],
        "model_type": "llama",
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": max(size for size in range(1, 9) if heads % size == 0),
        "head_dim": _HEAD_DIM,
        "intermediate_size": _round_up(int(3.25 * width), 256),
        "vocab_size": _VOCABULARY,
        "max_position_embeddings": _CONTEXT,
        "tie_word_embeddings": tables == 1,
        "torch_dtype": "bfloat16",
    }
    if active and total > active:
        rest = (total - active) * 1e9 / (3 * width * layers)
        config |= {"num_experts": 128, "num_experts_per_tok": 8, "moe_intermediate_size": max(64, int(rest / 120))}
    source = f"{total:g} billion parameters" + ("" if billions else " in its name")
    return config, (
        Guess(
            what="shape",
            value=f"{layers} layers of width {width}, {heads} heads",
            why=f"no config of {name} is known: a plain decoder of {source}",
        ),
        Guess(what="context length", value=f"{_CONTEXT:,}", why="no config is known"),
    )


def _find_width(parameters: float) -> int:
    """A width whose depth would be about width / 128 layers."""
    width = 512
    while width < 16_384 and 12 * width**3 / _HEAD_DIM + 2 * _VOCABULARY * width < parameters:
        width += 512 if width < 4096 else 1024  # so that the heads divide by the usual tensor-parallel sizes
    return width


def _round_up(value: int, step: int) -> int:
    return -(-value // step) * step
