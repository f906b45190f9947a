"""Collectives by oneCCL's own benchmark, under mpirun: one run for each collective, type, number of ranks and mode.

It doubles the size of one rank's part from the smallest to the largest that is asked for. Rows whose size it cannot
reach exactly (ranks that are no power of two) are promised at the next smaller one.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from xpukit.core.errors import BadFactsError
from xpukit.core.measurement import Job, MetricKey, ParsedOutput, Promise, Skip, Target, make_key
from xpukit.evaluate.benchmark import Benchmark, Plan, Scope
from xpukit.evaluate.embedded.collective_jobs import Settings, choose_rank_counts, read_settings
from xpukit.evaluate.embedded.collective_maths import ITEM_BYTES
from xpukit.evaluate.parsers.oneccl_benchmark import parse_table
from xpukit.evaluate.tools.convert import convert_oneccl
from xpukit.evaluate.tools.jobs import build_tool_job, judge_output, list_gpus, skip_without_gpu
from xpukit.evaluate.tools.locate import Found, explain_unavailable, find_tool
from xpukit.evaluate.tools.oneapi import build_environment, capture_oneapi
from xpukit.facts.tools import get_tool
from xpukit.host import Host
from xpukit.host.answers import Ran

TOOL = "oneccl_benchmark"
_ROWS = (("algbw", "GB/s"), ("busbw", "GB/s"), ("latency", "us"))
_DTYPES = {"fp16": "float16", "bf16": "bfloat16", "fp32": "float32"}
_TOPOLOGY = {"p2p": "1", "usm": "0"}  # CCL_TOPO_P2P_ACCESS
# The program prints (and is told) one rank's part of these; rows count all ranks' together.
_PARTS = frozenset({"allgather", "reduce_scatter", "alltoall"})
_ITERATIONS, _WARMUP = 50, 20
# `-c` is left at its default: the last iteration's data is checked.
_ARGUMENTS = {
    "installer": ("-a", "gpu", "-m", "usm", "-u", "device", "-e", "in_order"),
    "public": ("-b", "sycl", "-a", "gpu", "-m", "usm", "-u", "device"),
}
_START_S = 8.0
_SLOWEST = 1e9  # bytes/s, for estimates


class Sweep(msgspec.Struct, frozen=True, kw_only=True):
    """Elements of one rank's part, first and last, and the row sizes (whole buffers) at which rows are promised."""

    first: int
    last: int
    latency_bytes: int
    sizes: tuple[int, ...]


def build_sweep(settings: Settings, collective: str, ranks: int, dtype: str) -> Sweep:
    """Powers of two throughout, so that doubling comes by all of them."""
    factor = ranks if collective in _PARTS else 1
    item = ITEM_BYTES[dtype]

    def elements(size_bytes: int) -> int:
        return 1 << max(1, size_bytes // factor // item).bit_length() - 1

    latency = elements(settings.latency_bytes) if settings.latency_bytes else 0
    counts = sorted({elements(size) for size in settings.sizes})
    all_counts = [*([latency] if latency else []), *counts]
    return Sweep(
        first=min(all_counts),
        last=max(all_counts),
        latency_bytes=latency * item * factor,
        sizes=tuple(count * item * factor for count in counts),
    )


def plan(scope: Scope) -> Plan:
    """Nothing for one GPU but rows that say so."""
    gpus = list_gpus(scope)
    if not gpus:
        return skip_without_gpu(scope, "collectives", _ROWS)
    settings = read_settings(scope.settings, "collectives")
    if not settings.sizes:
        raise BadFactsError("suite table [collectives]: sizes is empty", hint="name at least one size in bytes")
    counts = choose_rank_counts(len(gpus), settings.ranks)
    if not counts:
        labels = (gpus[0].label,)
        reason = "one GPU (or tile): a collective needs two"
        keys = [(make_key("collectives", metric, labels), unit) for metric, unit in _ROWS]
        return Plan(skips=tuple(Skip(key=key, unit=unit, reason=reason) for key, unit in keys))
    found, mpirun = find_tool(scope.host, TOOL), find_tool(scope.host, "mpirun")
    jobs = [
        _build(scope, settings, found, mpirun, gpus[:ranks], collective, dtype, mode)
        for ranks in counts
        for mode in settings.modes
        for collective in settings.collectives
        for dtype in settings.dtypes
    ]
    return Plan(jobs=tuple(jobs))


def _build(
    scope: Scope,
    settings: Settings,
    found: Found,
    mpirun: Found,
    gpus: Sequence[Target],
    collective: str,
    dtype: str,
    mode: str,
) -> Job:
    ranks = len(gpus)
    sweep = build_sweep(settings, collective, ranks, dtype)
    arguments = [*_ARGUMENTS[found.form or "installer"], "-l", collective, "-i", str(_ITERATIONS), "-w", str(_WARMUP)]
    arguments += ["-f", str(sweep.first), "-t", str(sweep.last), "-j", "off", "-p", "0", "-d", _DTYPES[dtype]]
    arguments += ["-q", "0"]
    labels = tuple(gpu.label for gpu in gpus)

    def key(metric: str, size: int) -> MetricKey:
        return make_key(
            "collectives", metric, labels, collective=collective, bytes=size, ranks=ranks, dtype=dtype, mode=mode
        )

    promises = [Promise(key=key(metric, size), unit="GB/s") for size in sweep.sizes for metric in ("algbw", "busbw")]
    if sweep.latency_bytes:
        promises.append(Promise(key=key("latency", sweep.latency_bytes), unit="us", higher_is_better=False))
    return build_tool_job(
        scope,
        benchmark="oneccl_benchmark",
        name=f"{TOOL} {collective} {dtype} {mode} {ranks}ranks",
        found=found,
        arguments=arguments,
        gpus=gpus,
        promises=promises,
        estimate_s=_START_S + (_ITERATIONS + _WARMUP) * 2 * sweep.sizes[-1] / _SLOWEST / 4,
        env={**build_environment(scope.host, found), "CCL_TOPO_P2P_ACCESS": _TOPOLOGY[mode]},
        # Without the benchmark there is nothing to launch: the reason is then its own, not mpirun's.
        launcher=(mpirun.program, "-np", str(ranks)) if found.path else (),
    )


def parse(job: Job, ran: Ran) -> ParsedOutput:
    """What it printed, under the mode in which it ran."""
    parsed = parse_table(ran.text, ran.err_text)
    mode = "p2p" if job.env.get("CCL_TOPO_P2P_ACCESS") == "1" else "usm"
    measurements = convert_oneccl(parsed, job.targets, mode)
    tools = (get_tool(TOOL), get_tool("mpirun"))
    return judge_output(job, ran, tools, measurements, problems=parsed.problems, notes=parsed.notes)


def explain_no_oneccl(host: Host) -> str:
    """Why oneCCL's benchmark cannot run here, "" when it can."""
    return explain_unavailable(host, TOOL, "mpirun") or capture_oneapi(host).problem


BENCHMARK = Benchmark(
    name="oneccl_benchmark",
    summary="collectives over ranks, P2P and USM, by oneCCL's benchmark",
    engine="tools",
    plan=plan,
    parse=parse,
    order=61,
    rows="collectives",
    available=explain_no_oneccl,
)
