"""What would make a model fit that does not: a shorter context, other weights, more devices."""

from __future__ import annotations

import math
from typing import Any, Protocol

import msgspec

from xpukit.facts.model_rules import find_quantization
from xpukit.serve.kv_cache import find_max_context, lay_out_kv
from xpukit.serve.memory_types import Correction, DeviceMemory, HostMemory, MemoryPlan, MemorySettings, Parallel, WayOut
from xpukit.serve.model_types import Model, StoredQuantization
from xpukit.serve.weights import valid_tp

_GIB = 1 << 30
_LEAST_CONTEXT = 2048  # below this a shorter context is no way out
_LARGEST_WORLD = 64
_MOST_STAGES = 4
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
    checkpoints: tuple[str, ...],
    fit: Fit,
) -> tuple[WayOut, ...]:
    """At most three, cheapest first, each checked by planning it again: settings, weights, devices.

    `checkpoints`: the ways of storing 4-bit weights that the engine reads on this device.
    """

    def try_it(
        quantization: str, parallel: Parallel, settings: MemorySettings, other: Model | None = None
    ) -> MemoryPlan:
        here = HostMemory(total_bytes=host.total_bytes, ranks=min(parallel.world, gpus_per_host or parallel.world))
        own = correction if other is None else None
        return fit(other or model, quantization, plan.device, parallel, settings, here, own)

    small = _find_checkpoint(model, checkpoints)
    ways = [
        *_lower_utilization(plan, try_it),
        *_shorten_context(model, plan, try_it),
        *_shrink_cache(plan, try_it),
        *_quantize(plan, quantizations, try_it),
        *_store(plan, small, try_it),
    ]
    devices = _add_devices(model, plan, available_gpus, try_it)
    if len(ways) < _COUNT:
        limit = devices[1] if devices else _LARGEST_WORLD + 1
        ways += _combine(model, plan, quantizations, small, limit, try_it) if not ways else []
        ways += [devices[0]] if devices else []
    return tuple(ways[:_COUNT])


class _Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """The model as it would be if it were stored in 4 bits, and what such checkpoints are called."""

    model: Model
    name: str


def _find_checkpoint(model: Model, methods: tuple[str, ...]) -> _Checkpoint | None:
    if not methods or model.quantization is not None:
        return None
    facts = find_quantization(methods[0])
    stored = StoredQuantization(method=methods[0], bits=4.0, group=facts.group if facts else 128)
    own = msgspec.structs.replace(model, quantization=stored, stored=None)
    return _Checkpoint(model=own, name=" or ".join(method.upper() for method in methods))


class _Try(Protocol):
    def __call__(
        self, quantization: str, parallel: Parallel, settings: MemorySettings, other: Model | None = None
    ) -> MemoryPlan: ...


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


def _store(plan: MemoryPlan, small: _Checkpoint | None, try_it: _Try) -> list[WayOut]:
    """Another checkpoint of the same model, quantized beforehand."""
    if small is None or find_bits(plan.quantization) <= 4:
        return []
    found = try_it("stored", plan.parallel, plan.settings, small.model)
    if not found.fits:
        return []
    saved = (plan.weights_bytes - found.weights_bytes) / _GIB
    text = f"a 4-bit checkpoint of the model ({small.name}), if there is one: {saved:.1f} GiB less on a device"
    return [WayOut(kind="quantization", text=text, change={})]


def _list_divisions(model: Model, plan: MemoryPlan, most: int) -> list[Parallel]:
    """Larger ones, the fewest devices first; without a pipeline before one with."""
    shape = model.architecture
    found = [
        msgspec.structs.replace(plan.parallel, tp=tp, pp=pp)
        for tp in valid_tp(shape, _LARGEST_WORLD)
        for pp in range(1, min(_MOST_STAGES, shape.layers) + 1)
    ]
    larger = [one for one in found if plan.parallel.world < one.world <= most and one.tp >= plan.parallel.tp]
    return sorted(larger, key=lambda one: (one.world, one.pp))


def _describe(parallel: Parallel) -> str:
    stages = f", pipeline parallel {parallel.pp}" if parallel.pp > 1 else ""
    return f"tensor parallel {parallel.tp}{stages}"


def _add_devices(model: Model, plan: MemoryPlan, available: int | None, try_it: _Try) -> tuple[WayOut, int] | None:
    """The fewest devices that the launch fits in as it is, and how many they are."""
    for parallel in _list_divisions(model, plan, _LARGEST_WORLD):
        if not try_it(plan.quantization, parallel, plan.settings).fits:
            continue
        have = "" if available is None else f"; {available} {'is' if available == 1 else 'are'} there"
        text = f"{parallel.world} devices ({_describe(parallel)}){have}"
        return WayOut(kind="gpus", text=text, change={"tp": parallel.tp, "pp": parallel.pp}), parallel.world
    return None


def _combine(
    model: Model,
    plan: MemoryPlan,
    quantizations: tuple[str, ...],
    small: _Checkpoint | None,
    limit: int,
    try_it: _Try,
) -> list[WayOut]:
    """Nothing helps alone: the strongest weights with the fewest devices and whatever context that leaves.

    `limit`: devices that would be enough without; only fewer are told.
    """
    names = sorted({*quantizations, plan.quantization}, key=find_bits)
    choices: list[tuple[str, str, Model | None]] = [(name, f"{name} weights", None) for name in names]
    if small is not None and find_bits(names[0]) > 4:
        choices.insert(0, ("stored", f"a 4-bit checkpoint ({small.name}), if there is one,", small.model))
    settings = msgspec.structs.replace(plan.settings, max_model_len=min(plan.asked_context, _LEAST_CONTEXT))
    for parallel in (plan.parallel, *_list_divisions(model, plan, limit - 1)):
        for name, words, other in choices:
            found = try_it(name, parallel, settings, other)
            if not found.fits:
                continue
            layout = lay_out_kv(model.architecture, parallel, settings)
            tokens = settings.max_num_batched_tokens or 2048
            length = find_max_context(layout, found.kv_bytes, plan.asked_context, tokens)
            devices = f"{parallel.world} devices ({_describe(parallel)})" if parallel.world > 1 else "one device"
            change: dict[str, Any] = {"tp": parallel.tp, "pp": parallel.pp, "max_model_len": length}
            change |= {"quantization": name} if other is None else {}
            text = f"{devices} with {words} and a context of {length:,} tokens"
            return [WayOut(kind="gpus", text=text, change=change)]
    return []
