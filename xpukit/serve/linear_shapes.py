"""The matrix products that a rank does for a token, by shape."""

from __future__ import annotations

import msgspec

from xpukit.serve.memory_types import MemorySettings, Parallel
from xpukit.serve.model_types import Model
from xpukit.serve.weights import WeightPart, is_quantized, list_parts, size_weight


class LinearShape(msgspec.Struct, frozen=True, kw_only=True):
    """`count` products of [tokens, k] × [k, n].

    `experts` > 0: of so many experts a token takes `per_token`, and the rank does one part in `shares` of the work.
    """

    count: float
    n: float
    k: float
    weight_bytes: float
    quantized: bool
    experts: int = 0
    per_token: int = 0
    shares: int = 1


def list_linears(
    model: Model, *, quantization: str, parallel: Parallel, settings: MemorySettings
) -> tuple[LinearShape, ...]:
    """All of a rank's products over all layers (pipeline stages together: a token passes through all)."""
    shape = model.architecture
    small, _ = size_weight(quantization, model.quantization, settings)
    tp = parallel.tp
    found: list[LinearShape] = []

    def add(part: str, count: float, n: float, k: float, experts: int = 0, per_token: int = 0, shares: int = 1) -> None:
        if count <= 0 or n <= 0 or k <= 0:
            return
        quantized = part != "head" and is_quantized(
            WeightPart(name=part, elements=1, split="tp", quantizable=True), quantization, model.quantization
        )
        found.append(
            LinearShape(
                count=count,
                n=n,
                k=k,
                weight_bytes=small if quantized else 2.0,
                quantized=quantized,
                experts=experts,
                per_token=per_token,
                shares=shares,
            )
        )

    sizes = {part.name: part.elements for part in list_parts(shape)}
    for group in shape.groups:
        if group.attention in ("full", "sliding"):
            width = shape.heads * group.head_dim
            pair = 2 * group.kv_heads * group.head_dim / min(tp, max(1, group.kv_heads))
            add("attention", group.count, width * shape.query_scale / tp + pair, shape.hidden)
            add("attention", group.count, shape.hidden, width / tp)
        elif group.attention in ("linear", "mamba") and shape.state:
            add("state layers", group.count, shape.state.weight_elements / shape.hidden / tp, shape.hidden)
        if group.mlp in ("dense", "both"):
            add("mlp", group.count, (shape.mlp_matrices - 1) * shape.intermediate / tp, shape.hidden)
            add("mlp", group.count, shape.hidden, shape.intermediate / tp)
        if group.mlp in ("moe", "both") and shape.experts:
            experts = shape.experts
            spread = parallel.expert_ranks if parallel.expert_parallel else 1
            each = experts.intermediate if parallel.expert_parallel else experts.intermediate / tp
            width = experts.latent or shape.hidden
            for n, k in (((shape.mlp_matrices - 1) * each, width), (width, each)):
                add("experts", group.count, n, k, experts.count, experts.per_token, spread)
            add(
                "shared experts", group.count, (shape.mlp_matrices - 1) * experts.shared_intermediate / tp, shape.hidden
            )
            add("shared experts", group.count, shape.hidden, experts.shared_intermediate / tp)
    if shape.mla is not None:
        add("attention", shape.layers, sizes.get("attention", 0) / shape.layers / shape.hidden / tp, shape.hidden)
        add("attention", shape.layers, sizes.get("latent projections", 0) / shape.layers / shape.hidden, shape.hidden)
    if shape.encoder is not None:  # query and output of the cross attention; its keys and values are kept
        add("attention", shape.layers, 2 * shape.hidden / tp, shape.hidden)
    if shape.causal:
        add("head", 1, shape.vocabulary / tp, shape.hidden)
    return tuple(found)


def count_expert_use(experts: int, per_token: int, tokens: float) -> tuple[float, float]:
    """How many of the experts a step of that many tokens reads, and the tokens that each of them gets."""
    used = experts * (1 - (1 - per_token / experts) ** tokens)
    used = max(min(float(per_token), float(experts)), used)
    return used, tokens * per_token / used
