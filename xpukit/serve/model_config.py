"""A config.json read as a shape. Never raises: what is missing or odd is replaced by a guess that says so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xpukit.facts.model_rules import TypeFacts, find_type
from xpukit.serve.config_reader import ConfigReader
from xpukit.serve.model_layers import read_groups
from xpukit.serve.model_towers import read_towers
from xpukit.serve.model_types import Architecture, Encoder, Experts, Guess, Mla, StateSpace, StoredQuantization

_TEXT_KEYS = ("text_config", "llm_config", "language_config", "language_model_config")
_PLAIN = TypeFacts(model_types=(), source="guess: a plain decoder")
_DEFAULT_BITS = {"awq": 4.0, "gptq": 4.0, "auto-round": 4.0, "bitsandbytes": 4.0, "mxfp4": 4.0, "nvfp4": 4.0}


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


def read_architecture(config: Mapping[str, Any]) -> tuple[Architecture, tuple[Guess, ...]]:
    """The shape that a config.json describes, and what had to be guessed."""
    top = ConfigReader(config)
    text = ConfigReader(find_text_config(config), fallback=config)
    model_type = text.text("model_type") or top.text("model_type")
    facts = find_type(model_type) or find_type(top.text("model_type"))
    if facts is None:
        named = top.text("model_type") or ", ".join(top.texts("architectures")) or "none named"
        text.guess("model type", "plain decoder", f"{named} is not among the types we know")
    kind = facts or _PLAIN
    heads = text.integer("num_attention_heads", "n_head", "decoder_attention_heads", "num_heads")
    hidden = text.integer("hidden_size", "n_embd", "d_model", "dim")
    if not heads:
        heads = max(1, hidden // 128)
        text.guess("attention heads", str(heads), "the config names none: width 128 each")
    mla = _read_mla(text)
    head_dim = text.integer("head_dim", "kv_channels", "attention_head_dim") or hidden // heads
    kv_heads = _read_kv_heads(text, heads)
    intermediate = text.integer("intermediate_size", "ffn_hidden_size", "n_inner", "decoder_ffn_dim", "ffn_dim")
    experts = _read_experts(text, intermediate)
    if not intermediate and experts is None:
        intermediate = 4 * hidden
        text.guess("intermediate size", str(intermediate), "the config names none: four times the width")
    state = _read_state(text, kind, hidden)
    groups = read_groups(text, kind, heads=kv_heads, head_dim=head_dim, experts=experts, mla=mla, state=state)
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
        max_positions=_read_positions(text),
        tied=_read_tied(top, text, kind),
        dtype=text.text("torch_dtype", "dtype", "params_dtype") or "bfloat16",
        causal=kind.causal,
        known=facts is not None,
        bias=text.flag("attention_bias", "qkv_bias", "add_qkv_bias") or model_type in ("qwen2", "qwen2_moe"),
        mlp_matrices=kind.mlp_matrices,
        query_scale=2 if text.flag("attn_output_gate") else 1,
        learned_positions=text.integer("max_position_embeddings", "max_target_positions") if kind.positions else 0,
        experts=experts,
        mla=mla,
        state=state,
        encoder=_read_encoder(text),
        towers=read_towers(config, text),
        mtp_layers=text.integer("num_nextn_predict_layers", "mtp_num_hidden_layers", "num_mtp_layers"),
    )
    for what, value in (("layers", architecture.layers), ("width", hidden), ("vocabulary", architecture.vocabulary)):
        if not value:
            text.guess(what, "0", "the config does not say: the sizes below leave it out")
    return architecture, tuple(text.guesses)


def read_quantization(config: Mapping[str, Any]) -> StoredQuantization | None:
    """How the weights are stored; None for 16 bit."""
    nested = find_text_config(config)
    found = config.get("quantization_config") or nested.get("quantization_config") or config.get("compression_config")
    if not isinstance(found, Mapping):
        return None
    reader = ConfigReader(found)
    method = reader.text("quant_method", "quant_algo").lower().replace("_", "-") or "unknown"
    bits = float(reader.integer("bits", "w_bit", "weight_bits"))
    group = reader.integer("group_size", "q_group_size")
    if method == "compressed-tensors":
        bits, group = _read_compressed(found)
    if method in ("modelopt", "modelopt-fp4") and "fp4" in (reader.text("quant_algo").lower() + method):
        method = "nvfp4"
    if method in ("fp8", "fbgemm-fp8", "modelopt"):
        bits = 8.0
    if method == "bitsandbytes":
        bits = 8.0 if reader.flag("load_in_8bit") else 4.0
    if method in ("intel/auto-round", "autoround"):
        method = "auto-round"
    block = found.get("weight_block_size")
    sizes = tuple(size for size in block if isinstance(size, int)) if isinstance(block, list | tuple) else ()
    return StoredQuantization(
        method=method,
        bits=bits or _DEFAULT_BITS.get(method, 8.0),
        group=max(0, group),
        block=(sizes[0], sizes[1]) if len(sizes) == 2 and min(sizes) > 0 else None,
        skipped=reader.texts("modules_to_not_convert", "ignored_layers", "ignore", "exclude_modules"),
    )


def _read_compressed(config: Mapping[str, Any]) -> tuple[float, int]:
    groups = config.get("config_groups")
    for group in groups.values() if isinstance(groups, Mapping) else ():
        weights = group.get("weights") if isinstance(group, Mapping) else None
        if isinstance(weights, Mapping):
            reader = ConfigReader(weights)
            return float(reader.integer("num_bits")), reader.integer("group_size")
    return 8.0, 0


def _read_kv_heads(text: ConfigReader, heads: int) -> int:
    if text.flag("multi_query_attention", "multi_query"):
        return text.integer("multi_query_group_num", "num_kv_heads") or 1
    return text.integer("num_key_value_heads", "n_head_kv", "num_kv_heads", "n_kv_heads") or heads


def _read_positions(text: ConfigReader) -> int:
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
    if scaling.text("rope_type", "type") == "yarn" and original and factor > 1 and positions <= original:
        return int(original * factor)
    if not positions:
        positions = 4096
        text.guess("context length", "4096", "the config names no longest position")
    return positions


def _read_tied(top: ConfigReader, text: ConfigReader, kind: TypeFacts) -> bool:
    for reader in (text, top):
        if reader.has("tie_word_embeddings"):
            return reader.flag("tie_word_embeddings")
    # transformers' default is tied; the types of large decoders turn it off in their own classes.
    return not kind.causal


def _read_mla(text: ConfigReader) -> Mla | None:
    rank = text.integer("kv_lora_rank")
    if not rank:
        return None
    return Mla(
        kv_rank=rank,
        q_rank=text.integer("q_lora_rank"),
        nope_dim=text.integer("qk_nope_head_dim"),
        rope_dim=text.integer("qk_rope_head_dim"),
        value_dim=text.integer("v_head_dim"),
    )


def _read_experts(text: ConfigReader, intermediate: int) -> Experts | None:
    if text.has("enable_moe_block") and not text.flag("enable_moe_block"):
        return None
    counts = text.integers("n_routed_experts", "num_experts", "num_local_experts", "moe_num_experts")
    if not counts or counts[0] <= 1:
        return None
    widths = text.integers("moe_intermediate_size", "expert_intermediate_size") or (intermediate,)
    # Ernie's vision experts come as a second number; they are held in memory like the others.
    width = widths[0] + (widths[1] * counts[-1] // counts[0] if len(widths) > 1 else 0)
    shared = text.integer("shared_expert_intermediate_size", "shared_intermediate_size")
    number = text.integer("n_shared_experts", "moe_num_shared_experts", "num_shared_experts", "num_shared_expert")
    per_token = text.integers("num_experts_per_tok", "moe_k", "top_k_experts", "moe_topk", "num_experts_per_token")
    if not per_token:
        text.guess("experts a token takes", "2", "the config does not say")
    return Experts(
        count=counts[0],
        per_token=per_token[0] if per_token else 2,
        intermediate=width,
        shared_intermediate=shared or number * widths[0],
    )


def _read_state(text: ConfigReader, kind: TypeFacts, hidden: int) -> StateSpace | None:
    if text.has("linear_num_value_heads"):
        keys = text.integer("linear_num_key_heads") * text.integer("linear_key_head_dim")
        heads = text.integer("linear_num_value_heads")
        values = heads * text.integer("linear_value_head_dim")
        width = 2 * keys + values
        return StateSpace(
            kind="gated delta net",
            conv_elements=width * max(0, text.integer("linear_conv_kernel_dim") - 1),
            state_elements=values * text.integer("linear_key_head_dim"),
            # q, k, v and the gate z, the two small gates, the convolution and the output projection
            weight_elements=hidden * (width + values + 2 * heads)
            + width * text.integer("linear_conv_kernel_dim")
            + values * hidden,
            heads=heads,
            state_dtype=text.text("mamba_ssm_dtype"),
        )
    if kind.state != "mamba":
        return None
    heads = text.integer("mamba_n_heads", "n_mamba_heads", "mamba_num_heads", "num_heads")
    inner = heads * text.integer("mamba_d_head", "mamba_head_dim", "mamba_headdim", "head_dim")
    inner = inner or text.integer("mamba_d_ssm") or text.integer("expand", "mamba_expand", default=2) * hidden
    size = text.integer("mamba_d_state", "ssm_state_size", "state_size", default=128)
    groups = text.integer("mamba_n_groups", "n_groups", "mamba_ngroups", default=1)
    kernel = text.integer("mamba_d_conv", "conv_kernel", "conv_kernel_size", default=4)
    width = inner + 2 * groups * size
    return StateSpace(
        kind="mamba",
        conv_elements=width * (kernel - 1),
        state_elements=inner * size,
        weight_elements=hidden * (width + inner + heads) + width * kernel + inner * hidden,
        heads=heads or max(1, inner // 64),
        state_dtype=text.text("mamba_ssm_dtype", "mamba_ssm_cache_dtype"),
    )


def _read_encoder(text: ConfigReader) -> Encoder | None:
    layers = text.integer("encoder_layers")
    if not layers or not text.has("decoder_layers"):
        return None
    return Encoder(
        layers=layers,
        hidden=text.integer("d_model", "hidden_size"),
        heads=text.integer("encoder_attention_heads"),
        intermediate=text.integer("encoder_ffn_dim"),
        positions=text.integer("max_source_positions", "max_position_embeddings"),
    )
