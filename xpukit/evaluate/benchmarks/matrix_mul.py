"""Square matrix products by matrix_mul_mkl (oneMKL): one process for each GPU, type and size."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from xpukit.core.measurement import Job, Measurement, ParsedOutput, Promise, Skip
from xpukit.evaluate.benchmark import Benchmark, Plan, Scope
from xpukit.evaluate.embedded.gemm_cases import Case
from xpukit.evaluate.embedded.gemm_plan import explain_unfit, list_cases, read_rates, read_settings
from xpukit.evaluate.parsers.matrix_mul import parse_matrix_mul
from xpukit.evaluate.side_by_side import claim_cards
from xpukit.evaluate.tools.convert import convert_matrix_mul
from xpukit.evaluate.tools.jobs import build_tool_job, judge_output, list_gpus, skip_without_gpu
from xpukit.evaluate.tools.locate import explain_unavailable, find_tool
from xpukit.evaluate.tools.oneapi import build_environment, capture_oneapi
from xpukit.facts.tools import get_tool
from xpukit.host import Host
from xpukit.host.answers import Ran

TOOL = "matrix_mul_mkl"
# Ours -> theirs, for each way of taking arguments (tools.toml): the public sample has three types.
_TYPES = {
    "positional": {"fp64": "double", "fp32": "single", "fp16": "half"},
    "options": {"fp64": "double", "fp32": "single", "fp16": "half", "bf16": "bf16", "int8": "int8"},
}
_START_S = 3.0  # it fills and checks the matrices on the host
_HOST_S_PER_ELEMENT = 25e-9
_RUNS = 20


def plan(scope: Scope) -> Plan:
    """Types that this build does not have are not in the plan; a size that does not fit is a Skip."""
    gpus = list_gpus(scope)
    if not gpus:
        return skip_without_gpu(scope, "gemm", (("throughput", "TFLOPS"),))
    found = find_tool(scope.host, TOOL)
    env = build_environment(scope.host, found)
    settings = read_settings(scope.settings, cpu=False)
    types = _TYPES[found.form or "positional"]
    jobs: list[Job] = []
    skips: list[Skip] = []
    for gpu in gpus:
        rates = read_rates(scope, cpu=False, target=gpu)
        for case in list_cases(settings):
            if case.shape != "square" or case.dtype not in types:
                continue
            key = case.build_key("gemm", gpu.label)
            reason = explain_unfit(
                case,
                rates=rates,
                method=scope.method,
                limit_s=settings.shape_limit_s,
                memory_bytes=gpu.memory_bytes,
                cpu=False,
            )
            if reason:
                skips.append(Skip(key=key, unit=case.unit, reason=reason))
                continue
            elements = 3 * case.m * case.n
            jobs.append(
                build_tool_job(
                    scope,
                    benchmark="matrix_mul",
                    name=f"{TOOL} {case.dtype} {case.m} {gpu.label}",
                    found=found,
                    arguments=build_arguments(found.form, types[case.dtype], case),
                    gpus=(gpu,),
                    promises=(Promise(key=key, unit=case.unit),),
                    estimate_s=_START_S + elements * _HOST_S_PER_ELEMENT + _RUNS * case.operations / rates[case.dtype],
                    env=env,
                )
            )
    return Plan(jobs=tuple(jobs), skips=tuple(skips))


def build_arguments(form: str, name: str, case: Case) -> Sequence[str]:
    """`name` is the type as the program calls it. `-c 0`: no comparison on the host, as llm-scaler runs it."""
    m, n, k = str(case.m), str(case.n), str(case.k)
    return (name, "-m", m, "-n", n, "-k", k, "-c", "0") if form == "options" else (name, m, n, k)


def parse(job: Job, ran: Ran) -> ParsedOutput:
    """What it printed, of what was asked for."""
    parsed = parse_matrix_mul(ran.text, ran.err_text)
    measurements = convert_matrix_mul(parsed, job.targets[0])
    known = {promise.key.params for promise in job.promises}
    strangers = [m for m in measurements if m.key.params not in known]
    output = judge_output(
        job,
        ran,
        (get_tool(TOOL),),
        tuple(m for m in measurements if m not in strangers),
        problems=parsed.problems,
        notes=parsed.notes,
    )
    return _note_strangers(output, strangers) if strangers else output


def _note_strangers(output: ParsedOutput, strangers: Sequence[Measurement]) -> ParsedOutput:
    said = ", ".join(" ".join(f"{name}={value}" for name, value in m.key.params) for m in strangers)
    return msgspec.structs.replace(output, notes=(*output.notes, f"it measured what it was not asked for: {said}"))


def explain_no_matrix_mul(host: Host) -> str:
    """Why matrix_mul_mkl cannot run here, "" when it can."""
    return explain_unavailable(host, TOOL) or capture_oneapi(host).problem


BENCHMARK = Benchmark(
    name="matrix_mul",
    summary="square matrix products by oneMKL (matrix_mul_mkl)",
    engine="tools",
    plan=plan,
    parse=parse,
    order=21,
    rows="gemm",
    available=explain_no_matrix_mul,
    claims=claim_cards,
)
