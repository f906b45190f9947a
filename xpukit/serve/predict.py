"""A predicted decode rate, prefill rate and time to first token of a launch, with what bounds it.

The heaviest rank's time of one step: its linear layers, its reads of the KV cache, its collectives, and the gaps
between kernels. `bench` puts the fact beside it later.
"""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from xpukit.facts.models import find_estimate
from xpukit.serve.device_speed import DeviceSpeed, SpeedKind, time_all_reduce, time_linear
from xpukit.serve.kv_cache import lay_out_kv, size_state
from xpukit.serve.linear_shapes import LinearShape, count_expert_use, list_linears
from xpukit.serve.memory import apply_needs, find_default
from xpukit.serve.memory_types import MemorySettings, Parallel
from xpukit.serve.model_types import Model
from xpukit.serve.weights import size_element

Bound = Literal["memory", "compute", "collective", "launch gaps"]
Phase = Literal["decode", "prefill"]


class SpeedTerm(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a step's time."""

    name: str
    phase: Phase
    bound: Bound
    seconds: float
    why: str


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """Rates in tokens a second. `ttft_s`: of one request alone; `ttft_loaded_s`: of the last of `concurrency` at once.

    `decode_bound`: "" for a model that does not decode. `kind` and `source` are those of the device's speed; a
    prediction is never better than an estimate.
    """

    decode_tps_per_sequence: float
    decode_tps_total: float
    prefill_tps: float
    ttft_s: float
    ttft_loaded_s: float
    decode_bound: str
    prefill_bound: str
    terms: tuple[SpeedTerm, ...]
    kind: SpeedKind
    source: str
    note: str
    prompt_tokens: int
    output_tokens: int
    concurrency: int


def predict_speed(
    model: Model,
    *,
    quantization: str,
    parallel: Parallel,
    speed: DeviceSpeed,
    settings: MemorySettings | None = None,
    prompt_tokens: int = 1024,
    output_tokens: int = 512,
    concurrency: int = 1,
) -> Prediction:
    """What this launch should reach with requests of that shape."""
    settings = apply_needs(model, settings or MemorySettings())
    shapes = list_linears(model, quantization=quantization, parallel=parallel, settings=settings)
    batch = max(1, math.ceil(concurrency / parallel.dp))
    context = prompt_tokens + output_tokens / 2
    batched = settings.max_num_batched_tokens or int(find_default("max_num_batched_tokens", settings, 0) or 8192)
    chunk = min(prompt_tokens, batched) if model.architecture.causal else prompt_tokens
    prefill = _time_prefill(model, shapes, parallel, speed, settings, prompt_tokens, chunk)
    prefill_s = sum(term.seconds for term in prefill)
    decode: list[SpeedTerm] = []
    if model.architecture.causal:
        decode = _time_decode(model, shapes, parallel, speed, settings, batch, context)
    step_s = sum(term.seconds for term in decode)
    # Pipeline stages work on different batches at the same time once there are enough requests.
    overlap = min(parallel.pp, batch)
    return Prediction(
        decode_tps_per_sequence=1 / step_s if step_s else 0.0,
        decode_tps_total=batch * parallel.dp * overlap / step_s if step_s else 0.0,
        prefill_tps=prompt_tokens / prefill_s * parallel.dp * overlap,
        ttft_s=prefill_s + step_s,
        ttft_loaded_s=prefill_s * batch / overlap + step_s,
        decode_bound=_find_bound(decode),
        prefill_bound=_find_bound(prefill),
        terms=(*decode, *prefill),
        kind=speed.kind,
        source=speed.source,
        note=_write_note(quantization, speed, settings),
        prompt_tokens=prompt_tokens,
        output_tokens=output_tokens,
        concurrency=concurrency,
    )


def _time_decode(
    model: Model,
    shapes: tuple[LinearShape, ...],
    parallel: Parallel,
    speed: DeviceSpeed,
    settings: MemorySettings,
    batch: int,
    context: float,
) -> list[SpeedTerm]:
    memory_s, compute_s = _time_linears(model, shapes, speed, batch)
    terms = [
        SpeedTerm(
            name="weights", phase="decode", bound="memory", seconds=memory_s, why=f"linear layers at a batch of {batch}"
        )
    ]
    if compute_s:
        terms.append(
            SpeedTerm(name="products", phase="decode", bound="compute", seconds=compute_s, why="linear layers")
        )
    read = _count_cache_bytes(model, parallel, settings, context) * batch
    rate = speed.memory_gbps * 1e9 * find_estimate("kv_read_efficiency").value
    terms.append(
        SpeedTerm(
            name="KV cache",
            phase="decode",
            bound="memory",
            seconds=read / rate,
            why=f"{batch} sequences of {context:,.0f} tokens; {find_estimate('kv_read_efficiency').source}",
        )
    )
    terms.extend(_time_rest(model, parallel, speed, settings, batch, "decode", 1))
    return terms


def _time_prefill(
    model: Model,
    shapes: tuple[LinearShape, ...],
    parallel: Parallel,
    speed: DeviceSpeed,
    settings: MemorySettings,
    prompt: int,
    chunk: int,
) -> list[SpeedTerm]:
    shape = model.architecture
    steps = prompt / chunk
    memory_s, compute_s = _time_linears(model, shapes, speed, chunk)
    terms = [
        SpeedTerm(
            name="products",
            phase="prefill",
            bound="compute",
            seconds=compute_s * steps,
            why=f"linear layers, {chunk:,} tokens in a step",
        )
    ]
    if memory_s:
        terms.append(
            SpeedTerm(name="weights", phase="prefill", bound="memory", seconds=memory_s * steps, why="linear layers")
        )
    products = 0.0
    for group in shape.groups:
        if group.attention in ("full", "sliding", "mla"):
            seen = min(group.window or prompt, prompt)
            # Scores and values, two operations each, half of the square under the causal mask.
            products += group.count * 4 * prompt * seen * (0.5 if shape.causal else 1.0) * shape.heads * group.head_dim
    estimate = find_estimate("attention_efficiency")
    terms.append(
        SpeedTerm(
            name="attention",
            phase="prefill",
            bound="compute",
            seconds=products / parallel.tp / (speed.tflops * 1e12 * estimate.value),
            why=f"{prompt:,} tokens against each other; {estimate.source}",
        )
    )
    terms.extend(_time_rest(model, parallel, speed, settings, chunk, "prefill", steps))
    return terms


def _time_linears(
    model: Model, shapes: tuple[LinearShape, ...], speed: DeviceSpeed, tokens: float
) -> tuple[float, float]:
    """Seconds of all linear layers of a step: those bound by reading weights, and those bound by products."""
    memory = compute = 0.0
    for shape in shapes:
        count, m = shape.count, tokens
        if shape.experts:
            used, each = count_expert_use(shape.experts, shape.per_token, tokens)
            count, m = shape.count * used / shape.shares, each
        seconds = count * time_linear(
            speed, m=max(1.0, m), n=shape.n, k=shape.k, weight_bytes=shape.weight_bytes, eight_bit=shape.quantized
        )
        reading = shape.weight_bytes / (speed.memory_gbps * 1e9)
        if reading >= 2 * max(1.0, m) / (speed.tflops * 1e12):
            memory += seconds
        else:
            compute += seconds
    return memory, compute


def _time_rest(
    model: Model,
    parallel: Parallel,
    speed: DeviceSpeed,
    settings: MemorySettings,
    tokens: float,
    phase: Phase,
    steps: float,
) -> list[SpeedTerm]:
    shape = model.architecture
    terms = []
    message = tokens * shape.hidden * size_element(settings.dtype, shape)
    if parallel.tp > 1:
        each = time_all_reduce(speed, ranks=parallel.tp, message_bytes=message)
        terms.append(
            SpeedTerm(
                name="all-reduce",
                phase=phase,
                bound="collective",
                seconds=2 * shape.layers * each * steps,
                why=f"two a layer of {message:,.0f} bytes between {parallel.tp} ranks",
            )
        )
    if parallel.pp > 1:
        each = speed.link_latency_s + message / (speed.link_gbps * 1e9)
        terms.append(
            SpeedTerm(
                name="hand-over",
                phase=phase,
                bound="collective",
                seconds=(parallel.pp - 1) * each * steps,
                why=f"between {parallel.pp} stages",
            )
        )
    estimate = find_estimate("graph_layer_seconds" if settings.graphs else "eager_layer_seconds")
    terms.append(
        SpeedTerm(
            name="launch gaps",
            phase=phase,
            bound="launch gaps",
            seconds=estimate.value * shape.layers * steps,
            why=estimate.source,
        )
    )
    return terms


def _count_cache_bytes(model: Model, parallel: Parallel, settings: MemorySettings, context: float) -> float:
    """Bytes of the KV cache and states that one token of one sequence reads on a rank."""
    shape = model.architecture
    one_stage = msgspec.structs.replace(parallel, pp=1)
    layout = lay_out_kv(shape, one_stage, settings)
    if layout.is_empty:
        return 0.0
    read = 0.0
    for group in layout.groups:
        if group.block_tokens == 0:
            layers = group.copies * layout.layers_per_group
            read += 2 * layers * size_state(shape, one_stage, settings)
            continue
        token = layout.page_bytes / group.block_tokens * layout.layers_per_group * group.copies
        length = group.fixed_tokens or (min(group.window, context) if group.window else context)
        read += token * length
    return read


def _find_bound(terms: list[SpeedTerm]) -> str:
    if not terms:
        return ""
    totals: dict[str, float] = {}
    for term in terms:
        totals[term.bound] = totals.get(term.bound, 0.0) + term.seconds
    return max(totals, key=lambda bound: totals[bound])


def _write_note(quantization: str, speed: DeviceSpeed, settings: MemorySettings) -> str:
    notes = ["the gaps between kernels and the attention's efficiency are guesses"]
    if quantization in ("sym_int4", "mxfp4") and speed.gemm:
        notes.append(f"no {quantization} kernels were measured: those of fp8 stand for them, with fewer bytes")
    if speed.kind == "spec":
        notes.append("from the specification with a guessed efficiency")
    return "; ".join(notes)
