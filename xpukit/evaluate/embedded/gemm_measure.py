"""Time a prepared product, check its result, and make the measurement: shared by `gemm` and `gemm_ceiling`."""

from __future__ import annotations

import time
from typing import Protocol

from xpukit.core.measurement import Measurement, Method, MetricKey
from xpukit.evaluate.embedded.gemm_cases import Case
from xpukit.evaluate.embedded.gemm_check import CheckResult, Reference, plant_error
from xpukit.evaluate.sampling import collect_samples


class Product(Protocol):
    """A product that is ready to run: onednn.Matmul or blas.BlasMatmul."""

    implementation: str
    repacked: bool

    def run(self, times: int) -> None: ...
    def read_result(self) -> bytes: ...
    def write_result(self, data: bytes) -> None: ...
    def close(self) -> None: ...


def measure_product(
    product: Product,
    reference: Reference,
    case: Case,
    *,
    key: MetricKey,
    method: Method,
    note: str,
    plant_index: int | None = None,
) -> tuple[Measurement, CheckResult]:
    """Samples in TFLOPS (TOPS for integers), each 2mnk / seconds / 1e12; the result of the last run is verified.

    `plant_index` makes one element of the result wrong before the check: xpukit's own test that it would notice.
    """

    def run(times: int) -> float:
        start = time.perf_counter()
        product.run(times)
        return time.perf_counter() - start

    samples = collect_samples(run, method)
    raw = product.read_result()
    if plant_index is not None:
        product.write_result(plant_error(raw, reference.problem, plant_index % (case.m * case.n)))
        raw = product.read_result()
    checked = reference.check(raw, case.m)
    measurement = Measurement(
        key=key,
        unit=case.unit,
        samples=tuple(case.operations / seconds / 1e12 for seconds in samples.seconds),
        verified=checked.ok,
        verify_detail=checked.detail,
        warmup_runs=samples.warmup_runs,
        warmup_stable=samples.warmup_stable,
        note=note,
    )
    return measurement, checked
