"""What the memory plan is asked and what it answers. Bytes are those of one rank (the heaviest) unless said."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from xpukit.serve.model_types import Guess

Origin = Literal["fact", "formula", "estimate", "guess", "measured"]
WayKind = Literal["context", "kv-dtype", "quantization", "gpus", "utilization", "host-memory", "images"]
_DTYPE_BYTES = {
    "float64": 8.0,
    "float32": 4.0,
    "float": 4.0,
    "float16": 2.0,
    "half": 2.0,
    "bfloat16": 2.0,
    "fp8": 1.0,
    "fp8_e4m3": 1.0,
    "fp8_e5m2": 1.0,
    "fp8_inc": 1.0,
    "int8": 1.0,
    "int4": 0.5,
}


def size_dtype(name: str, default: float = 2.0) -> float:
    """Bytes of a value of that dtype; `default` for a name we do not know (`auto`)."""
    return _DTYPE_BYTES.get(name, default)


class Parallel(msgspec.Struct, frozen=True, kw_only=True):
    """How the model is spread: tensor, pipeline and data parallel; experts over all ranks with `expert_parallel`."""

    tp: int = 1
    pp: int = 1
    dp: int = 1
    expert_parallel: bool = False

    @property
    def world(self) -> int:
        """Devices (or tiles) it takes."""
        return self.tp * self.pp * self.dp

    @property
    def expert_ranks(self) -> int:
        """Over how many ranks the experts of a layer are spread."""
        return self.tp * self.dp if self.expert_parallel else self.tp


class DeviceMemory(msgspec.Struct, frozen=True, kw_only=True):
    """The memory of one rank's device (or tile). `free_bytes` None: taken to be all free."""

    total_bytes: int
    free_bytes: int | None = None
    name: str = ""
    source: str = ""


class HostMemory(msgspec.Struct, frozen=True, kw_only=True):
    """The memory of the host (None: not known) and how many ranks run on it."""

    total_bytes: int | None
    ranks: int


class MemorySettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the launch asks for; None takes the engine's default for this version.

    `graphs`: the engine captures graphs (no --enforce-eager). `mla`: latent attention is used (VLLM_MLA_DISABLE unset).
    `images`: images profiled for a request; 0 turns the towers' activation off. `int4_group`: VLLM_INT4_GROUP_SIZE.
    `mtp`: the model's own MTP layers are loaded. `draft_bytes`: weights of a draft model.
    """

    engine: str = "vllm"
    version: str = ""
    utilization: float | None = None
    max_model_len: int | None = None
    max_num_seqs: int | None = None
    max_num_batched_tokens: int | None = None
    block_size: int | None = None
    dtype: str = "auto"
    kv_dtype: str = "auto"
    state_dtype: str = "auto"
    graphs: bool = True
    mla: bool = True
    images: int = 1
    int4_group: int | None = None
    mtp: bool = False
    draft_bytes: int = 0
    loras: int = 0
    lora_rank: int = 16


class MemoryRow(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the breakdown."""

    name: str
    bytes: int
    origin: Origin
    why: str


class LoadPeak(msgspec.Struct, frozen=True, kw_only=True):
    """What loading takes for a moment. `host_bytes`: all ranks of one replica's host together.

    `offload`: weights must be quantized in host memory (VLLM_OFFLOAD_WEIGHTS_BEFORE_QUANT=1). `fits_host` None: the
    host's memory is not known.
    """

    device_bytes: int
    host_bytes: int
    fits_device: bool
    fits_host: bool | None
    offload: bool
    rows: tuple[MemoryRow, ...]
    why: str


class WayOut(msgspec.Struct, frozen=True, kw_only=True):
    """Something that would make it fit. `change`: the settings to change, by name."""

    kind: WayKind
    text: str
    change: dict[str, Any]


class Correction(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine's own log said beside our estimate, kept for a host, a model and a layout."""

    host: str
    model: str
    quantization: str
    engine: str
    version: str
    tp: int
    pp: int
    weights_delta_bytes: int
    other_delta_bytes: int
    created: str
    source: str


class MemoryPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Whether it fits, and what takes how much.

    `rows`: weights, activations, buffers, KV cache: they add up to `budget_bytes` when it fits. `kv_bytes`: what is
    left for the KV cache. `max_context`: the longest single request, capped by the model's own limit;
    `memory_context`: the same without that cap. `margin_bytes`: KV cache left over after one request of
    `asked_context`. `short_bytes`: what is missing on a device when it does not fit there.
    """

    fits: bool
    reason: str
    quantization: str
    parallel: Parallel
    settings: MemorySettings
    device: DeviceMemory
    rows: tuple[MemoryRow, ...]
    budget_bytes: int
    utilization: float
    weights_bytes: int
    activation_bytes: int
    other_bytes: int
    kv_bytes: int
    kv_bytes_per_token: int
    block_size: int
    kv_blocks: int
    kv_tokens: int
    max_context: int
    memory_context: int
    asked_context: int
    request_bytes: int
    concurrency: float
    margin_bytes: int
    short_bytes: int
    load: LoadPeak
    ways_out: tuple[WayOut, ...] = ()
    guesses: tuple[Guess, ...] = ()
    correction: Correction | None = None
