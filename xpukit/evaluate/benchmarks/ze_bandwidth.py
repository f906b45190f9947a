"""Copies between pinned host memory and device by ze_bandwidth, over sizes, verified by it (-v).

It is bound to each NUMA node in turn where there are several and numactl is here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from xpukit.core.measurement import Job, MetricKey, Param, ParsedOutput, Promise, Skip, Target, make_key
from xpukit.core.units import GIB, MIB
from xpukit.evaluate.benchmark import Benchmark, Plan, Scope
from xpukit.evaluate.device_rates import estimate_copy_bytes_per_s
from xpukit.evaluate.embedded.memory_sizes import list_sizes
from xpukit.evaluate.parsers.ze_bandwidth import parse_ze_bandwidth
from xpukit.evaluate.side_by_side import claim_cards_and_nodes
from xpukit.evaluate.tools.convert import PEAK_FROM_BYTES, convert_ze_bandwidth
from xpukit.evaluate.tools.jobs import (
    UNCOMPRESSED,
    build_tool_job,
    count_iterations,
    judge_output,
    list_gpus,
    number_targets,
    skip_without_gpu,
)
from xpukit.evaluate.tools.locate import Found, explain_unavailable, find_tool
from xpukit.facts.tools import get_tool
from xpukit.host import Host
from xpukit.host.answers import Ran

TOOL = "ze_bandwidth"
# It reads sizes as int in some generations.
_LARGEST = GIB
_ROWS = (("bandwidth", "GB/s"), ("peak_bandwidth", "GB/s"), ("latency", "us"))


def plan(scope: Scope) -> Plan:
    """A job for each GPU and NUMA node; it doubles the size from the suite's smallest to its largest."""
    gpus = list_gpus(scope)
    if not gpus:
        return skip_without_gpu(scope, "transfer", _ROWS)
    found = find_tool(scope.host, TOOL)
    nodes = _choose_nodes(scope)
    directions = [way for way in scope.settings.get("directions", ("h2d", "d2h")) if way in ("h2d", "d2h")]
    jobs: list[Job] = []
    skips: list[Skip] = []
    for gpu in gpus:
        sizes = _choose_sizes(scope, gpu)
        if not sizes or not directions:
            continue
        measured = [size for size in sizes if _is_doubled(sizes[0], size)]
        for node, launcher in nodes:
            about: dict[str, Param] = {} if node is None else {"host_node": node}
            promises = list(_list_promises(gpu, directions, measured, about))
            for way in directions:
                for size in sizes:
                    if size not in measured:
                        key = _key("bandwidth", gpu, way, about, size)
                        reason = f"{TOOL} doubles the size from {sizes[0]} bytes and never comes by this one"
                        skips.append(Skip(key=key, unit="GB/s", reason=reason))
            jobs.append(_build(scope, found, gpu, node, launcher, measured, promises))
    return Plan(jobs=tuple(jobs), skips=tuple(skips))


def _choose_nodes(scope: Scope) -> list[tuple[int | None, tuple[str, ...]]]:
    """(node, what binds to it). Several nodes and no numactl: wherever the scheduler puts it, node not known."""
    nodes = [node for node, _ in scope.numa_nodes] or [0]
    if len(nodes) == 1:
        return [(nodes[0], ())]
    numactl = find_tool(scope.host, "numactl")
    if not numactl.path:
        return [(None, ())]
    return [(node, (numactl.path, f"--cpunodebind={node}", f"--membind={node}")) for node in nodes]


def _choose_sizes(scope: Scope, gpu: Target) -> list[int]:
    known = min(scope.memory_bytes or 4 * GIB, gpu.memory_bytes or 4 * GIB)
    limit = min(int(known * float(scope.settings.get("memory_fraction", 0.4))) // 4, _LARGEST)
    peak = min(int(scope.settings.get("gpu_peak_bytes", 256 * MIB)), limit)
    sizes = list_sizes(scope.settings, limit_bytes=limit, table="transfer")
    return sorted({*sizes, *([1 << peak.bit_length() - 1] if peak >= PEAK_FROM_BYTES else [])})


def _is_doubled(first: int, size: int) -> bool:
    ratio, rest = divmod(size, first)
    return rest == 0 and ratio & (ratio - 1) == 0


def _key(metric: str, gpu: Target, way: str, about: dict[str, Param], size: int | None) -> MetricKey:
    more: dict[str, Param] = {} if size is None else {"bytes": size}
    return make_key("transfer", metric, (gpu.label,), direction=way, memory="pinned", **about, **more)


def _list_promises(
    gpu: Target, directions: Sequence[str], sizes: Sequence[int], about: dict[str, Param]
) -> Iterator[Promise]:
    for way in directions:
        yield Promise(key=_key("latency", gpu, way, about, sizes[0]), unit="us", higher_is_better=False)
        for size in sizes:
            yield Promise(key=_key("bandwidth", gpu, way, about, size), unit="GB/s")
        if sizes[-1] >= PEAK_FROM_BYTES:
            yield Promise(key=_key("peak_bandwidth", gpu, way, about, None), unit="GB/s")


def _build(
    scope: Scope,
    found: Found,
    gpu: Target,
    node: int | None,
    launcher: Sequence[str],
    sizes: Sequence[int],
    promises: Sequence[Promise],
) -> Job:
    iterations = count_iterations(scope)
    # Two directions and both at once, each size after the one of half of it.
    estimate_s = 2.0 + 3 * 2 * sizes[-1] * iterations / estimate_copy_bytes_per_s(gpu)
    return build_tool_job(
        scope,
        benchmark="ze_bandwidth",
        name=f"{TOOL} {gpu.label}" + ("" if node is None else f" node {node}"),
        found=found,
        arguments=("-v", "-i", str(iterations), "-sb", str(sizes[0]), "-se", str(sizes[-1])),
        gpus=(gpu,),
        promises=promises,
        estimate_s=estimate_s,
        env=UNCOMPRESSED,
        launcher=launcher if found.path else (),
    )


def parse(job: Job, ran: Ran) -> ParsedOutput:
    """What it printed, for the node that the job's promises name."""
    parsed = parse_ze_bandwidth(ran.text, ran.err_text)
    nodes = {dict(promise.key.params).get("host_node") for promise in job.promises}
    node = next((node for node in nodes if isinstance(node, int)), None)
    measurements = convert_ze_bandwidth(parsed, number_targets(job), host_node=node)
    tools = (get_tool(TOOL), get_tool("numactl"))
    return judge_output(job, ran, tools, measurements, problems=parsed.problems, notes=parsed.notes)


def explain_no_bandwidth(host: Host) -> str:
    """Why ze_bandwidth cannot run here, "" when it can."""
    return explain_unavailable(host, TOOL)


BENCHMARK = Benchmark(
    name="ze_bandwidth",
    summary="copies between pinned host memory and device (ze_bandwidth)",
    engine="tools",
    plan=plan,
    parse=parse,
    order=41,
    rows="transfer",
    available=explain_no_bandwidth,
    claims=claim_cards_and_nodes,
)
