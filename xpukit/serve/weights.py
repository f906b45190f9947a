"""How many bytes of weights the heaviest rank holds, part by part."""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from xpukit.facts.model_rules import find_quantization, find_rule
from xpukit.facts.models import find_estimate
from xpukit.serve.memory_types import MemoryRow, MemorySettings, Origin, Parallel, size_dtype
from xpukit.serve.model_types import Architecture, LayerGroup, Model, StoredQuantization

Split = Literal["tp", "kv", "vocab", "expert", "none", "tower"]
Place = Literal["layers", "first", "last", "extra"]

# The words by which quantization_config names modules that stay in 16 bit.
_SKIP_WORDS: dict[str, tuple[str, ...]] = {
    "attention": ("attn",),
    "key-value projections": ("attn",),
    "mlp": ("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj", ".mlp.", "mlp.(gate"),
    "experts": ("experts",),
    "shared experts": ("shared_expert",),
    "state layers": ("linear_attn", "mixer", "mamba"),
    "encoder": ("encoder",),
}


# What a decoded token reads a row of, or nothing.
_READ_BY_FEW = ("embedding", "layer embeddings", "other weights", "positions", "encoder")


class WeightPart(msgspec.Struct, frozen=True, kw_only=True):
    """Weights that are spread and quantized alike. `elements`: of the whole model.

    `heads`: what "kv" and "tower" split. `place`: in which pipeline stage; "extra": loaded on request only (MTP).
    """

    name: str
    elements: int
    split: Split
    quantizable: bool = False
    place: Place = "layers"
    heads: int = 1


def list_parts(architecture: Architecture) -> tuple[WeightPart, ...]:
    """The parts of a model, by formula from its shape."""
    shape = architecture
    attention = kv = latent = mlp = experts = shared = router = state = 0
    for group in shape.groups:
        split, replicated, pair = _count_attention(shape, group)
        attention += group.stored * split
        latent += group.stored * replicated
        kv += group.stored * pair
        if group.attention in ("linear", "mamba") and shape.state:
            state += group.count * shape.state.weight_elements
        if group.mlp in ("dense", "both"):
            mlp += group.stored * shape.mlp_matrices * shape.hidden * shape.intermediate
        if group.mlp in ("moe", "both") and shape.experts:
            width = shape.experts.latent or shape.hidden
            experts += group.count * shape.mlp_matrices * width * shape.experts.intermediate * shape.experts.count
            shared += group.count * shape.mlp_matrices * shape.hidden * shape.experts.shared_intermediate
            shared += group.count * 2 * shape.hidden * shape.experts.latent
            router += group.count * shape.hidden * shape.experts.count
    if shape.encoder:  # a cross attention in each decoder layer
        attention += shape.layers * 4 * shape.hidden * shape.hidden
    vocabulary = shape.vocabulary * shape.hidden
    parts = [
        WeightPart(name="embedding", elements=vocabulary, split="vocab", place="first"),
        WeightPart(name="layer embeddings", elements=shape.per_layer_embeddings, split="vocab", place="first"),
        WeightPart(name="other weights", elements=shape.other_parameters, split="none", place="first"),
        WeightPart(name="positions", elements=shape.learned_positions * shape.hidden, split="none", place="first"),
        WeightPart(name="attention", elements=attention, split="tp", quantizable=True),
        WeightPart(name="key-value projections", elements=kv, split="kv", quantizable=True, heads=shape.kv_heads),
        WeightPart(name="latent projections", elements=latent, split="none", quantizable=True),
        WeightPart(name="mlp", elements=mlp, split="tp", quantizable=True),
        WeightPart(name="experts", elements=experts, split="expert", quantizable=True),
        WeightPart(name="shared experts", elements=shared, split="tp", quantizable=True),
        WeightPart(name="router", elements=router, split="none"),
        WeightPart(name="state layers", elements=state, split="tp", quantizable=True),
        WeightPart(name="norms", elements=(4 * shape.layers + 1) * shape.hidden, split="none"),
        WeightPart(
            name="head",
            elements=0 if shape.tied or not shape.causal else vocabulary,
            split="vocab",
            place="last",
        ),
        WeightPart(name="mtp", elements=_count_mtp(shape), split="expert", quantizable=True, place="extra"),
    ]
    if shape.encoder:
        one = 4 * shape.encoder.hidden**2 + shape.mlp_matrices * shape.encoder.hidden * shape.encoder.intermediate
        parts.append(
            WeightPart(name="encoder", elements=shape.encoder.layers * one, split="tp", quantizable=True, place="first")
        )
    for tower in shape.towers:
        parts.append(
            WeightPart(
                name=f"{tower.kind} tower",
                elements=tower.parameters,
                split="tower",
                place="first",
                heads=tower.heads,
            )
        )
    return tuple(part for part in parts if part.elements > 0)


def count_parameters(model: Model) -> int:
    """Parameters of the whole model, MTP layers left out."""
    return sum(part.elements for part in list_parts(model.architecture) if part.place != "extra")


def count_active(architecture: Architecture) -> int:
    """Parameters that one decoded token reads: of the experts its own share; embeddings and towers left out."""
    active = 0
    for part in list_parts(architecture):
        if part.place == "extra" or part.name in _READ_BY_FEW or part.split == "tower":
            continue
        if part.name == "experts" and architecture.experts:
            active += part.elements * architecture.experts.per_token // architecture.experts.count
        else:
            active += part.elements
    if architecture.tied and architecture.causal:
        active += architecture.vocabulary * architecture.hidden
    return active


def size_weight(quantization: str, stored: StoredQuantization | None, settings: MemorySettings) -> tuple[float, str]:
    """Bytes of one quantized weight with its share of scales, and where that comes from."""
    if quantization in ("stored", "mxfp4") and stored is not None:
        return _size_stored(stored)
    facts = find_quantization(quantization)
    if facts is None or quantization == "none":
        return 2.0, "16-bit weights"
    group = facts.group
    source = facts.source
    if quantization == "sym_int4":
        rule = find_rule("int4_group", engine=settings.engine, version=settings.version)
        group = settings.int4_group or (int(rule.value) if rule else group)
        source = "VLLM_INT4_GROUP_SIZE as given" if settings.int4_group else (rule.source if rule else source)
    scales = (facts.scale_bits + facts.zero_bits) / 8 / group if group else 0.0
    return facts.bits / 8 + scales, source


def _size_stored(stored: StoredQuantization) -> tuple[float, str]:
    facts = find_quantization(stored.method)
    scale_bytes = (facts.scale_bits + facts.zero_bits) / 8 if facts else 2.0
    size = stored.bits / 8
    if stored.block:
        size += 4 / (stored.block[0] * stored.block[1])
    elif stored.group or (facts and facts.group):
        size += scale_bytes / (stored.group or (facts.group if facts else 128))
    return size, f"quantization_config: {stored.method}, {stored.bits:g} bit"


def size_rank(
    model: Model, *, quantization: str, parallel: Parallel, settings: MemorySettings
) -> tuple[int, tuple[MemoryRow, ...]]:
    """Bytes of weights on the heaviest rank, and the parts they come from (largest first)."""
    per_weight, source = size_weight(quantization, model.quantization, settings)
    wide = 2.0 if settings.dtype != "float32" else 4.0
    stages: dict[Place, float] = {"layers": 0.0, "first": 0.0, "last": 0.0, "extra": 0.0}
    rows: list[MemoryRow] = []
    layers = max(1, model.architecture.layers)
    stage_share = math.ceil(layers / parallel.pp) / layers
    factor, factor_why = scale_to_stored(model)
    for part in _list_held_parts(model):
        if part.place == "extra" and not settings.mtp:
            continue
        quantized = is_quantized(part, quantization, model.quantization)
        size, origin, why = _size_part(model, part, quantized, per_weight if quantized else wide, quantization)
        if origin != "fact":
            size *= factor
        size /= _count_shares(part, parallel)
        if part.place == "layers":
            size *= stage_share
        stages[part.place] += size
        why = f"{why}; {source}" if quantized and quantization != "none" else why
        rows.append(MemoryRow(name=part.name, bytes=round(size), origin=origin, why=why + factor_why))
    ends = max(stages["first"], stages["last"]) if parallel.pp > 1 else stages["first"] + stages["last"]
    if parallel.pp > 1 and model.architecture.tied:
        ends = max(ends, model.architecture.vocabulary * model.architecture.hidden * wide / parallel.tp)
    total = round(stages["layers"] + stages["extra"] + ends)
    return total, tuple(sorted(rows, key=lambda row: -row.bytes))


def _list_held_parts(model: Model) -> tuple[WeightPart, ...]:
    """The parts by formula; where the headers could be read, those that are on disk, whatever the formula expects."""
    parts = list_parts(model.architecture)
    held = model.stored.parts if model.stored is not None else {}
    if not held:
        return parts
    named = {part.name for part in parts}
    # Fused or unknown tensors: counted whole on every rank. A head beside tied embeddings is not loaded.
    rest = [name for name in held if name not in named and not (name == "head" and model.architecture.tied)]
    return (
        *(part for part in parts if part.name in held),
        *(
            WeightPart(name=name, elements=held[name] // 2, split="none", place="extra" if name == "mtp" else "layers")
            for name in rest
        ),
    )


def scale_to_stored(model: Model) -> tuple[float, str]:
    """A factor that brings the formula to the bytes on disk, where only the index (no header) could be read."""
    stored = model.stored
    if stored is None or stored.parts or not stored.total_bytes:
        return 1.0, ""
    settings = MemorySettings()
    per_weight, _ = size_weight("stored", model.quantization, settings)
    expected = sum(
        part.elements * (per_weight if is_quantized(part, "stored", model.quantization) else 2.0)
        for part in list_parts(model.architecture)
    )
    if model.architecture.dtype == "float32":
        expected *= 2
    if expected <= 0:
        return 1.0, ""
    factor = stored.total_bytes / expected
    if not 0.5 < factor < 2.0:
        return 1.0, ""
    return factor, f"; scaled by {factor:.3f} to the {stored.total_bytes:,} bytes of the safetensors index"


def is_quantized(part: WeightPart, quantization: str, stored: StoredQuantization | None) -> bool:
    """Whether a part's weights are held quantized."""
    if not part.quantizable or quantization == "none":
        return False
    if quantization in ("stored", "mxfp4"):
        if stored is None:
            return False
        words = _SKIP_WORDS.get(part.name, ())
        return not any(word in _plain(name, part.name) for name in stored.skipped for word in words)
    return True


def _plain(name: str, part: str) -> str:
    """A module's name, or a pattern of names, as plain text. The experts that are shared are no routed ones."""
    text = name.replace("\\", "")
    return text.replace("shared_expert", "") if part == "experts" else text


def _size_part(
    model: Model, part: WeightPart, quantized: bool, bytes_each: float, quantization: str
) -> tuple[float, Origin, str]:
    stored = model.stored
    if stored is not None and part.name in stored.parts:
        held = stored.parts[part.name]
        as_is = quantization in ("stored", "mxfp4") or (not quantized and model.quantization is None)
        if as_is and not stored.dtypes.get("F32"):
            return float(held), "fact", f"{held:,} bytes in {stored.source}"
        each = 4.0 if stored.dtypes.get("F32", 0) * 2 > sum(stored.dtypes.values()) else 2.0
        if model.quantization is None:
            return held / each * bytes_each, "fact", f"{held:,} bytes in {stored.source} at {bytes_each:g} each"
    why = f"{part.elements:,} weights of {bytes_each:.4g} bytes"
    return part.elements * bytes_each, "formula" if not model.guesses else "estimate", why


def _count_shares(part: WeightPart, parallel: Parallel) -> float:
    if part.split in ("tp", "vocab"):
        return parallel.tp
    if part.split == "kv":
        return min(parallel.tp, max(1, part.heads))
    if part.split == "expert":
        return parallel.expert_ranks
    if part.split == "tower":
        return parallel.tp if part.heads % parallel.tp == 0 else 1
    return 1


def _count_attention(shape: Architecture, group: LayerGroup) -> tuple[int, int, int]:
    """Weights of a layer's attention: split over ranks, replicated, and the key-value pair."""
    if group.attention == "mla" and shape.mla:
        mla = shape.mla
        head = mla.nope_dim + mla.rope_dim
        queries = (mla.q_rank or shape.hidden) * shape.heads * head
        split = queries + shape.heads * mla.kv_rank * (mla.nope_dim + mla.value_dim)
        split += shape.heads * mla.value_dim * shape.hidden
        return split, shape.hidden * (mla.q_rank + mla.kv_rank + mla.rope_dim), 0
    if group.attention in ("full", "sliding"):
        width = shape.heads * group.head_dim
        bias = (width + 2 * group.kv_heads * group.head_dim) if shape.bias else 0
        split = shape.hidden * width * shape.query_scale + width * shape.hidden + bias
        return split, 0, 2 * shape.hidden * group.kv_heads * group.head_dim
    return 0, 0, 0


def _count_mtp(shape: Architecture) -> int:
    if not shape.mtp_layers or not shape.groups:
        return 0
    last = shape.groups[-1]
    one = sum(_count_attention(shape, last)) + 2 * shape.hidden * shape.hidden
    if last.mlp == "moe" and shape.experts:
        routed = (shape.experts.latent or shape.hidden) * shape.experts.intermediate * shape.experts.count
        one += shape.mlp_matrices * (routed + shape.hidden * shape.experts.shared_intermediate)
    else:
        one += shape.mlp_matrices * shape.hidden * shape.intermediate
    return shape.mtp_layers * one


def size_vocabulary(architecture: Architecture, tp: int) -> int:
    """Rows of the vocabulary that a rank holds, padded as vLLM pads them."""
    padding = int(find_estimate("vocab_padding").value)
    return math.ceil(architecture.vocabulary / padding) * padding // tp


def size_16bit(model: Model, parallel: Parallel, settings: MemorySettings) -> int:
    """Bytes of the heaviest rank's weights before an online quantization."""
    return size_rank(model, quantization="none", parallel=parallel, settings=settings)[0]


def size_element(dtype: str, architecture: Architecture) -> float:
    """Bytes of an activation: of the asked dtype, else of the model's own (float32 runs as float16)."""
    if dtype != "auto":
        return size_dtype(dtype)
    return min(2.0, size_dtype(architecture.dtype))


def valid_tp(architecture: Architecture, limit: int) -> tuple[int, ...]:
    """Tensor-parallel sizes that divide the heads, and the key-value heads or are a multiple of them."""
    heads = {group.kv_heads for group in architecture.groups if group.kv_heads} or {architecture.kv_heads or 1}
    state = architecture.state.heads if architecture.state else 0
    return tuple(
        size
        for size in range(1, limit + 1)
        if architecture.heads % size == 0
        and (architecture.mla is not None or all(count % size == 0 or size % count == 0 for count in heads))
        and (not state or state % size == 0)
    )
