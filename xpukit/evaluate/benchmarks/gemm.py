"""`gemm`: matrix products of every type, squares and the shapes of LLM layers, by oneDNN on each device."""

from __future__ import annotations

from typing import Any

import msgspec

from xpukit.core.measurement import Job, Promise, Skip, Target
from xpukit.evaluate.benchmark import Benchmark, Plan, Scope
from xpukit.evaluate.embedded.environment import build_worker_environment
from xpukit.evaluate.embedded.gemm_cases import Case
from xpukit.evaluate.embedded.gemm_plan import (
    Settings,
    estimate_seconds,
    explain_unfit,
    list_cases,
    read_rates,
    read_settings,
)
from xpukit.evaluate.embedded.protocol import Request, build_job, parse_worker_output
from xpukit.evaluate.side_by_side import claim_cards


def plan(scope: Scope) -> Plan:
    """A job for each device and type, so that a crash costs one type's rows. What does not fit is a Skip."""
    jobs: list[Job] = []
    skips: list[Skip] = []
    for target in scope.targets:
        cpu = target.kind == "cpu"
        settings = read_settings(scope.settings, cpu=cpu)
        rates = read_rates(scope, cpu=cpu, target=target)
        memory = scope.memory_bytes if cpu else target.memory_bytes
        fitting: dict[str, list[Case]] = {}
        for case in list_cases(settings):
            reason = explain_unfit(
                case,
                rates=rates,
                method=scope.method,
                limit_s=settings.shape_limit_s,
                memory_bytes=memory,
                cpu=cpu,
            )
            if reason:
                skips.append(Skip(key=case.build_key("gemm", target.label), unit=case.unit, reason=reason))
            else:
                fitting.setdefault(case.dtype, []).append(case)
        for dtype, cases in fitting.items():
            estimate_s = estimate_seconds(cases, rates=rates, method=scope.method)
            jobs.append(_build(scope, target, dtype, cases, estimate_s, settings))
    return Plan(jobs=tuple(jobs), skips=tuple(skips))


def _build(scope: Scope, target: Target, dtype: str, cases: list[Case], estimate_s: float, settings: Settings) -> Job:
    params: dict[str, Any] = {
        "cases": msgspec.to_builtins(cases),
        # Twice the plan's limit: the rates behind that are rough, and a promised row should come.
        "shape_limit_s": 2 * settings.shape_limit_s,
    }
    if settings.plant_error:
        params["plant_error"] = scope.method.seed * 7919  # any element, the worker takes it modulo the result's size
    request = Request(kind="gemm", targets=(target,), method=scope.method, params=params)
    return build_job(
        benchmark="gemm",
        name=f"gemm {dtype} {target.label}",
        request=request,
        promises=[Promise(key=case.build_key("gemm", target.label), unit=case.unit) for case in cases],
        estimate_s=estimate_s,
        env=build_worker_environment((target,)),
    )


BENCHMARK = Benchmark(
    name="gemm",
    summary="matrix products (TFLOPS) of every type, verified",
    engine="embedded",
    plan=plan,
    parse=parse_worker_output,
    order=20,
    claims=claim_cards,
)
