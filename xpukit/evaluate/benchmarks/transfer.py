"""Copies between host and device memory, from each NUMA node to each device: bandwidth, peak, latency.

GB/s are 1e9 bytes of payload per second (a copy's bytes counted once). Each node's worker binds itself to the node's
CPUs and memory by system call (host/native/numa_binding.py), so no numactl is needed.
"""

from __future__ import annotations

from typing import Any

from xpukit.core.errors import BadFactsError
from xpukit.core.measurement import Method, Promise, Skip, Target
from xpukit.core.units import GIB, MIB, format_bytes
from xpukit.evaluate.benchmark import Benchmark, Plan, Scope
from xpukit.evaluate.embedded.environment import build_worker_environment
from xpukit.evaluate.embedded.kinds.transfer import route_key
from xpukit.evaluate.embedded.memory_sizes import list_sizes, method_for, round_to_mib
from xpukit.evaluate.embedded.protocol import Request, build_job, parse_worker_output
from xpukit.evaluate.last_level_cache import read_last_level_cache
from xpukit.evaluate.side_by_side import claim_cards_and_nodes

_GPU_PEAK_FROM_BYTES = 64 * MIB
_START_S = 1.5
_BUFFERS = 4  # two on each side
HOST_MEMORIES = ("pageable", "pinned", "shared")


def list_routes(settings: dict[str, Any], *, with_d2d: bool) -> list[tuple[str, str]]:
    """(direction, memory) pairs; those of one host memory stand together, so that its buffers are made once."""
    directions = settings.get("directions", ("h2d", "d2h", "d2d", "h2h"))
    memories = settings.get("memories", HOST_MEMORIES)
    unknown = [name for name in directions if name not in ("h2d", "d2h", "d2d", "h2h")]
    unknown += [name for name in memories if name not in HOST_MEMORIES]
    if unknown:
        raise BadFactsError(
            f"suite table [transfer]: unknown {', '.join(map(str, unknown))}",
            hint="directions are h2d, d2h, d2d, h2h; memories are pageable, pinned, shared",
        )
    routes = [(way, memory) for memory in memories for way in directions if way != "d2d"]
    return [*routes, *([("d2d", "device")] if with_d2d and "d2d" in directions else [])]


def _choose_peak_size(target: Target, settings: dict[str, Any], limit_bytes: int, cache_bytes: int) -> tuple[int, str]:
    """The copy for the peak and "", or 0 and why there is none. On the CPU both buffers are 4 times its cache."""
    if target.kind == "gpu":
        wanted = min(int(settings.get("gpu_peak_bytes", 256 * MIB)), limit_bytes // MIB * MIB)
        enough = wanted >= _GPU_PEAK_FROM_BYTES
        needed = _GPU_PEAK_FROM_BYTES
    else:
        wanted = needed = max(round_to_mib(2 * cache_bytes), 128 * MIB)
        enough = wanted <= limit_bytes
    if enough:
        return wanted, ""
    return 0, f"{format_bytes(needed)} per buffer are needed, {format_bytes(limit_bytes)} may be used"


def plan(scope: Scope) -> Plan:
    """One worker per target and NUMA node; copies inside the device are measured by the first node's worker only."""
    settings = scope.settings
    method = method_for(scope.method, settings)
    has_cpu = any(target.kind == "cpu" for target in scope.targets)
    cache_bytes = (read_last_level_cache(scope.host) if has_cpu else None) or 64 * MIB
    nodes = scope.numa_nodes or ((0, ""),)
    host_bytes = scope.memory_bytes or 4 * GIB
    jobs = []
    skips: list[Skip] = []
    for target in scope.targets:
        known = min(host_bytes // len(nodes), target.memory_bytes or host_bytes)
        limit_bytes = int(known * float(settings.get("memory_fraction", 0.4))) // _BUFFERS
        peak_bytes, reason = _choose_peak_size(target, settings, limit_bytes, cache_bytes)
        extra = [peak_bytes] if peak_bytes else []
        sizes = sorted({*list_sizes(settings, limit_bytes=limit_bytes, table="transfer"), *extra})
        if not sizes:
            continue
        from_bytes = peak_bytes if target.kind == "cpu" else _GPU_PEAK_FROM_BYTES
        peak_sizes = [size for size in sizes if peak_bytes and size >= from_bytes]
        for place, (node, cpus) in enumerate(nodes):
            routes = list_routes(settings, with_d2d=place == 0)
            promises: list[Promise] = []
            for way, memory in routes:
                latency = route_key("latency", target.label, way, memory, node, sizes[0])
                promises.append(Promise(key=latency, unit="us", higher_is_better=False))
                promises += [
                    Promise(key=route_key("bandwidth", target.label, way, memory, node, size), unit="GB/s")
                    for size in sizes
                ]
                peak = route_key("peak_bandwidth", target.label, way, memory, node, None)
                if reason:
                    skips.append(Skip(key=peak, unit="GB/s", reason=reason))
                else:
                    promises.append(Promise(key=peak, unit="GB/s"))
            request = Request(
                kind="transfer",
                targets=(target,),
                method=method,
                params={
                    "routes": routes,
                    "sizes_bytes": sizes,
                    "peak_sizes_bytes": peak_sizes,
                    "host_node": node,
                    "bind_cpus": cpus if len(nodes) > 1 else None,
                    "plant_error": bool(settings.get("plant_error", False)),
                },
            )
            jobs.append(
                build_job(
                    benchmark="transfer",
                    name=f"transfer {target.label} node {node}",
                    request=request,
                    promises=promises,
                    estimate_s=_estimate(method, len(routes), sizes),
                    env=build_worker_environment((target,)),
                )
            )
    return Plan(jobs=tuple(jobs), skips=tuple(skips))


def _estimate(method: Method, routes: int, sizes: list[int]) -> float:
    """Seconds: start, and for each size its time box and touching and checking the data (about 2 GB/s)."""
    each = [
        method.warmup_limit_s / 2 + max(method.time_box_s, (method.min_samples + 6) * size / 10e9) + size / 1e9
        for size in (sizes[0], *sizes)
    ]
    return _START_S + routes * sum(each)


BENCHMARK = Benchmark(
    name="transfer",
    summary="copies between host and device memory, per NUMA node",
    engine="embedded",
    plan=plan,
    parse=parse_worker_output,
    order=40,
    claims=claim_cards_and_nodes,
)
