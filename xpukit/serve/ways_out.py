"""What would make a model fit that does not: a shorter context, other weights, more devices."""

from __future__ import annotations

import math
from typing import Protocol

import msgspec

from xpukit.facts.model_rules import find_quantization
from xpukit.serve.kv_cache import find_max_context, lay_out_kv
from xpukit.serve.memory_types import Correction, DeviceMemory, HostMemory, MemoryPlan, MemorySettings, Parallel, WayOut
from xpukit.serve.model_types import Model
from xpukit.serve.weights import valid_tp

_GIB = 1 << 30
_LEAST_CONTEXT = 2048  # below this a shorter context is no way out
_LARGEST_TP = 64
_COUNT = 3


class Fit(Protocol):
    """The planner of memory.py."""

    def __call__(
        self,
        model: Model,
        quantization: str,
        device: DeviceMemory,
        parallel: Parallel,
        settings: MemorySettings,
        host: HostMemory,
        correction: Correction | None,
    ) -> MemoryPlan: ...


def list_ways_out(
    model: Model,
    plan: MemoryPlan,
    *,
    host: HostMemory,
    correction: Correction | None,
    available_gpus: int | None,
    gpus_per_host: int | None,
    quantizations: tuple[str, ...],
    fit: Fit,
) -> tuple[WayOut, ...]:
    """At most three, cheapest first, each checked by planning it again: settings, weights, devices."""

    def try_it(quantization: str, parallel: Parallel, settings: MemorySettings) -> MemoryPlan:
        here = HostMemory(total_bytes=host.total_bytes, ranks=min(parallel.world, gpus_per_host or parallel.world))
        return fit(model, quantization, plan.device, parallel, settings, here, correction)

    ways = [
        *_lower_utilization(plan, try_it),
        *_shorten_context(model, plan, try_it),
        *_shrink_cache(plan, try_it),
        *_quantize(plan, quantizations, try_it),
        *_add_devices(model, plan, available_gpus, try_it),
    ]
    if not ways:
        ways = _combine(model, plan, quantizations, try_it)
    return tuple(ways[:_COUNT])


class _Try(Protocol):
    def __call__(self, quantization: str, parallel: Parallel, settings: MemorySettings) -> MemoryPlan: ...


def _lower_utilization(plan: MemoryPlan, try_it: _Try) -> list[WayOut]:
    """Another process holds part of the device: ask for what is free."""
    free = plan.device.free_bytes
    if free is None or free >= plan.budget_bytes:
        return []
    fraction = math.floor(100 * free / plan.device.total_bytes) / 100
    if fraction <= 0:
        return []
    found = try_it(plan.quantization, plan.parallel, msgspec.structs.replace(plan.settings, utilization=fraction))
    if not found.fits:
        return []
    return [
        WayOut(
            kind="utilization",
            text=f"memory utilization {fraction:.2f}, or end what holds the rest of the device",
            change={"utilization": fraction},
        )
    ]


def _shorten_context(model: Model, plan: MemoryPlan, try_it: _Try) -> list[WayOut]:
    length = plan.max_context if plan.kv_bytes > 0 else 0
    if length < _LEAST_CONTEXT or length >= plan.asked_context:
        return []
    length -= length % plan.block_size if length > plan.block_size else 0
    found = try_it(plan.quantization, plan.parallel, msgspec.structs.replace(plan.settings, max_model_len=length))
    if not found.fits:
        return []
    return [
        WayOut(
            kind="context",
            text=f"a context of {length:,} tokens instead of {plan.asked_context:,}",
            change={"max_model_len": length},
        )
    ]


def _shrink_cache(plan: MemoryPlan, try_it: _Try) -> list[WayOut]:
    if plan.settings.kv_dtype not in ("auto", "float16", "bfloat16") or plan.kv_bytes <= 0:
        return []
    found = try_it(plan.quantization, plan.parallel, msgspec.structs.replace(plan.settings, kv_dtype="fp8"))
    if not found.fits:
        return []
    return [
        WayOut(
            kind="kv-dtype",
            text="an fp8 KV cache: half the bytes a token (costs accuracy; the engine must have it on this device)",
            change={"kv_dtype": "fp8"},
        )
    ]


def _quantize(plan: MemoryPlan, quantizations: tuple[str, ...], try_it: _Try) -> list[WayOut]:
    """The mildest quantization that fits."""
    bits = find_bits(plan.quantization)
    for name in sorted(quantizations, key=lambda name: -find_bits(name)):
        if find_bits(name) >= bits:
            continue
        found = try_it(name, plan.parallel, plan.settings)
        if found.fits:
            saved = (plan.weights_bytes - found.weights_bytes) / _GIB
            return [
                WayOut(
                    kind="quantization",
                    text=f"{name} weights: {saved:.1f} GiB less on a device",
                    change={"quantization": name},
                )
            ]
    return []


def find_bits(name: str) -> float:
    """Bits of a weight under that quantization; 16 for stored ones that are as they are."""
    facts = find_quantization(name)
    return facts.bits if facts else 16.0


def _add_devices(model: Model, plan: MemoryPlan, available: int | None, try_it: _Try) -> list[WayOut]:
    for tp in valid_tp(model.architecture, _LARGEST_TP):
        if tp <= plan.parallel.tp:
            continue
        parallel = msgspec.structs.replace(plan.parallel, tp=tp)
        if not try_it(plan.quantization, parallel, plan.settings).fits:
            continue
        have = "" if available is None else f"; {available} {'is' if available == 1 else 'are'} there"
        return [
            WayOut(
                kind="gpus",
                text=f"{parallel.world} devices (tensor parallel {tp}){have}",
                change={"tp": tp},
            )
        ]
    return []


def _combine(model: Model, plan: MemoryPlan, quantizations: tuple[str, ...], try_it: _Try) -> list[WayOut]:
    """Nothing helps alone: the strongest quantization with the fewest devices and whatever context that leaves."""
    names = sorted({*quantizations, plan.quantization}, key=find_bits)
    settings = msgspec.structs.replace(plan.settings, max_model_len=min(plan.asked_context, _LEAST_CONTEXT))
    for tp in (size for size in valid_tp(model.architecture, _LARGEST_TP) if size >= plan.parallel.tp):
        parallel = msgspec.structs.replace(plan.parallel, tp=tp)
        for name in names:
            if not try_it(name, parallel, settings).fits:
                continue
            layout = lay_out_kv(model.architecture, parallel, settings)
            found = try_it(name, parallel, settings)
            tokens = settings.max_num_batched_tokens or 2048
            length = find_max_context(layout, found.kv_bytes, plan.asked_context, tokens)
            text = f"{parallel.world} devices with {name} weights and a context of {length:,} tokens"
            return [WayOut(kind="gpus", text=text, change={"tp": tp, "quantization": name, "max_model_len": length})]
    return []
