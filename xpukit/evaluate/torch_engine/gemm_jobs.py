"""Matrix products for PyTorch: the cases of the suite's [gemm], types grouped by what a crash may cost."""

from __future__ import annotations

from typing import Any

import msgspec

from xpukit.core.measurement import Job, Promise, Skip, Target
from xpukit.evaluate.benchmark import Plan, Scope
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
from xpukit.evaluate.embedded.protocol import Request, build_job
from xpukit.evaluate.torch_engine.adapt import TORCH_START_S

# One worker for what everybody uses, one for what torch keeps private: loading torch takes seconds, so not one a type.
_GROUPS = {
    "floats": ("fp64", "fp32", "tf32", "fp16", "bf16"),
    "quantized": ("int8", "fp8_e4m3", "fp8_e5m2", "int4_fp16", "int4_bf16"),
}
_NO_INT4 = "PyTorch's 4-bit products pack weights differently for each kind of GPU; only the CPU's is measured"
_LAYOUT_TRIES = 6  # two layouts of the weights: twice tried, each after a first run


def read_torch_rates(scope: Scope, *, cpu: bool) -> dict[str, float]:
    """Rough rates in operations per second: oneDNN's, which is inside torch too, but for its own 4-bit products."""
    rates = read_rates(scope, cpu=cpu)
    # Torch 2.13 on two Sapphire Rapids cores: 150 G with bf16, 1 G with fp16 (code without vectors).
    return rates | {"int4_bf16": 0.1 * rates["bf16"], "int4_fp16": 0.004 * rates["fp16"]} if cpu else rates


def plan_gemm(scope: Scope) -> Plan:
    """A job for each device and group of types. What does not fit, or torch does not have, is a Skip."""
    jobs: list[Job] = []
    skips: list[Skip] = []
    for target in scope.targets:
        cpu = target.kind == "cpu"
        settings = read_settings(scope.settings, cpu=cpu)
        rates = read_torch_rates(scope, cpu=cpu)
        fitting: list[Case] = []
        for case in list_cases(settings):
            reason = explain_unfit(
                case,
                rates=rates,
                method=scope.method,
                limit_s=settings.shape_limit_s,
                memory_bytes=scope.memory_bytes if cpu else target.memory_bytes,
                cpu=cpu,
            )
            if not cpu and case.dtype.startswith("int4"):
                reason = _NO_INT4
            if reason:
                skips.append(Skip(key=case.build_key("gemm", target.label), unit=case.unit, reason=reason))
            else:
                fitting.append(case)
        for group, dtypes in _GROUPS.items():
            cases = [case for case in fitting if case.dtype in dtypes]
            if cases:
                tries_s = sum(_LAYOUT_TRIES * case.operations / rates[case.dtype] for case in cases)
                estimate_s = TORCH_START_S + tries_s + estimate_seconds(cases, rates=rates, method=scope.method)
                jobs.append(_build(scope, target, group, cases, estimate_s, settings))
    return Plan(jobs=tuple(jobs), skips=tuple(skips))


def _build(scope: Scope, target: Target, group: str, cases: list[Case], estimate_s: float, settings: Settings) -> Job:
    params: dict[str, Any] = {
        "cases": msgspec.to_builtins(cases),
        # Twice the plan's limit: the rates behind that are rough, and a promised row should come.
        "shape_limit_s": 2 * settings.shape_limit_s,
    }
    if settings.plant_error:
        params["plant_error"] = scope.method.seed * 7919  # any element, the worker takes it modulo the result's size
    return build_job(
        benchmark="torch_gemm",
        name=f"torch gemm {group} {target.label}",
        request=Request(kind="torch_gemm", targets=(target,), method=scope.method, params=params),
        promises=[Promise(key=case.build_key("gemm", target.label), unit=case.unit) for case in cases],
        estimate_s=estimate_s,
        env=build_worker_environment((target,)),
    )
