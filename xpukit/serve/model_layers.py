"""Which of a model's layers attend how, and which have experts."""

from __future__ import annotations

from collections import Counter

from xpukit.facts.model_rules import TypeFacts
from xpukit.serve.config_reader import ConfigReader
from xpukit.serve.model_types import AttentionKind, Experts, LayerGroup, Mla, MlpKind, StateSpace

_LAYER_LIMIT = 4097  # one more than is believed (model.py)
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
    "conv": "mamba",
}
# Nemotron-H's other way to write it: a layer does one thing.
_SINGLE = {"mamba": "M", "linear_attention": "M", "attention": "*", "full_attention": "*", "mlp": "-", "moe": "E"}
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
    layers = _count_layers(text)
    window = text.integer("sliding_window", "attention_chunk_size", "sliding_window_size")
    letters = text.text("hybrid_override_pattern") or _spell(text.texts("layers_block_type"), kind)
    blocks = text.tables("block_configs")
    if blocks:
        kinds = [_read_block(block) for block in blocks[:_LAYER_LIMIT]]
    elif letters:
        kinds = [_LETTERS[letter] for letter in letters if letter in _LETTERS]
    else:
        attentions = _read_attentions(text, kind, layers=layers, window=window, mla=mla, state=state)
        kinds = list(zip(attentions, _read_mlps(text, kind, layers, experts), strict=True))
        kinds = _split_parallel(kinds, kind, state)
        if kind.paired_layers and experts is not None:
            kinds = [half for attention, _ in kinds for half in ((attention, "both"), (attention, "dense"))]
    groups = []
    per_layer = text.table("per_layer_config")
    for (attention, mlp), count in Counter(kinds).items():
        wide = attention == "full" and text.has("global_head_dim")
        own = _find_own(per_layer, kinds.index((attention, mlp)))
        groups.append(
            LayerGroup(
                count=count,
                attention=attention,
                mlp=mlp,
                kv_heads=0
                if attention in ("linear", "mamba", "none")
                else own.integer("num_key_value_heads") or _pick_heads(text, attention, heads),
                blocks=min(count, kind.shared_blocks) if attention == "full" else 0,
                head_dim=0
                if attention in ("linear", "mamba", "none")
                else own.integer("head_dim") or (text.integer("global_head_dim") if wide else head_dim),
                window=window if attention == "sliding" else 0,
            )
        )
    return tuple(groups)


def _find_own(per_layer: ConfigReader, index: int) -> ConfigReader:
    """What a layer has for itself, as transformers 5 writes it: numbers of layers as text, with zeros before."""
    names = (f"{index:0{width}}" for width in range(1, 5))
    return next((per_layer.table(name) for name in names if per_layer.has(name)), ConfigReader({}))


def _count_layers(text: ConfigReader) -> int:
    """Of the decoder, which a model with an encoder names apart."""
    found = (
        text.integer("decoder_layers", "num_decoder_layers") if text.has("encoder_layers", "num_decoder_layers") else 0
    )
    names = ("num_hidden_layers", "n_layer", "num_layers", "decoder_layers", "n_layers")
    return min(_LAYER_LIMIT, found or text.integer(*names) or len(text.texts("layers_block_type")))


def _spell(names: tuple[str, ...], kind: TypeFacts) -> str:
    """Layer names as Nemotron-H's letters; "" where they are not of its kind."""
    single = kind.state == "mamba" and names and all(name in _SINGLE for name in names)
    return "".join(_SINGLE[name] for name in names) if single and {"mlp", "moe"} & set(names) else ""


def _read_block(block: ConfigReader) -> tuple[AttentionKind, MlpKind]:
    """A layer that an architecture search chose: each half may be left out (or be one matrix, counted as none)."""
    attention, mlp = block.table("attention"), block.table("ffn")
    return (
        "none" if attention.flag("no_op", "replace_with_linear") else "full",
        "none" if mlp.flag("no_op", "replace_with_linear") else "dense",
    )


def _split_parallel(
    kinds: list[tuple[AttentionKind, MlpKind]], kind: TypeFacts, state: StateSpace | None
) -> list[tuple[AttentionKind, MlpKind]]:
    """State layers without their MLP where they have none; layers with attention and a state side by side as two."""
    if state is None or not (kind.bare_state or kind.parallel_state):
        return kinds
    if kind.parallel_state:
        return [("full", mlp) for _, mlp in kinds] + [("mamba", "none") for _ in kinds]
    bare: list[tuple[AttentionKind, MlpKind]] = [
        (attention, "none" if attention == "mamba" else mlp) for attention, mlp in kinds
    ]
    # A layer that attends in a shared block has its own state too.
    return bare + [("mamba", "none") for attention, _ in kinds if kind.shared_blocks and attention == "full"]


def _pick_heads(text: ConfigReader, attention: AttentionKind, heads: int) -> int:
    if attention == "full" and text.has("num_global_key_value_heads"):
        return text.integer("num_global_key_value_heads") or heads
    if attention == "sliding" and text.has("swa_num_key_value_heads"):
        return text.integer("swa_num_key_value_heads") or heads
    return heads


def _read_attentions(
    text: ConfigReader, kind: TypeFacts, *, layers: int, window: int, mla: Mla | None, state: StateSpace | None
) -> list[AttentionKind]:
    delta = set(text.table("linear_attn_config").integers("kda_layers")) if kind.state == "kda" else set()
    if mla is not None:
        named = text.texts("layer_types") if kind.state == "kda" and not delta else ()
        delta |= {index + 1 for index, name in enumerate(named) if name == "linear_attention"}
        return ["linear" if index + 1 in delta else "mla" for index in range(layers)]  # counted from one
    linear = text.integers("attn_type_list")
    if state is not None and len(linear) >= layers > 0:  # MiniMax: 1 is a cache
        return ["full" if item == 1 else "linear" for item in linear[:layers]]
    pattern = text.integers("hybrid_layer_pattern")
    if window and len(pattern) >= layers > 0:  # MiMo: 1 is a window
        return ["sliding" if item == 1 else "full" for item in pattern[:layers]]
    names = text.texts("layer_types", "layers_block_type")
    if names and len(names) >= layers:
        if kind.shared_blocks:  # Zamba's "hybrid": a state-space layer that attends in a shared block
            return ["full" if name == "hybrid" else "mamba" for name in names[:layers]]
        return [_TYPES.get(name, "full") for name in names[:layers]]
    if state is not None:
        return _read_hybrid(text, layers=layers, kind="linear" if state.kind == "gated delta net" else "mamba")
    if not window or (text.has("use_sliding_window") and not text.flag("use_sliding_window")):
        return ["full"] * layers
    if not kind.model_types and not text.has("sliding_window_pattern", "use_sliding_window"):
        text.guess("attention", "full in every layer", f"a window of {window:,} tokens is named, not where it holds")
        return ["full"] * layers
    unroped = text.integers("no_rope_layers")
    if len(unroped) >= layers > 1:  # Llama 4: a layer without positions attends without a window
        return ["full" if item == 0 else "sliding" for item in unroped[:layers]]
    written = text.text("sliding_window_pattern").upper()
    if {"L", "G"} >= set(written) and "G" in written:  # EXAONE 4: LLLG, again and again
        return ["full" if written[index % len(written)] == "G" else "sliding" for index in range(layers)]
    every = text.integer("sliding_window_pattern", "_sliding_window_pattern") or kind.window_every
    if every > 1:
        return ["full" if (index + 1) % every == 0 else "sliding" for index in range(layers)]
    asked = text.flag("use_sliding_window") or not text.has("use_sliding_window")
    first = text.integer("max_window_layers") if asked else 0
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
    written = text.texts("mlp_layer_types")
    if len(written) >= layers > 0:
        return ["dense" if name == "dense" else sparse for name in written[:layers]]
    listed = text.integers("moe_layer_freq")
    if len(listed) >= layers > 1:
        return [sparse if item else "dense" for item in listed[:layers]]
    named = {
        int(word) for word in text.text("moe_layers_enum").split(",") if word.strip().isdecimal() and len(word) < 6
    }
    if named:
        return [sparse if index in named else "dense" for index in range(layers)]
    first = text.integer("first_k_dense_replace", "moe_layer_start_index", "num_dense_layers")
    step = max(1, text.integer("decoder_sparse_step", "expert_layer_period", "interleave_moe_layer_step", default=1))
    offset = text.integer("expert_layer_offset", default=step - 1)
    dense = set(text.integers("mlp_only_layers")) if text.has("mlp_only_layers") else set()
    return [
        "dense" if index < first or index in dense or index % step != offset % step else sparse
        for index in range(layers)
    ]
