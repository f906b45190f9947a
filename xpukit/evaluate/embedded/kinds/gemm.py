"""Matrix products by oneDNN on the worker's device; fp64 on a CPU by MKL where it is installed, else numpy.

`params`: "cases" (a list of gemm_cases.Case), "shape_limit_s" (a shape whose minimum of repetitions would take longer
is not measured but said), and "plant_error" (an element's index: its value is made wrong before the check, which must
then fail; for xpukit's tests of itself).
"""

from __future__ import annotations

import itertools
from typing import Any

import msgspec

from xpukit.core.errors import CouldNotJudgeError
from xpukit.core.measurement import MetricKey
from xpukit.evaluate.embedded.gemm_cases import DATA_TYPES, INT4_GROUP, Case
from xpukit.evaluate.embedded.gemm_check import CheckResult, Reference
from xpukit.evaluate.embedded.gemm_measure import Product, measure_product
from xpukit.evaluate.embedded.gemm_problem import Problem
from xpukit.evaluate.embedded.protocol import Request
from xpukit.evaluate.embedded.worker import Emitter
from xpukit.host.native import blas, libraries, onednn

_RUNS_BESIDE_SAMPLES = 3  # first touch, calibration, at least one warm-up
# Results in tf32 differ from fp32 by about 2**-11.5 of their size, results in fp32 by about 2**-24.
TF32_ERROR = 2.0**-16


def measure(request: Request, emit: Emitter) -> None:
    """Measure every case; one that cannot be had gives its reason, the others go on."""
    measure_on(Bench(request, emit), request, emit)


def measure_on(bench: Bench, request: Request, emit: Emitter) -> None:
    """`measure` with the library of this bench."""
    cases = msgspec.convert(request.params["cases"], list[Case])
    label = request.targets[0].label
    groups = itertools.groupby(cases, key=lambda case: (case.dtype, case.n, case.k))
    for _, members in groups:
        group = sorted(members, key=lambda case: case.m)
        try:
            bench.measure_group(group)
        except onednn.NotSupportedError as err:
            for case in group:
                emit.impossible(case.build_key("gemm", label), err.message)
        except (CouldNotJudgeError, MemoryError) as err:
            reason = err.message if isinstance(err, CouldNotJudgeError) else "not enough main memory"
            for case in group:
                emit.missing(case.build_key("gemm", label), reason)


class Bench:
    """One worker's device, and how fast each type has been on it so far. Here by oneDNN; kinds/torch_gemm.py replaces
    `check_dtype`, `prepare` and `describe`."""

    def __init__(self, request: Request, emit: Emitter) -> None:
        self._request, self._emit = request, emit
        self._label = request.targets[0].label
        self._cpu = libraries.wants_cpu()
        self._limit_s = float(request.params.get("shape_limit_s", 60.0))
        self._plant: int | None = request.params.get("plant_error")
        self._rates: dict[str, float] = {}  # dtype -> best operations per second
        self._engine: onednn.Engine | None = None

    def measure_group(self, cases: list[Case]) -> None:
        """Cases of one type with the same weights, from few rows to many."""
        seed = self._request.method.seed
        wanted: list[Case] = []
        for case in cases:
            reason = self._why_too_long(case)
            if reason:
                self._emit.missing(self._key(case), reason)
            else:
                wanted.append(case)
        if not wanted:
            return
        last = wanted[-1]
        self.check_dtype(last)
        problem = Problem(last.dtype, m=last.m, n=last.n, k=last.k, seed=seed)
        reference: Reference | None = None
        for case in wanted:
            try:
                product = self.prepare(case, problem)
            except onednn.NotSupportedError as err:
                self._emit.impossible(self._key(case), err.message)
                continue
            except CouldNotJudgeError as err:
                self._emit.missing(self._key(case), err.message)
                continue
            try:
                # After the first product stands: a type that the device has not costs no reference.
                reference = reference or Reference(problem, seed=seed, rows=tuple(c.m for c in wanted))
                self._measure_case(case, product, reference)
            except CouldNotJudgeError as err:
                self._emit.missing(self._key(case), err.message)
            finally:
                product.close()

    def _key(self, case: Case) -> MetricKey:
        return case.build_key("gemm", self._label)

    def _why_too_long(self, case: Case) -> str:
        """Judged by what this type has done here so far; "" when it may run."""
        rate = self._rates.get(case.dtype)
        if rate is None:
            return ""
        runs = self._request.method.min_samples + _RUNS_BESIDE_SAMPLES
        seconds = case.operations / rate * runs
        if seconds <= self._limit_s:
            return ""
        return (
            f"would take about {seconds:.1f} s ({runs} runs at the {rate / 1e12:.3g} {case.unit} that "
            f"{case.dtype} reached here); this suite allows {self._limit_s:g} s per shape"
        )

    def check_dtype(self, case: Case) -> None:
        device = None if self._cpu else self._open().device
        if device is not None and case.dtype == "fp64" and not device.has_aspect_fp64:
            raise onednn.NotSupportedError("this GPU has no fp64 arithmetic")

    def _open(self) -> onednn.Engine:
        if self._engine is None:
            self._engine = onednn.Engine(onednn.select_device(cpu=self._cpu))
            device = self._engine.device
            self._emit.note(f"oneDNN {self._engine.version} on {device.name.strip()} ({device.driver_version})")
        return self._engine

    def prepare(self, case: Case, problem: Problem) -> Product:
        source = problem.source[: case.m]
        if case.dtype == "fp64" and self._cpu:
            library: blas.Library = "mkl" if blas.has_mkl() else "numpy"
            return blas.BlasMatmul(library, "fp64", source=source, weights=problem.weights)
        kind = problem.type
        spec = onednn.MatmulSpec(
            m=case.m,
            n=case.n,
            k=case.k,
            src=kind.src,
            weights=kind.weights,
            dst=kind.dst,
            fpmath=kind.fpmath,
            fpmath_on_int=bool(kind.scale),
            group=INT4_GROUP if kind.scale else 0,
            scale=kind.scale,
        )
        engine = self._open()
        try:
            return onednn.Matmul(engine, spec, source, problem.weights, problem.scales)
        except onednn.NotSupportedError:
            plain = msgspec.structs.replace(spec, layout="plain")
            return onednn.Matmul(engine, plain, source, problem.weights, problem.scales)

    def _measure_case(self, case: Case, product: Product, reference: Reference) -> None:
        measurement, checked = measure_product(
            product,
            reference,
            case,
            key=self._key(case),
            method=self._request.method,
            note=product.implementation,
            plant_index=self._plant,
        )
        best = max(measurement.samples) * 1e12
        self._rates[case.dtype] = max(best, self._rates.get(case.dtype, 0.0))
        note = self.describe(case, product, checked)
        self._emit.measured(msgspec.structs.replace(measurement, note=note))

    def describe(self, case: Case, product: Product, checked: CheckResult) -> str:
        """What really ran: the library's implementation, how weights lay, and what to keep in mind."""
        parts = [product.implementation]
        if product.repacked:
            parts.append("weights packed beforehand")
        if ":any" in product.implementation and "ref" in product.implementation:
            parts.append("reference code: shows correctness, not speed")
        if case.dtype == "tf32":
            ran = "tf32" if checked.relative_error > TF32_ERROR else "fp32, tf32 was not used"
            parts.append(f"arithmetic by its error ({checked.relative_error:.1g} of the result): {ran}")
        cache = self._cache_bytes()
        weight_bytes = onednn.bytes_of(DATA_TYPES[case.dtype].weights, case.n * case.k)
        if case.shape != "square" and cache and weight_bytes < cache:
            parts.append(f"weights ({weight_bytes >> 20} MiB) fit the device's cache ({cache >> 20} MiB)")
        return "; ".join(parts)

    def _cache_bytes(self) -> int:
        device: Any = self._engine.device if self._engine is not None else None
        return int(device.global_mem_cache_size) if device is not None else 0
