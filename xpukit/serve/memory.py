"""Does it fit: weights, activations, buffers and KV cache of the heaviest rank against what the engine may use."""

from __future__ import annotations

from typing import Any

import msgspec

from xpukit.facts.model_rules import find_rule
from xpukit.serve.activation import size_activations, size_buffers, size_graphs
from xpukit.serve.kv_cache import KvLayout, count_concurrency, count_kv_tokens, find_max_context, lay_out_kv
from xpukit.serve.load_peak import find_load_peak
from xpukit.serve.memory_types import (
    Correction,
    DeviceMemory,
    HostMemory,
    LoadPeak,
    MemoryPlan,
    MemoryRow,
    MemorySettings,
    Origin,
    Parallel,
)
from xpukit.serve.model_types import Guess, Model
from xpukit.serve.ways_out import list_ways_out
from xpukit.serve.weights import size_rank, valid_tp

__all__ = ("apply_needs", "find_default", "fit_memory", "valid_tp")

_GIB = 1 << 30
_UNBOUNDED = 1 << 31  # tokens: beyond any model's limit


def fit_memory(
    model: Model,
    *,
    quantization: str,
    device: DeviceMemory,
    parallel: Parallel | None = None,
    settings: MemorySettings | None = None,
    host_memory_bytes: int | None = None,
    correction: Correction | None = None,
    available_gpus: int | None = None,
    gpus_per_host: int | None = None,
    quantizations: tuple[str, ...] = (),
    checkpoints: tuple[str, ...] = (),
    with_ways: bool = True,
) -> MemoryPlan:
    """The memory plan of one launch. `quantization`: none, fp8, sym_int4, mxfp4 or stored.

    `available_gpus`, `quantizations` and `checkpoints` (ways of storing weights in 4 bits that are read here) are what
    `ways_out` may propose when it does not fit; `gpus_per_host` (else all
    that are available) bounds how many ranks load their weights through one host's memory. `with_ways` False leaves the
    ways out: they take twenty times as long as the rest, and of many divisions only one is shown.
    """
    parallel = parallel or Parallel()
    settings = apply_needs(model, settings or MemorySettings())
    on_host = gpus_per_host or available_gpus or parallel.world
    host = HostMemory(total_bytes=host_memory_bytes, ranks=min(parallel.world, on_host))
    plan = _fit(model, quantization, device, parallel, settings, host, correction)
    if plan.fits or not with_ways:
        return plan
    ways = list_ways_out(
        model,
        plan,
        host=host,
        correction=correction,
        available_gpus=available_gpus,
        gpus_per_host=on_host if gpus_per_host or available_gpus else None,
        quantizations=quantizations,
        checkpoints=checkpoints,
        fit=_fit,
    )
    return msgspec.structs.replace(plan, ways_out=ways)


def apply_needs(model: Model, settings: MemorySettings) -> MemorySettings:
    """The settings under what the model's guide makes a launch set: latent attention off, int4 groups, state dtype."""
    if not settings.engine.endswith("vllm"):
        return settings
    changes: dict[str, Any] = {}
    for need in model.needs:
        if not need.required:
            continue
        if need.value == "VLLM_MLA_DISABLE=1":
            changes["mla"] = False
        name, _, value = need.value.replace("=", " ").partition(" ")
        if name == "VLLM_INT4_GROUP_SIZE" and value.isdigit() and settings.int4_group is None:
            changes["int4_group"] = int(value)
        if name == "--mamba-ssm-cache-dtype" and settings.state_dtype == "auto":
            changes["state_dtype"] = value
    return msgspec.structs.replace(settings, **changes) if changes else settings


def find_default(name: str, settings: MemorySettings, device_bytes: int) -> float:
    """An engine's default for this version and device; 0.0 where none is known."""
    rule = find_rule(name, engine=settings.engine, version=settings.version, device_bytes=device_bytes)
    return rule.value if rule else 0.0


def _fit(
    model: Model,
    quantization: str,
    device: DeviceMemory,
    parallel: Parallel,
    settings: MemorySettings,
    host: HostMemory,
    correction: Correction | None,
) -> MemoryPlan:
    tokens = settings.max_num_batched_tokens or int(
        find_default("max_num_batched_tokens", settings, device.total_bytes) or 2048
    )
    asked = _pick_context(model, settings)
    if not model.architecture.causal:
        tokens = max(tokens, asked)  # an encoder takes a text whole
    sequences = settings.max_num_seqs or int(find_default("max_num_seqs", settings, device.total_bytes) or 256)
    weights, parts = size_rank(model, quantization=quantization, parallel=parallel, settings=settings)
    activations = size_activations(
        model, parallel=parallel, settings=settings, batched_tokens=tokens, sequences=sequences
    )
    buffers = size_buffers(model, parallel=parallel, settings=settings, batched_tokens=tokens)
    graphs, in_budget = size_graphs(settings, device.total_bytes)
    rows = [
        MemoryRow(
            name="weights",
            bytes=weights,
            origin=_worst(parts),
            why="; ".join(f"{row.name} {row.bytes / _GIB:.2f} GiB" for row in parts[:5]),
        ),
        *activations,
        *buffers,
    ]
    if in_budget and graphs.bytes:
        rows.append(graphs)
    activation_bytes = sum(row.bytes for row in activations)
    other_bytes = sum(row.bytes for row in buffers) + (graphs.bytes if in_budget else 0)
    if correction is not None:
        rows.append(_correct(correction))
        weights += correction.weights_delta_bytes
    budget, utilization, budget_reason = _find_budget(device, settings, weights, other_bytes + activation_bytes)
    if correction is not None:
        # After the budget: where that grows with what is beside the cache, the correction would undo itself.
        other_bytes += correction.other_delta_bytes
    kv_bytes = budget - weights - activation_bytes - other_bytes
    layout = lay_out_kv(model.architecture, parallel, settings)
    load = find_load_peak(
        model,
        quantization=quantization,
        weights_bytes=weights,
        device=device,
        parallel=parallel,
        settings=settings,
        host_memory_bytes=host.total_bytes,
        host_ranks=host.ranks,
    )
    request = layout.count_request_blocks(asked, tokens) * layout.block_bytes
    margin = kv_bytes - request
    reason = budget_reason or _find_reason(layout, kv_bytes, request, asked, load, host.total_bytes)
    short = _find_short(reason, budget, device, weights, activation_bytes + other_bytes, request, load)
    concurrency = 0.0
    if kv_bytes > 0:
        concurrency = count_concurrency(layout, kv_bytes, asked, settings=settings, batched_tokens=tokens)
    rows.append(
        MemoryRow(
            name="KV cache",
            bytes=max(0, kv_bytes),
            origin="formula",
            why=f"what is left of {utilization:.0%}; {layout.bytes_per_token:,} bytes a token, {layout.why}",
        )
    )
    limit = model.architecture.max_positions or _UNBOUNDED
    return MemoryPlan(
        fits=not reason,
        reason=reason,
        quantization=quantization,
        parallel=parallel,
        settings=settings,
        device=device,
        rows=tuple(rows),
        budget_bytes=budget,
        utilization=utilization,
        weights_bytes=weights,
        activation_bytes=activation_bytes,
        other_bytes=other_bytes,
        kv_bytes=kv_bytes,
        kv_bytes_per_token=layout.bytes_per_token,
        block_size=layout.block_size,
        kv_blocks=layout.count_blocks(kv_bytes),
        kv_tokens=_count_tokens(layout, kv_bytes, concurrency, asked, settings),
        max_context=find_max_context(layout, kv_bytes, limit, tokens) if kv_bytes > 0 else 0,
        memory_context=find_max_context(layout, kv_bytes, _UNBOUNDED, tokens) if kv_bytes > 0 else 0,
        asked_context=asked,
        request_bytes=request,
        concurrency=concurrency,
        margin_bytes=margin,
        short_bytes=short,
        load=load,
        guesses=_list_guesses(model, rows),
        correction=correction,
    )


def _pick_context(model: Model, settings: MemorySettings) -> int:
    return settings.max_model_len or model.architecture.max_positions or 4096


def _count_tokens(layout: KvLayout, kv_bytes: int, concurrency: float, asked: int, settings: MemorySettings) -> int:
    """Tokens as this version's log counts them."""
    rule = find_rule("kv_tokens", engine=settings.engine, version=settings.version)
    if rule is not None and not layout.is_empty:
        return int(concurrency * asked)
    return count_kv_tokens(layout, kv_bytes)


def _find_budget(device: DeviceMemory, settings: MemorySettings, weights: int, other: int) -> tuple[int, float, str]:
    """What weights, activations and cache may take together, the fraction, and why the engine would refuse at once."""
    utilization = settings.utilization or find_default("utilization", settings, device.total_bytes) or 0.9
    free = device.free_bytes if device.free_bytes is not None else device.total_bytes
    rule = find_rule("budget", engine=settings.engine, version=settings.version)
    habit = rule.text if rule else "of-total"
    if habit == "of-free":
        left = max(0, free - weights - other)
        return min(weights + other + int(left * utilization), free), utilization, ""
    if habit == "static":
        # Activations live outside the static part, which must leave room for them.
        static = int(device.total_bytes * utilization)
        return min(static + other, free), utilization, ""
    wanted = int(device.total_bytes * utilization)
    if free < wanted:
        return (
            wanted,
            utilization,
            f"{free / _GIB:.2f} GiB are free and the engine asks for {utilization:.0%} of "
            f"{device.total_bytes / _GIB:.2f} GiB ({wanted / _GIB:.2f} GiB) at start",
        )
    return wanted, utilization, ""


def _find_reason(
    layout: KvLayout, kv_bytes: int, request: int, asked: int, load: LoadPeak, host_memory_bytes: int | None
) -> str:
    if kv_bytes < 0 or (kv_bytes == 0 and not layout.is_empty):
        return f"weights and activations alone exceed what may be used by {-kv_bytes / _GIB:.2f} GiB"
    if request > kv_bytes:
        return (
            f"one request of {asked:,} tokens needs {request / _GIB:.2f} GiB of KV cache, {kv_bytes / _GIB:.2f} GiB "
            "are left for it"
        )
    if not load.fits_device:
        return f"while loading, a device needs {load.device_bytes / _GIB:.2f} GiB, more than it has free"
    if load.fits_host is False:
        return (
            f"while loading, the host needs {load.host_bytes / _GIB:.1f} GiB of memory, "
            f"{(host_memory_bytes or 0) / _GIB:.1f} GiB are there"
        )
    return ""


def _find_short(
    reason: str, budget: int, device: DeviceMemory, weights: int, other: int, request: int, load: LoadPeak
) -> int:
    if not reason:
        return 0
    free = device.free_bytes if device.free_bytes is not None else device.total_bytes
    return max(0, weights + other + request - min(budget, free), load.device_bytes - free, budget - free)


def _worst(parts: tuple[MemoryRow, ...]) -> Origin:
    origins = {part.origin for part in parts}
    order: tuple[Origin, ...] = ("guess", "estimate", "formula", "fact")
    for origin in order:
        if origin in origins:
            return origin
    return "formula"


def _correct(correction: Correction) -> MemoryRow:
    return MemoryRow(
        name="calibration",
        bytes=correction.weights_delta_bytes + correction.other_delta_bytes,
        origin="measured",
        why=f"weights {correction.weights_delta_bytes / _GIB:+.2f} GiB, the rest "
        f"{correction.other_delta_bytes / _GIB:+.2f} GiB, from {correction.source}"
        + (f" ({correction.engine} {correction.version}, {correction.created[:10]})" if correction.created else ""),
    )


def _list_guesses(model: Model, rows: list[MemoryRow]) -> tuple[Guess, ...]:
    found = [*model.guesses]
    found.extend(
        Guess(what=row.name, value=f"{row.bytes / _GIB:.2f} GiB", why=row.why) for row in rows if row.origin == "guess"
    )
    return tuple(found)
