"""What a model is, as far as its size, its memory and its speed go."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from xpukit.facts.models import Category, ModelEntry, Need, NeedKind, Task

AttentionKind = Literal["full", "sliding", "mla", "linear", "mamba", "none"]
MlpKind = Literal["dense", "moe", "both", "none"]
TowerKind = Literal["vision", "audio"]
ModelSource = Literal["registry", "directory", "config-file", "name"]


class Guess(msgspec.Struct, frozen=True, kw_only=True):
    """Something that no source gave: what, the value used, and why that one."""

    what: str
    value: str
    why: str


class LayerGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Layers of one kind. `kv_heads`, `head_dim`: of their attention; `window`: tokens that a windowed layer sees.

    `blocks`: the layers share the weights of so many; 0: each has its own.
    """

    count: int
    attention: AttentionKind
    mlp: MlpKind
    kv_heads: int = 0
    head_dim: int = 0
    window: int = 0
    blocks: int = 0

    @property
    def stored(self) -> int:
        """How many layers' weights there are."""
        return self.blocks or self.count


class Experts(msgspec.Struct, frozen=True, kw_only=True):
    """The mixture of experts of a layer. Widths are intermediate sizes; `shared_intermediate` is the sum over all.

    `latent`: the width of what the routed experts are given, where it is not that of the model.
    """

    count: int
    per_token: int
    intermediate: int
    shared_intermediate: int = 0
    latent: int = 0


class Mla(msgspec.Struct, frozen=True, kw_only=True):
    """Multi-head latent attention. `q_rank` 0: queries are projected directly."""

    kv_rank: int
    q_rank: int
    nope_dim: int
    rope_dim: int
    value_dim: int


class StateSpace(msgspec.Struct, frozen=True, kw_only=True):
    """A linear-attention or mamba layer, whole (not per rank).

    `conv_elements` and `state_elements` are what a sequence keeps in the layer, `weight_elements` the layer's matrices.
    `state_dtype`: of the recurrent state, from the config; "" where it does not say.
    """

    kind: str
    conv_elements: int
    state_elements: int
    weight_elements: int
    heads: int
    state_dtype: str = ""


class Tower(msgspec.Struct, frozen=True, kw_only=True):
    """A vision or audio encoder in front of the decoder."""

    kind: TowerKind
    parameters: int
    layers: int
    hidden: int
    heads: int


class Encoder(msgspec.Struct, frozen=True, kw_only=True):
    """The encoder of an encoder-decoder model, whose output each decoder layer attends to."""

    layers: int
    hidden: int
    heads: int
    intermediate: int
    positions: int


class Architecture(msgspec.Struct, frozen=True, kw_only=True):
    """The shape of a model. `bias`: query, key and value projections have one. `mlp_matrices`: 3 with a gate, else 2.

    `query_scale`: 2 where the query projection also makes the output gate. `known` False: the model type is not among
    those we know, and it is sized as a plain decoder. `per_layer_embeddings`: elements of the tables that each layer
    has of its own; `other_parameters`: what else the type is known to hold.
    """

    name: str
    model_type: str
    groups: tuple[LayerGroup, ...]
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocabulary: int
    max_positions: int
    tied: bool
    dtype: str
    causal: bool = True
    known: bool = True
    bias: bool = False
    mlp_matrices: int = 3
    query_scale: int = 1
    learned_positions: int = 0
    experts: Experts | None = None
    mla: Mla | None = None
    state: StateSpace | None = None
    encoder: Encoder | None = None
    towers: tuple[Tower, ...] = ()
    mtp_layers: int = 0
    per_layer_embeddings: int = 0
    other_parameters: int = 0

    @property
    def layers(self) -> int:
        """Decoder layers, the MTP layers left out."""
        return sum(group.count for group in self.groups)

    @property
    def is_moe(self) -> bool:
        """Whether a layer has experts."""
        return self.experts is not None

    @property
    def is_hybrid(self) -> bool:
        """Whether some layers keep a fixed state instead of a cache that grows."""
        return any(group.attention in ("linear", "mamba") for group in self.groups)


class StoredQuantization(msgspec.Struct, frozen=True, kw_only=True):
    """How the weights are stored, from quantization_config. `block`: (rows, columns) that share a scale.

    `skipped`: modules that stay in 16 bit, as the config names them.
    """

    method: str
    bits: float
    group: int = 0
    block: tuple[int, int] | None = None
    skipped: tuple[str, ...] = ()


class Tensor(msgspec.Struct, frozen=True, kw_only=True):
    """A tensor of a safetensors file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    bytes: int

    @property
    def elements(self) -> int:
        """How many values it has."""
        count = 1
        for size in self.shape:
            count *= size
        return count


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """What lies on disk, read from indices and headers. `complete`: every shard's header could be read.

    `parts`: bytes by part (see weights.PART_NAMES), empty where only the index could be read.
    """

    total_bytes: int
    files: int
    tensors: int
    complete: bool
    source: str
    largest_file_bytes: int = 0
    parts: dict[str, int] = {}
    dtypes: dict[str, int] = {}
    missing: tuple[str, ...] = ()


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A model to serve. `registered`: the quantizations that llm-scaler's table ticks for it, if any.

    `path`: its directory on this machine, "" for an id.
    """

    text: str
    id: str
    path: str
    source: ModelSource
    config_source: str
    category: Category
    tasks: tuple[Task, ...]
    architecture: Architecture
    quantization: StoredQuantization | None = None
    stored: Stored | None = None
    needs: tuple[Need, ...] = ()
    registered: tuple[str, ...] = ()
    entry: ModelEntry | None = None
    generation: dict[str, Any] = {}
    guesses: tuple[Guess, ...] = ()
    note: str = ""

    @property
    def name(self) -> str:
        """The last part of its id or path."""
        return (self.id or self.path).rstrip("/").rpartition("/")[2]

    @property
    def is_pre_quantized(self) -> bool:
        """Whether its weights are stored quantized."""
        return self.quantization is not None

    def list_needs(self, kind: NeedKind) -> tuple[Need, ...]:
        """The needs of one kind."""
        return tuple(need for need in self.needs if need.kind == kind)
