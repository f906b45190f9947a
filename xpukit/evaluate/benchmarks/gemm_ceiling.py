"""`gemm_ceiling`: the CPU's yardstick for `gemm`, by numpy's OpenBLAS and MKL. GPUs are judged by their own limits."""

from __future__ import annotations

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
from xpukit.host.native import blas

# Types for which a library other than oneDNN has a product worth the name.
_TYPES = ("fp64", "fp32", "fp16", "bf16", "int8")
_NO_MKL = (
    "only MKL has another fast product of this type on a CPU, and the pip package mkl is not installed "
    "(221 MB to download, 687 MB on disk)"
)


def choose_libraries(*, mkl: bool) -> dict[str, tuple[blas.Library, ...]]:
    """Which libraries measure each type's ceiling, other than the one that `gemm` itself uses."""
    if not mkl:
        return {"fp32": ("numpy",)}
    # fp64: `gemm` takes MKL where it is there, so the yardstick is numpy.
    return {"fp32": ("numpy", "mkl"), "fp64": ("numpy",), "fp16": ("mkl",), "bf16": ("mkl",), "int8": ("mkl",)}


def list_ceiling_cases(settings: Settings) -> tuple[Case, ...]:
    """The squares of the types that can have a ceiling."""
    return tuple(case for case in list_cases(settings) if case.shape == "square" and case.dtype in _TYPES)


def plan_with(scope: Scope, *, mkl: bool) -> Plan:
    """The plan for a machine with or without MKL."""
    jobs: list[Job] = []
    skips: list[Skip] = []
    libraries = choose_libraries(mkl=mkl)
    for target in scope.targets:
        if target.kind != "cpu":
            continue
        settings = read_settings(scope.settings, cpu=True)
        rates = read_rates(scope, cpu=True)
        cases: list[Case] = []
        for case in list_ceiling_cases(settings):
            reason = explain_unfit(
                case,
                rates=rates,
                method=scope.method,
                limit_s=settings.shape_limit_s,
                memory_bytes=scope.memory_bytes,
                cpu=True,
            )
            if not reason and case.dtype not in libraries:
                reason = _NO_MKL
            if reason:
                key = case.build_key("gemm_ceiling", target.label)
                skips.append(Skip(key=key, unit=case.unit, reason=reason))
            else:
                cases.append(case)
        if cases:
            tries = [case for case in cases for _ in libraries[case.dtype]]
            estimate_s = estimate_seconds(tries, rates=rates, method=scope.method)
            jobs.append(_build(scope, target, cases, libraries, estimate_s))
    return Plan(jobs=tuple(jobs), skips=tuple(skips))


def _build(
    scope: Scope,
    target: Target,
    cases: list[Case],
    libraries: dict[str, tuple[blas.Library, ...]],
    estimate_s: float,
) -> Job:
    request = Request(
        kind="gemm_ceiling",
        targets=(target,),
        method=scope.method,
        params={"cases": msgspec.to_builtins(cases), "libraries": libraries},
    )
    return build_job(
        benchmark="gemm_ceiling",
        name=f"gemm ceiling {target.label}",
        request=request,
        promises=[Promise(key=case.build_key("gemm_ceiling", target.label), unit=case.unit) for case in cases],
        estimate_s=estimate_s,
        env=build_worker_environment((target,)),
    )


def plan(scope: Scope) -> Plan:
    """One job on the CPU, none on GPUs."""
    return plan_with(scope, mkl=blas.has_mkl())


BENCHMARK = Benchmark(
    name="gemm_ceiling",
    summary="the CPU's own limit for matrix products, by other libraries",
    engine="embedded",
    plan=plan,
    parse=parse_worker_output,
    order=10,
)
