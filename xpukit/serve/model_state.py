"""Layers that keep a fixed state instead of a cache that grows: state spaces, linear attention, short convolutions."""

from __future__ import annotations

import math

from xpukit.facts.model_rules import TypeFacts
from xpukit.serve.config_reader import ConfigReader
from xpukit.serve.model_types import StateSpace


def read_state(text: ConfigReader, kind: TypeFacts, hidden: int) -> StateSpace | None:
    """The state layer of a config.json; None where it has none."""
    if text.has("linear_num_value_heads"):
        return _read_delta_net(text, hidden)
    if kind.state == "kda":
        # transformers 5 writes the table's keys beside the others.
        nested = text.has("linear_attn_config")
        return _read_delta_attention(text.table("linear_attn_config") if nested else text, hidden)
    if kind.state == "lightning":
        heads = text.integer("num_attention_heads")
        size = text.integer("head_dim") or hidden // max(1, heads)
        return StateSpace(
            kind="lightning attention",
            conv_elements=0,
            state_elements=heads * size * size,
            weight_elements=5 * hidden * heads * size,  # query, key, value, output and its gate
            heads=max(1, heads),
            state_dtype="float32",
        )
    if kind.state == "mamba1":
        return _read_first_mamba(text, hidden)
    if kind.state == "short_conv":
        kernel = text.integer("conv_L_cache", default=3)
        width = text.integer("conv_dim") or hidden
        return StateSpace(
            kind="short convolution",
            conv_elements=width * (kernel - 1),
            state_elements=0,
            weight_elements=4 * hidden * width + width * kernel,
            heads=max(1, width // 64),
        )
    return _read_mamba(text, hidden) if kind.state == "mamba" else None


def _read_delta_net(text: ConfigReader, hidden: int) -> StateSpace:
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


def _read_delta_attention(table: ConfigReader, hidden: int) -> StateSpace | None:
    heads, size = table.integer("linear_num_heads", "num_heads"), table.integer("linear_head_dim", "head_dim")
    width, kernel = heads * size, table.integer("linear_conv_kernel_dim", "short_conv_kernel_size", default=4)
    if not width:
        return None
    # Two gates: of the decay, and of the output (through a narrow pair of matrices unless full).
    gate = hidden * width if table.flag("use_full_rank_gate") else hidden * size + size * width
    return StateSpace(
        kind="delta attention",
        conv_elements=3 * width * (kernel - 1),
        state_elements=width * size,
        weight_elements=4 * hidden * width + hidden * size + size * width + gate + hidden * heads + 3 * width * kernel,
        heads=heads,
        state_dtype="float32",
    )


def _read_first_mamba(text: ConfigReader, hidden: int) -> StateSpace:
    expanded = text.integer("expand", "mamba_expand", default=2) * hidden
    # Jamba's intermediate_size is that of its MLP; Mamba's own is the mixer's width.
    inner = expanded if text.has("mamba_expand") else text.integer("intermediate_size") or expanded
    size = text.integer("state_size", "mamba_d_state", default=16)
    kernel = text.integer("conv_kernel", "mamba_d_conv", default=4)
    rank = text.integer("time_step_rank", "mamba_dt_rank") or math.ceil(hidden / 16)
    return StateSpace(
        kind="mamba",
        conv_elements=inner * (kernel - 1),
        state_elements=inner * size,
        weight_elements=3 * hidden * inner + inner * (kernel + 2 * rank + 3 * size),
        heads=max(1, inner // 64),
    )


def _read_mamba(text: ConfigReader, hidden: int) -> StateSpace:
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
