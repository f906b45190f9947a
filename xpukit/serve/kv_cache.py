"""The KV cache as vLLM lays it out: groups of layers that share pages, blocks, and what a request takes of them.

All pages of a rank have one size. Layers of one kind make one or more groups of equally many layers; a block is one
page for each layer of a group. A request takes, of each group, the blocks that its tokens (or its window, or its one
state) need. Source: vLLM v1/core/kv_cache_utils.py (get_kv_cache_groups, get_max_concurrency_for_kv_cache_config).
"""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from xpukit.facts.model_rules import find_rule
from xpukit.serve.memory_types import MemorySettings, Parallel, size_dtype
from xpukit.serve.model_types import Architecture, LayerGroup
from xpukit.serve.weights import size_element

GroupKind = Literal["full", "sliding", "latent", "state", "cross"]


class KvGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Layers that share a block table, `copies` times. `block_tokens` 0: one block whatever the length (a state)."""

    kind: GroupKind
    copies: int
    block_tokens: int
    window: int = 0
    fixed_tokens: int = 0


class KvLayout(msgspec.Struct, frozen=True, kw_only=True):
    """How the cache of one rank is laid out. `block_bytes`: of a block, all layers of a group together.

    `bytes_per_token`: what one more token costs in all layers whose cache grows for ever.
    """

    groups: tuple[KvGroup, ...]
    block_size: int
    page_bytes: int
    layers_per_group: int
    bytes_per_token: int
    why: str

    @property
    def block_bytes(self) -> int:
        """Bytes of one block."""
        return self.page_bytes * self.layers_per_group

    @property
    def is_empty(self) -> bool:
        """Whether the model keeps no cache (encoder-only)."""
        return not self.groups

    def count_request_blocks(self, length: int, batched_tokens: int) -> int:
        """Blocks that one request of that many tokens takes. `batched_tokens`: of one scheduling step."""
        blocks = 0
        for group in self.groups:
            if group.block_tokens == 0:
                blocks += group.copies
                continue
            tokens = group.fixed_tokens or length
            spare = 0
            if group.window:  # the window may begin inside a block, hence one more
                tokens = min(tokens, group.window - 1 + batched_tokens)
                spare = 1
            blocks += group.copies * (math.ceil(tokens / group.block_tokens) + spare)
        return blocks

    def count_blocks(self, kv_bytes: int) -> int:
        """Whole blocks in that many bytes."""
        return max(0, kv_bytes) // self.block_bytes if self.block_bytes else 0


class _Spec(msgspec.Struct, frozen=True, kw_only=True):
    kind: GroupKind
    layers: int
    token_bytes: int
    window: int = 0
    fixed_tokens: int = 0
    state_bytes: int = 0


def lay_out_kv(architecture: Architecture, parallel: Parallel, settings: MemorySettings) -> KvLayout:
    """The layout of one rank."""
    rule = find_rule("block_size", engine=settings.engine, version=settings.version)
    block = settings.block_size or (int(rule.value) if rule else 16)
    specs = _list_specs(architecture, parallel, settings)
    if not specs or not architecture.causal:
        return KvLayout(
            groups=(), block_size=block, page_bytes=0, layers_per_group=0, bytes_per_token=0, why="no KV cache"
        )
    attention = [spec for spec in specs if spec.token_bytes]
    state_page = max((spec.state_bytes for spec in specs), default=0)
    widest = max((spec.token_bytes for spec in attention), default=0)
    why = f"blocks of {block} tokens"
    if state_page and widest and state_page > widest * block:
        # vLLM makes the attention page as large as the state's, in steps of the block.
        block = math.ceil(state_page / widest / block) * block
        why = f"blocks of {block} tokens, so that a page holds a layer's {state_page:,} bytes of state"
    page = max(widest * block, state_page)
    per_group = _choose_group_size([spec.layers for spec in specs])
    return KvLayout(
        groups=tuple(
            KvGroup(
                kind=spec.kind,
                copies=math.ceil(spec.layers / per_group),
                block_tokens=page // spec.token_bytes if spec.token_bytes else 0,
                window=spec.window,
                fixed_tokens=spec.fixed_tokens,
            )
            for spec in specs
        ),
        block_size=block,
        page_bytes=page,
        layers_per_group=per_group,
        bytes_per_token=sum(
            spec.layers * spec.token_bytes for spec in specs if not spec.window and not spec.fixed_tokens
        ),
        why=why,
    )


def _choose_group_size(counts: list[int]) -> int:
    least, most = min(counts), max(counts)
    # With little difference vLLM pads to the larger number, else it repeats the smaller one.
    return most if most < least * 1.5 else least


def _list_specs(architecture: Architecture, parallel: Parallel, settings: MemorySettings) -> list[_Spec]:
    kv_each = size_dtype(settings.kv_dtype, default=size_element(settings.dtype, architecture))
    found: dict[tuple[GroupKind, int, int, int], int] = {}
    for group in architecture.groups:
        layers = math.ceil(group.count / parallel.pp)
        kind, token_bytes, state_bytes = _size_layer(architecture, group, parallel, settings, kv_each)
        if kind is not None:
            key = (kind, token_bytes, group.window if kind == "sliding" else 0, state_bytes)
            found[key] = found.get(key, 0) + layers
    specs = [
        _Spec(kind=kind, layers=layers, token_bytes=token, window=window, state_bytes=state)
        for (kind, token, window, state), layers in found.items()
    ]
    if architecture.encoder:
        heads = max(1, architecture.heads // parallel.tp)
        specs.append(
            _Spec(
                kind="cross",
                layers=math.ceil(architecture.layers / parallel.pp),
                token_bytes=int(2 * heads * architecture.head_dim * kv_each),
                fixed_tokens=architecture.encoder.positions,
            )
        )
    return specs


def _size_layer(
    architecture: Architecture, group: LayerGroup, parallel: Parallel, settings: MemorySettings, kv_each: float
) -> tuple[GroupKind | None, int, int]:
    """Kind, bytes a token, bytes of state of a layer on one rank."""
    if group.attention == "none":
        return None, 0, 0
    if group.attention in ("linear", "mamba"):
        return ("state", 0, size_state(architecture, parallel, settings)) if architecture.state else (None, 0, 0)
    if group.attention == "mla" and architecture.mla is not None:
        mla = architecture.mla
        if settings.mla:  # the latent is the same for all heads: every rank keeps it
            return "latent", int((mla.kv_rank + mla.rope_dim) * kv_each), 0
        heads = max(1, architecture.heads // parallel.tp)
        # With MLA off vLLM pads the values to the width of the keys.
        return "full", int(2 * heads * (mla.nope_dim + mla.rope_dim) * kv_each), 0
    heads = max(1, group.kv_heads // parallel.tp)
    token = int(2 * heads * group.head_dim * kv_each)
    if not token:
        return None, 0, 0
    return ("sliding" if group.window else "full"), token, 0


def size_state(architecture: Architecture, parallel: Parallel, settings: MemorySettings) -> int:
    """Bytes that a sequence keeps in one linear-attention or mamba layer on one rank."""
    state = architecture.state
    if state is None:
        return 0
    each = size_element(settings.dtype, architecture)
    asked = settings.state_dtype if settings.state_dtype != "auto" else state.state_dtype
    share = min(parallel.tp, max(1, state.heads))
    return round((state.conv_elements * each + state.state_elements * size_dtype(asked, default=each)) / share)


def count_kv_tokens(layout: KvLayout, kv_bytes: int) -> int:
    """Tokens as the engine's start-up log counts them (`GPU KV cache size`): one table's share of the blocks."""
    tables = sum(group.copies for group in layout.groups)
    return layout.count_blocks(kv_bytes) // tables * layout.block_size if tables else 0


def find_max_context(layout: KvLayout, kv_bytes: int, limit: int, batched_tokens: int) -> int:
    """The longest single request that fits, at most `limit` tokens; 0 where not even one token does."""
    if layout.is_empty:
        return limit
    blocks = layout.count_blocks(kv_bytes)
    if layout.count_request_blocks(1, batched_tokens) > blocks:
        return 0
    low, high = 1, limit
    while low < high:
        middle = (low + high + 1) // 2
        if layout.count_request_blocks(middle, batched_tokens) <= blocks:
            low = middle
        else:
            high = middle - 1
    return low


def count_concurrency(
    layout: KvLayout, kv_bytes: int, length: int, *, settings: MemorySettings, batched_tokens: int
) -> float:
    """Requests of that length that fit at once, as the engine's log puts it (the rule changed with its version)."""
    if layout.is_empty or length <= 0:
        return float(settings.max_num_seqs or 1)
    rule = find_rule("concurrency", engine=settings.engine, version=settings.version)
    if rule is not None and rule.text == "tokens" and len(layout.groups) == 1:
        return count_kv_tokens(layout, kv_bytes) / length
    return layout.count_blocks(kv_bytes) / layout.count_request_blocks(length, batched_tokens)
