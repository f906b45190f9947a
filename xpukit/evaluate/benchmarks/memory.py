"""Bandwidth of device memory: read, write, copy and triad kernels over footprints from 4 KiB to far beyond the caches.

GB/s are 1e9 bytes/s, bytes counted as STREAM counts them. `bytes` is the footprint: all arrays of the operation
together. `peak_bandwidth` is taken only from footprints of at least 4 times the last-level
cache (CPU), or 256 MiB and 4 times the device's cache (GPU).
"""

from __future__ import annotations

from typing import Any

from xpukit.core.measurement import Method, Promise, Skip, Target, make_key
from xpukit.core.units import GIB, MIB, format_bytes
from xpukit.evaluate.benchmark import Benchmark, Plan, Scope
from xpukit.evaluate.embedded.environment import build_worker_environment
from xpukit.evaluate.embedded.memory_sizes import ARRAYS, list_sizes, method_for, round_to_mib
from xpukit.evaluate.embedded.protocol import Request, build_job, parse_worker_output
from xpukit.evaluate.last_level_cache import read_last_level_cache
from xpukit.evaluate.side_by_side import claim_cards

_CACHE_MULTIPLE = 4
_GPU_PEAK_FROM_BYTES = 256 * MIB
_START_S = 1.5


def _choose_peak_size(
    target: Target, settings: dict[str, Any], limit_bytes: int, cache_bytes: int | None
) -> tuple[int, str]:
    """The footprint for the peak and "", or 0 and the reason why there is none."""
    if target.kind == "gpu":
        wanted = min(int(settings.get("gpu_peak_bytes", 2 * GIB)), limit_bytes // MIB * MIB)
        if wanted < _GPU_PEAK_FROM_BYTES:
            return 0, f"{format_bytes(_GPU_PEAK_FROM_BYTES)} are needed, {format_bytes(limit_bytes)} may be used"
        return wanted, ""
    if cache_bytes is None:
        cache_bytes = 64 * MIB  # sysfs says nothing: more than most, and the peak's note tells the footprint
    wanted = max(round_to_mib(_CACHE_MULTIPLE * cache_bytes), _GPU_PEAK_FROM_BYTES)
    if wanted > limit_bytes:
        return 0, (
            f"{format_bytes(wanted)} are needed ({_CACHE_MULTIPLE} times the last-level cache), "
            f"{format_bytes(limit_bytes)} may be used"
        )
    return wanted, ""


def _memory_limit(target: Target, scope: Scope) -> int:
    fraction = float(scope.settings.get("memory_fraction", 0.25))
    known = target.memory_bytes if target.kind == "gpu" else scope.memory_bytes or target.memory_bytes
    return int((known or 4 * GIB) * fraction)


def plan(scope: Scope) -> Plan:
    """One worker per target. A peak that this machine's memory does not allow is skipped with the reason."""
    settings = scope.settings
    ops = tuple(settings.get("ops", tuple(ARRAYS)))
    method = method_for(scope.method, settings)
    has_cpu = any(target.kind == "cpu" for target in scope.targets)
    cache_bytes = read_last_level_cache(scope.host) if has_cpu else None
    jobs = []
    skips: list[Skip] = []
    for target in scope.targets:
        limit_bytes = _memory_limit(target, scope)
        peak_bytes, reason = _choose_peak_size(target, settings, limit_bytes, cache_bytes)
        extra = [peak_bytes] if peak_bytes else []
        sizes = sorted({*list_sizes(settings, limit_bytes=limit_bytes, table="memory"), *extra})
        from_bytes = peak_bytes if target.kind == "cpu" else _GPU_PEAK_FROM_BYTES
        peak_sizes = [size for size in sizes if peak_bytes and size >= from_bytes]
        request = Request(
            kind="memory",
            targets=(target,),
            method=method,
            params={
                "sizes_bytes": sizes,
                "peak_sizes_bytes": peak_sizes,
                "ops": list(ops),
                "stores": settings.get("stores", "best"),
                "plant_error": bool(settings.get("plant_error", False)),
            },
        )
        promises = [
            Promise(key=make_key("memory", "bandwidth", (target.label,), op=op, bytes=size), unit="GB/s")
            for op in ops
            for size in sizes
        ]
        for op in ops:
            key = make_key("memory", "peak_bandwidth", (target.label,), op=op)
            if reason:
                skips.append(Skip(key=key, unit="GB/s", reason=reason))
            else:
                promises.append(Promise(key=key, unit="GB/s"))
        if not sizes:
            continue
        jobs.append(
            build_job(
                benchmark="memory",
                name=f"memory {target.label}",
                request=request,
                promises=promises,
                estimate_s=_estimate(method, len(ops), sizes, target),
                env=build_worker_environment((target,)),
            )
        )
    return Plan(jobs=tuple(jobs), skips=tuple(skips))


def _estimate(method: Method, ops: int, sizes: list[int], target: Target) -> float:
    """Seconds: start, the time box of each size, and touching and checking the data of each (about 2 GB/s)."""
    slowest_gbps = 10.0 if target.kind == "cpu" else 100.0
    runs = method.min_samples + 8
    measuring = sum(max(method.time_box_s, runs * size / 1e9 / slowest_gbps) for size in sizes)
    return _START_S + ops * (measuring + sum(sizes) / 2e9 + len(sizes) * method.warmup_limit_s / 2)


BENCHMARK = Benchmark(
    name="memory",
    summary="device memory bandwidth: read, write, copy, triad",
    engine="embedded",
    plan=plan,
    parse=parse_worker_output,
    order=30,
    claims=claim_cards,
)
