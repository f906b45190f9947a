"""What a rank needs besides weights and cache: activations, collective buffers, graphs, the process itself."""

from __future__ import annotations

from xpukit.facts.model_rules import find_rule
from xpukit.facts.models import Estimate, find_estimate
from xpukit.serve.memory_types import MemoryRow, MemorySettings, Origin, Parallel
from xpukit.serve.model_types import Model
from xpukit.serve.weights import size_element, size_vocabulary


def size_activations(
    model: Model, *, parallel: Parallel, settings: MemorySettings, batched_tokens: int, sequences: int
) -> tuple[MemoryRow, ...]:
    """The peak of a profiling run: a full batch of tokens through a layer, the sampler, and the towers."""
    shape = model.architecture
    each = size_element(settings.dtype, shape)
    copies = find_estimate("hidden_copies")
    widest = max(
        shape.mlp_matrices * shape.intermediate / parallel.tp,
        (shape.heads * shape.head_dim * shape.query_scale + 2 * shape.kv_heads * shape.head_dim) / parallel.tp,
    )
    layer = batched_tokens * (copies.value * shape.hidden + widest) * each
    why = f"{batched_tokens:,} tokens in a step, width {shape.hidden:,}"
    if shape.experts:
        # A token is copied to each expert that takes it, before and after the experts' two products.
        each_token = shape.experts.per_token * (
            2 * shape.hidden + 3 * shape.experts.intermediate / max(1, parallel.expert_ranks)
        )
        layer += batched_tokens * each_token * each
        why += f", {shape.experts.per_token} experts a token"
    rows = [MemoryRow(name="activations", bytes=round(layer), origin="estimate", why=f"{why}; {copies.source}")]
    if shape.causal:
        logits = find_estimate("logits_copies_bytes")
        rows.append(
            MemoryRow(
                name="logits",
                bytes=round(min(sequences, batched_tokens) * size_vocabulary(shape, 1) * logits.value),
                origin=_origin(logits),
                why=f"{sequences:,} sequences sampled at once, {shape.vocabulary:,} words; {logits.source}",
            )
        )
    rows.extend(_size_towers(model, settings, each))
    return tuple(rows)


def _size_towers(model: Model, settings: MemorySettings, each: float) -> list[MemoryRow]:
    rows = []
    for tower in model.architecture.towers:
        if not settings.images:
            continue
        estimate = find_estimate("image_patches" if tower.kind == "vision" else "audio_frames")
        # The tower's own layer (six widths: query, key, value, output, residual, and the MLP counted as four)
        # and the embeddings it hands over.
        size = settings.images * estimate.value * (10 * tower.hidden + model.architecture.hidden) * each
        rows.append(
            MemoryRow(
                name=f"{tower.kind} reserve",
                bytes=round(size),
                origin=_origin(estimate),
                why=f"{settings.images} × {estimate.value:,.0f} {estimate.unit}; {estimate.source}",
            )
        )
    return rows


def size_buffers(
    model: Model, *, parallel: Parallel, settings: MemorySettings, batched_tokens: int
) -> tuple[MemoryRow, ...]:
    """Collective buffers and the process."""
    runtime = find_estimate("runtime_bytes")
    rows = [MemoryRow(name="runtime", bytes=int(runtime.value), origin=_origin(runtime), why=runtime.source)]
    if parallel.world > 1:
        each = size_element(settings.dtype, model.architecture)
        scratch, messages = find_estimate("collective_bytes"), find_estimate("collective_messages")
        message = batched_tokens * model.architecture.hidden * each
        rows.append(
            MemoryRow(
                name="collective buffers",
                bytes=round(scratch.value + messages.value * message),
                origin=_origin(scratch),
                why=f"{scratch.source}; messages of {message:,.0f} bytes",
            )
        )
    if settings.loras:
        rows.append(_size_loras(model, settings, parallel))
    if settings.draft_bytes:
        rows.append(
            MemoryRow(
                name="draft model", bytes=settings.draft_bytes // parallel.tp, origin="formula", why="as the plan says"
            )
        )
    return tuple(rows)


def size_graphs(settings: MemorySettings, device_bytes: int) -> tuple[MemoryRow, bool]:
    """Captured graphs, and whether they are taken from the budget (else they come on top of it)."""
    if not settings.graphs:
        return MemoryRow(name="graphs", bytes=0, origin="fact", why="--enforce-eager: none are captured"), False
    sizes, each = find_estimate("graph_sizes"), find_estimate("graph_bytes_per_size")
    rule = find_rule("graph_in_budget", engine=settings.engine, version=settings.version, device_bytes=device_bytes)
    row = MemoryRow(
        name="graphs",
        bytes=round(sizes.value * each.value),
        origin=_origin(each),
        why=f"{sizes.value:.0f} graphs; {each.source}",
    )
    return row, rule is not None


def _size_loras(model: Model, settings: MemorySettings, parallel: Parallel) -> MemoryRow:
    shape = model.architecture
    wide = 2 * (shape.hidden + shape.heads * shape.head_dim) + shape.mlp_matrices * (shape.hidden + shape.intermediate)
    size = settings.loras * settings.lora_rank * wide * shape.layers * 2 // parallel.tp
    return MemoryRow(
        name="LoRA slots",
        bytes=size,
        origin="estimate",
        why=f"{settings.loras} adapters of rank {settings.lora_rank} on the attention and MLP of every layer",
    )


def _origin(estimate: Estimate) -> Origin:
    return "formula" if estimate.kind == "formula" else estimate.kind
