"""Rates of the vector units (not the matrix units, see gemm) by ze_peak: multiply-adds of each type."""

from __future__ import annotations

from xpukit.evaluate.benchmark import Benchmark, Plan, Scope
from xpukit.evaluate.side_by_side import claim_cards
from xpukit.evaluate.tools.peak_jobs import PeakTest, explain_no_peak, list_vector_rows, parse_tests, plan_tests

_TESTS = tuple(
    PeakTest(name=name, rows=list_vector_rows("throughput", unit, base, {"dtype": dtype}), estimate_s=5.0)
    for name, dtype, base, unit in (
        ("hp_compute", "fp16", "half", "TFLOPS"),
        ("sp_compute", "fp32", "float", "TFLOPS"),
        ("dp_compute", "fp64", "double", "TFLOPS"),
        ("int_compute", "int32", "int", "TOPS"),
    )
)


def plan(scope: Scope) -> Plan:
    """A job for each GPU and type."""
    return plan_tests(scope, benchmark="ze_peak_compute", rows="compute", tests=_TESTS)


BENCHMARK = Benchmark(
    name="ze_peak_compute",
    summary="vector units: fp16, fp32, fp64, int32 (ze_peak *_compute)",
    engine="tools",
    plan=plan,
    parse=parse_tests,
    order=22,
    rows="compute",
    settings_of="gemm",
    available=explain_no_peak,
    claims=claim_cards,
)
