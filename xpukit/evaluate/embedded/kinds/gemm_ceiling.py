"""The CPU's yardstick for matrix products: the same squares by libraries that are not oneDNN.

`params`: "cases" as for `gemm`, "libraries" (which to use for a type: {"fp32": ["numpy", "mkl"]}), "plant_error" as
for `gemm`. Results are verified like the benchmark's.
"""

from __future__ import annotations

import statistics

import msgspec

from xpukit.core.errors import CouldNotJudgeError
from xpukit.core.measurement import Measurement
from xpukit.evaluate.embedded.gemm_cases import DATA_TYPES, Case
from xpukit.evaluate.embedded.gemm_check import Reference
from xpukit.evaluate.embedded.gemm_measure import measure_product
from xpukit.evaluate.embedded.gemm_problem import Problem
from xpukit.evaluate.embedded.protocol import Request
from xpukit.evaluate.embedded.worker import Emitter
from xpukit.host.native import blas


def measure(request: Request, emit: Emitter) -> None:
    """Measure every case with each of its libraries and report the fastest that is right."""
    label = request.targets[0].label
    for case in msgspec.convert(request.params["cases"], list[Case]):
        key = case.build_key("gemm_ceiling", label)
        try:
            emit.measured(_measure_best(case, request, label))
        except CouldNotJudgeError as err:
            emit.missing(key, err.message)


def _measure_best(case: Case, request: Request, label: str) -> Measurement:
    method = request.method
    problem = Problem(case.dtype, m=case.m, n=case.n, k=case.k, seed=method.seed)
    if problem.is_integer:
        problem.source &= 0x7F  # MKL multiplies unsigned by signed: this range is the same in both
    if case.dtype in ("fp16", "bf16"):
        problem.type = msgspec.structs.replace(DATA_TYPES[case.dtype], dst="f32")
    reference = Reference(problem, seed=method.seed)
    found: list[Measurement] = []
    for library in msgspec.convert(request.params["libraries"][case.dtype], list[blas.Library]):
        product = blas.BlasMatmul(library, case.dtype, source=problem.source, weights=problem.weights)
        measurement, _ = measure_product(
            product,
            reference,
            case,
            key=case.build_key("gemm_ceiling", label),
            method=method,
            note=f"{product.implementation}, {blas.describe_library(library)}",
            plant_index=request.params.get("plant_error"),
        )
        found.append(measurement)
    right = [measurement for measurement in found if measurement.verified]
    return max(right or found, key=lambda measurement: statistics.median(measurement.samples))
