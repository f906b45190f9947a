"""A config.json read as a shape. Never raises: what is missing or odd is replaced by a guess that says so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from xpukit.facts.model_rules import TypeFacts, find_defaults, find_type
from xpukit.serve.config_reader import ConfigReader
from xpukit.serve.model_layers import read_groups
from xpukit.serve.model_state import read_state
from xpukit.serve.model_towers import read_towers
from xpukit.serve.model_types import Architecture, Encoder, Experts, Guess, Mla

_TEXT_KEYS = ("text_config", "llm_config", "language_config", "language_model_config")
_PLAIN = TypeFacts(model_types=(), source="guess: a plain decoder")
# Defaults that are told where they were taken: those that decide the size.
_TOLD = {
    "hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim", "vocab_size",
    "intermediate_size", "sliding_window", "max_position_embeddings", "tie_word_embeddings", "num_experts",
    "moe_intermediate_size", "d_model", "n_layer", "n_embd", "n_head", "num_local_experts", "n_routed_experts",
}  # fmt: skip
_MOST_STRETCH = 10_000
_GATED = ("swiglu", "geglu")


def find_text_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part that describes the language model: a nested one, else the whole."""
    thinker = config.get("thinker_config")
    if isinstance(thinker, Mapping):
        return find_text_config(thinker)
    for key in _TEXT_KEYS:
        nested = config.get(key)
        if isinstance(nested, Mapping) and len(nested) > 1:
            return nested
    return config


def read_architecture(config: Mapping[str, Any], *, whole: bool = False) -> tuple[Architecture, tuple[Guess, ...]]:
    """The shape that a config.json describes, and what had to be guessed.

    `whole`: it is a model's own file, in which only those keys are missing that have the defaults of its class.
    """
    top = ConfigReader(config)
    nested = find_text_config(config)
    defaults, who = _find_defaults(config, nested) if whole else ({}, "")
    text = ConfigReader(nested, fallback=config, defaults=defaults)
    model_type = top.text("model_type") if nested is config else ConfigReader(nested).text("model_type")
    model_type = model_type or top.text("model_type")
    facts = find_type(model_type) or find_type(top.text("model_type"))
    if facts is None:
        named = top.text("model_type") or ", ".join(top.texts("architectures")) or "none named"
        text.guess("model type", "plain decoder", f"{named} is not among the types we know")
    kind = facts or _PLAIN
    whole_type = top.text("model_type")
    if facts is not None and nested is not config and whole_type and find_type(whole_type) is None:
        why = f"{whole_type} is not among the types we know: towers by their widths, what joins them is left out"
        text.guess("parts beside the language model", "by formula", why)
    heads = text.integer("num_attention_heads", "n_head", "n_heads", "decoder_attention_heads", "num_heads")
    hidden = text.integer("hidden_size", "n_embd", "d_model", "dim")
    if not heads:
        heads = max(1, hidden // 128)
        text.guess("attention heads", str(heads), "the config names none: width 128 each")
    mla = _read_mla(text, hidden // heads)
    head_dim = text.integer("head_dim", "kv_channels", "attention_head_dim", "d_kv") or hidden // heads
    kv_heads = _read_kv_heads(text, heads)
    intermediate = _read_intermediate(text, hidden) // kind.mlp_divisor
    experts = _read_experts(text, kind, intermediate)
    if not intermediate and experts is None:
        intermediate = 4 * hidden
        text.guess("intermediate size", str(intermediate), "the config names none: four times the width")
    state = read_state(text, kind, hidden)
    groups = read_groups(text, kind, heads=kv_heads, head_dim=head_dim, experts=experts, mla=mla, state=state)
    if kind.shared_blocks:
        text.guess(
            "shared blocks", str(kind.shared_blocks), "their adapters and wider inputs are not counted: about 5 %"
        )
    architecture = Architecture(
        name=next(iter(top.texts("architectures")), "") or model_type,
        model_type=model_type,
        groups=groups,
        hidden=hidden,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        intermediate=intermediate,
        vocabulary=text.integer("padded_vocab_size", "vocab_size", "n_vocab"),
        max_positions=_read_positions(text, model_type),
        tied=kind.tied or _read_tied(top, text, kind) or _is_headless(top, model_type, kind),
        dtype=text.text("torch_dtype", "dtype", "params_dtype") or "bfloat16",
        causal=kind.causal,
        known=facts is not None,
        bias=text.flag("attention_bias", "qkv_bias", "add_qkv_bias") or model_type in ("qwen2", "qwen2_moe"),
        mlp_matrices=_count_mlp_matrices(text, kind),
        query_scale=2 if text.flag("attn_output_gate") else 1,
        learned_positions=text.integer("max_position_embeddings", "max_target_positions") if kind.positions else 0,
        experts=experts,
        mla=mla,
        state=state,
        encoder=_read_encoder(text),
        towers=read_towers(config, text),
        mtp_layers=text.integer("num_nextn_predict_layers", "mtp_num_hidden_layers", "num_mtp_layers"),
        other_parameters=kind.extra_parameters,
    )
    rows = text.integer("vocab_size_per_layer_input") * text.integer("hidden_size_per_layer_input")
    # Gemma: beside the tables, a projection of the input for all layers, and a gate and a projection in each.
    narrow = 3 * hidden * text.integer("hidden_size_per_layer_input")
    architecture = msgspec.structs.replace(
        architecture,
        per_layer_embeddings=rows * architecture.layers,
        other_parameters=architecture.other_parameters + narrow * architecture.layers,
    )
    if text.taken:
        shown = ", ".join(f"{key} {value}" for key, value in sorted(text.taken.items()) if key in _TOLD)
        if shown:
            text.guess("keys left out", shown, f"config.json does not say; {who} take these for {model_type}")
    for what, value in (("layers", architecture.layers), ("width", hidden), ("vocabulary", architecture.vocabulary)):
        if not value:
            text.guess(what, "0", "the config does not say: the sizes below leave it out")
    return architecture, tuple(text.guesses)


def _find_defaults(config: Mapping[str, Any], nested: Mapping[str, Any]) -> tuple[Mapping[str, Any], str]:
    """Those of the language model's own type, else those that the whole model's type has for that part."""
    own, whole = ConfigReader(nested).text("model_type"), ConfigReader(config).text("model_type")
    found, who = find_defaults(own)
    if not found and nested is not config:
        found, who = find_defaults(whole, "text_config")
    return found, who


def _read_kv_heads(text: ConfigReader, heads: int) -> int:
    if text.flag("multi_query_attention"):
        return text.integer("multi_query_group_num") or 1
    if text.flag("multi_query") and not text.flag("new_decoder_architecture"):
        return 1  # Falcon 7B names num_kv_heads all the same
    found = text.integer("num_key_value_heads", "n_head_kv", "num_kv_heads", "n_kv_heads", "num_attention_groups")
    found = found or text.table("attn_config").integer("kv_n_heads")
    shared = [block.table("attention").integer("n_heads_in_group") for block in text.tables("block_configs")]
    return found or max((heads // size for size in shared if size), default=heads) or heads


def _read_positions(text: ConfigReader, model_type: str) -> int:
    """The longest position, stretched as vLLM stretches it (config/model.py _get_and_verify_max_len)."""
    positions = text.integer(
        "max_position_embeddings",
        "seq_length",
        "model_max_length",
        "n_positions",
        "max_target_positions",
        "max_seq_len",
    )
    scaling = text.table("rope_scaling", "rope_parameters")
    original = scaling.integer("original_max_position_embeddings")
    factor = scaling.number("factor")
    kind = scaling.text("rope_type", "type")
    if 1 < factor < _MOST_STRETCH:
        if kind == "yarn" and original and positions <= original:
            return int(original * factor)
        if kind in ("linear", "dynamic") and positions and not model_type.startswith("gemma"):
            return int(positions * factor)
    if not positions:
        positions = 4096
        text.guess("context length", "4096", "the config names no longest position")
    return positions


def _read_tied(top: ConfigReader, text: ConfigReader, kind: TypeFacts) -> bool:
    # Of a nested config, transformers 4 asks the language model's part first, 5 the whole.
    newer = top.text("transformers_version")[:2] in ("5.", "6.")
    for reader in (top, text) if newer else (text, top):
        if reader.has("tie_word_embeddings", "tie_embedding"):
            return reader.flag("tie_word_embeddings", "tie_embedding")
    # transformers' default is tied; the types of large decoders turn it off in their own classes.
    return kind.ties or not kind.causal


def _is_headless(top: ConfigReader, model_type: str, kind: TypeFacts) -> bool:
    """Whether the weights are those of the bare class (MistralModel), which has no output head: embedding models."""
    name, marked, rest = next(iter(top.texts("architectures")), "").partition("Model")
    mine = model_type.removesuffix("_text").replace("_", "").replace("-", "")
    return not kind.head_in_model and bool(marked) and not rest and name.removesuffix("Text").lower() == mine


def _count_mlp_matrices(text: ConfigReader, kind: TypeFacts) -> int:
    if text.text("feed_forward_proj").startswith("gated"):
        return 3
    # The key of GPT-2 and what follows it, whose MLP has no gate unless its name says so.
    given = text.text("activation_function")
    return kind.mlp_matrices if not given else 3 if given in _GATED else 2


def _read_intermediate(text: ConfigReader, hidden: int) -> int:
    """Of the dense layers, which some models with experts name apart."""
    found = text.integer(
        "intermediate_size_mlp", "dense_intermediate_size", "intermediate_size", "ffn_hidden_size", "n_inner",
        "decoder_ffn_dim", "ffn_dim", "d_ff", "block_ff_dim",
    )  # fmt: skip
    if text.flag("block_auto_adjust_ff_dim"):
        step = text.integer("block_multiple_of", default=1) or 1
        found = -(-int(found * 2 / 3 * (text.number("block_ffn_dim_multiplier") or 1.0)) // step) * step
    blocks = text.tables("block_configs")
    if blocks:  # each layer has its own width: the mean stands for them
        widths = [2 * block.table("ffn").number("ffn_mult") * hidden / 3 for block in blocks]
        known = [width for width in widths if 0 < width < 1 << 32]
        found = round(sum(-(-width // 256) * 256 for width in known) / len(known)) if known else found
    return found


def _read_mla(text: ConfigReader, head_dim: int) -> Mla | None:
    rank = text.integer("kv_lora_rank")
    if not rank:
        return None
    return Mla(
        kv_rank=rank,
        q_rank=text.integer("q_lora_rank"),
        nope_dim=text.integer("qk_nope_head_dim"),
        rope_dim=text.integer("qk_rope_head_dim"),
        value_dim=text.integer("v_head_dim") or head_dim,
    )


def _read_experts(text: ConfigReader, kind: TypeFacts, intermediate: int) -> Experts | None:
    if text.has("enable_moe_block") and not text.flag("enable_moe_block"):
        return None
    nested = text.table("ffn_config")
    counts = text.integers("n_routed_experts", "num_experts", "num_local_experts", "moe_num_experts")
    counts = counts or nested.integers("moe_num_experts")
    if not counts or counts[0] <= 1:
        return None
    widths = text.integers("moe_intermediate_size", "expert_intermediate_size", "expert_ffn_hidden_size")
    widths = widths or nested.integers("ffn_hidden_size")
    widths = widths or text.integers("intermediate_size") or (intermediate,)
    # Ernie's vision experts come as a second number; they are held in memory like the others. Elsewhere a list has a
    # number for each layer.
    vision = widths[1] * counts[-1] // counts[0] if len(widths) == 2 >= len(counts) else 0
    shared = text.integer(
        "shared_expert_intermediate_size", "shared_intermediate_size", "moe_shared_expert_intermediate_size",
        "share_expert_dim",
    )  # fmt: skip
    number = text.integer("n_shared_experts", "moe_num_shared_experts", "num_shared_experts", "num_shared_expert")
    per_token = text.integers(
        "num_experts_per_tok", "moe_k", "top_k_experts", "moe_topk", "num_experts_per_token", "moe_top_k"
    )
    per_token = per_token or nested.integers("moe_top_k")
    if not per_token:
        text.guess("experts a token takes", "2", "the config does not say")
    if per_token and per_token[0] > counts[0]:
        text.guess("experts a token takes", str(counts[0]), f"the config says {per_token[0]:,}, more than there are")
    return Experts(
        count=counts[0],
        per_token=max(1, min(per_token[0], counts[0])) if per_token else 2,
        intermediate=widths[0] + vision,
        shared_intermediate=shared or (number or kind.shared_experts) * widths[0],
        latent=text.integer("moe_latent_size", "routed_expert_hidden_size"),
    )


def _read_encoder(text: ConfigReader) -> Encoder | None:
    layers = text.integer("encoder_layers") if text.has("decoder_layers") else 0
    layers = layers or (text.integer("num_layers") if text.has("num_decoder_layers") else 0)
    if not layers:
        return None
    return Encoder(
        layers=layers,
        hidden=text.integer("d_model", "hidden_size"),
        heads=text.integer("encoder_attention_heads", "num_heads"),
        intermediate=text.integer("encoder_ffn_dim", "d_ff"),
        positions=text.integer("max_source_positions", "max_position_embeddings", "n_positions"),
    )
