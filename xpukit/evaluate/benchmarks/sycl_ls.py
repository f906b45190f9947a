"""Whether SYCL sees the GPUs that are measured: sycl-ls under the same selection as the measuring programs."""

from __future__ import annotations

from xpukit.core.measurement import Job, Measurement, ParsedOutput, Promise, make_key
from xpukit.evaluate.benchmark import Benchmark, Plan, Scope
from xpukit.evaluate.parsers.sycl_ls import parse_sycl_ls
from xpukit.evaluate.tools.jobs import build_tool_job, judge_output, list_gpus, skip_without_gpu
from xpukit.evaluate.tools.locate import explain_unavailable, find_tool
from xpukit.evaluate.tools.oneapi import build_environment, capture_oneapi
from xpukit.facts.tools import get_tool
from xpukit.host import Host
from xpukit.host.answers import Ran

TOOL = "sycl-ls"
UNIT = "status"


def plan(scope: Scope) -> Plan:
    """One job for all GPUs (or tiles)."""
    gpus = list_gpus(scope)
    if not gpus:
        return skip_without_gpu(scope, "sycl", (("visible", UNIT),))
    found = find_tool(scope.host, TOOL)
    labels = tuple(gpu.label for gpu in gpus)
    job = build_tool_job(
        scope,
        benchmark="sycl_ls",
        name=TOOL,
        found=found,
        arguments=(),
        gpus=gpus,
        promises=[Promise(key=make_key("sycl", "visible", labels), unit=UNIT)],
        estimate_s=3.0,
        env=build_environment(scope.host, found),
    )
    return Plan(jobs=(job,))


def parse(job: Job, ran: Ran) -> ParsedOutput:
    """1 when it lists as many GPUs over Level Zero as are measured. Its exit code is 0 for most errors."""
    parsed = parse_sycl_ls(ran.text, ran.err_text)
    measurements = []
    if parsed.lines:
        count, wanted = len(parsed.readings), len(job.targets)
        said = f"SYCL sees {count} GPUs over Level Zero, {wanted} are measured"
        measurements = [
            Measurement(key=job.promises[0].key, unit=UNIT, samples=(float(count == wanted),), note=said)
        ]  # fmt: skip
    return judge_output(job, ran, (get_tool(TOOL),), measurements, problems=parsed.problems, notes=parsed.notes)


def explain_no_sycl_ls(host: Host) -> str:
    """Why sycl-ls cannot run here, "" when it can."""
    return explain_unavailable(host, TOOL) or capture_oneapi(host).problem


BENCHMARK = Benchmark(
    name="sycl_ls",
    summary="whether SYCL sees the GPUs that are measured (sycl-ls)",
    engine="tools",
    plan=plan,
    parse=parse,
    order=6,
    rows="sycl",
    settings_of="sycl_ls",
    available=explain_no_sycl_ls,
)
