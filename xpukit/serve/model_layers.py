"""Which of a model's layers attend how, and which have experts."""

from __future__ import annotations

from collections import Counter

from xpukit.facts.model_rules import TypeFacts
from xpukit.serve.config_reader import ConfigReader
from xpukit.serve.model_types import AttentionKind, Experts, LayerGroup, Mla, MlpKind, StateSpace

_LAYER_LIMIT = 4096  # a count beyond this is damage
_TYPES: dict[str, AttentionKind] = {
    "full_attention": "full",
    "attention": "full",
    "sliding_attention": "sliding",
    "chunked_attention": "sliding",
    "local_attention": "sliding",
    "linear_attention": "linear",
    "mamba": "mamba",
    "mamba2": "mamba",
    "hybrid": "mamba",
}
# Nemotron-H writes a layer as one letter.
_LETTERS: dict[str, tuple[AttentionKind, MlpKind]] = {
    "M": ("mamba", "none"),
    "*": ("full", "none"),
    "-": ("none", "dense"),
    "E": ("none", "moe"),
}


def read_groups(
    text: ConfigReader,
    kind: TypeFacts,
    *,
    heads: int,
    head_dim: int,
    experts: Experts | None,
    mla: Mla | None,
    state: StateSpace | None,
) -> tuple[LayerGroup, ...]:
    """The layers by kind, in order of first appearance. `heads`: key-value heads."""
    layers = min(_LAYER_LIMIT, text.integer("num_hidden_layers", "n_layer", "num_layers", "decoder_layers", "n_layers"))
    window = text.integer("sliding_window", "attention_chunk_size")
    letters = text.text("hybrid_override_pattern")
    if letters:
        kinds = [_LETTERS[letter] for letter in letters if letter in _LETTERS]
    else:
        attentions = _read_attentions(text, kind, layers=layers, window=window, mla=mla, state=state)
        kinds = list(zip(attentions, _read_mlps(text, kind, layers, experts), strict=True))
    groups = []
    for (attention, mlp), count in Counter(kinds).items():
        wide = attention == "full" and text.has("global_head_dim")
        groups.append(
            LayerGroup(
                count=count,
                attention=attention,
                mlp=mlp,
                kv_heads=0 if attention in ("linear", "mamba", "none") else _pick_heads(text, attention, heads),
                head_dim=0
                if attention in ("linear", "mamba", "none")
                else (text.integer("global_head_dim") if wide else head_dim),
                window=window if attention == "sliding" else 0,
            )
        )
    return tuple(groups)


def _pick_heads(text: ConfigReader, attention: AttentionKind, heads: int) -> int:
    if attention == "full" and text.has("num_global_key_value_heads"):
        return text.integer("num_global_key_value_heads") or heads
    return heads


def _read_attentions(
    text: ConfigReader, kind: TypeFacts, *, layers: int, window: int, mla: Mla | None, state: StateSpace | None
) -> list[AttentionKind]:
    if mla is not None:
        return ["mla"] * layers
    names = text.texts("layer_types", "layers_block_type")
    if names and len(names) >= layers:
        return [_TYPES.get(name, "full") for name in names[:layers]]
    if state is not None:
        return _read_hybrid(text, layers=layers, kind="mamba" if state.kind == "mamba" else "linear")
    if not window or (text.has("use_sliding_window") and not text.flag("use_sliding_window")):
        return ["full"] * layers
    every = text.integer("sliding_window_pattern", "_sliding_window_pattern") or kind.window_every
    if every > 1:
        return ["full" if (index + 1) % every == 0 else "sliding" for index in range(layers)]
    first = text.integer("max_window_layers") if text.flag("use_sliding_window") else 0
    return ["full" if index < first else "sliding" for index in range(layers)]


def _read_hybrid(text: ConfigReader, *, layers: int, kind: AttentionKind) -> list[AttentionKind]:
    every = text.integer("full_attention_interval", "attn_layer_period")
    if every > 1:
        offset = text.integer("attn_layer_offset", default=every - 1) if text.has("attn_layer_period") else every - 1
        return ["full" if index % every == offset else kind for index in range(layers)]
    attending = set(text.integers("attn_layer_indices", "full_attn_idxs", "hybrid_layer_ids"))
    return ["full" if index in attending else kind for index in range(layers)]


def _read_mlps(text: ConfigReader, kind: TypeFacts, layers: int, experts: Experts | None) -> list[MlpKind]:
    if experts is None:
        return ["dense"] * layers
    sparse: MlpKind = "both" if kind.both_mlps else "moe"
    first = text.integer("first_k_dense_replace", "moe_layer_start_index", "num_dense_layers")
    step = max(1, text.integer("decoder_sparse_step", "expert_layer_period", "interleave_moe_layer_step", default=1))
    offset = text.integer("expert_layer_offset", default=step - 1)
    dense = set(text.integers("mlp_only_layers")) if text.has("mlp_only_layers") else set()
    return [
        "dense" if index < first or index in dense or index % step != offset % step else sparse
        for index in range(layers)
    ]
