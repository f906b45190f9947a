"""The CPU's own yardstick for `memory` and `transfer`: a STREAM-like method with the C library's memcpy and numpy.

Only for the CPU: a GPU's limit is in the facts about it. Runs before `memory`, whose sizes it shares.
"""

from __future__ import annotations

from xpukit.core.measurement import Promise, Skip, make_key
from xpukit.core.units import GIB, MIB, format_bytes, parse_cpu_list
from xpukit.evaluate.benchmark import Benchmark, Plan, Scope
from xpukit.evaluate.embedded.kinds.memory_ceiling import STREAM_OPERATIONS
from xpukit.evaluate.embedded.memory_sizes import method_for, round_to_mib
from xpukit.evaluate.embedded.protocol import Request, build_job, parse_worker_output
from xpukit.evaluate.last_level_cache import read_last_level_cache
from xpukit.host.native.host_stream import STREAM_ENVIRONMENT


def _list_cpus(scope: Scope) -> list[int]:
    """The CPUs that this process may use."""
    cpus = {cpu for _, text in scope.numa_nodes for cpu in parse_cpu_list(text)}
    return sorted(cpus or parse_cpu_list(scope.host.read("/sys/devices/system/cpu/online").text or "0"))


def plan(scope: Scope) -> Plan:
    """One worker, when the CPU is a target."""
    settings = scope.settings
    ops = tuple(settings.get("ops", tuple(STREAM_OPERATIONS)))
    method = method_for(scope.method, settings)
    jobs = []
    skips: list[Skip] = []
    for target in scope.targets:
        if target.kind != "cpu":
            continue
        cache_bytes = read_last_level_cache(scope.host) or 64 * MIB
        footprint_bytes = max(round_to_mib(4 * cache_bytes), 256 * MIB)
        limit_bytes = int((scope.memory_bytes or 4 * GIB) * float(settings.get("memory_fraction", 0.25)))
        keys = [make_key("memory_ceiling", "peak_bandwidth", (target.label,), op=op) for op in ops]
        if footprint_bytes > limit_bytes:
            needed = f"{format_bytes(footprint_bytes)} are needed, {format_bytes(limit_bytes)} may be used"
            skips += [Skip(key=key, unit="GB/s", reason=needed) for key in keys]
            continue
        request = Request(
            kind="memory_ceiling",
            targets=(target,),
            method=method,
            params={
                "footprint_bytes": footprint_bytes,
                "ops": list(ops),
                "cpus": _list_cpus(scope),
                "plant_error": bool(settings.get("plant_error", False)),
            },
        )
        rounds_s = max(method.time_box_s, (method.min_samples + 2) * footprint_bytes / 20e9)
        seconds_each = footprint_bytes / 1.5e9 + rounds_s
        jobs.append(
            build_job(
                benchmark="memory_ceiling",
                name="memory ceiling of the host",
                request=request,
                promises=[Promise(key=key, unit="GB/s") for key in keys],
                estimate_s=0.5 + len(ops) * seconds_each,
                env={"XPUKIT_DEVICE": "cpu", **STREAM_ENVIRONMENT},
            )
        )
    return Plan(jobs=tuple(jobs), skips=tuple(skips))


BENCHMARK = Benchmark(
    name="memory_ceiling",
    summary="yardstick of the host's memory by memcpy and numpy (CPU only)",
    engine="embedded",
    plan=plan,
    parse=parse_worker_output,
    order=25,
)
