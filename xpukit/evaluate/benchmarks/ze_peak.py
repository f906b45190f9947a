"""Device memory bandwidth by ze_peak: a kernel that reads, for five vector widths."""

from __future__ import annotations

from xpukit.evaluate.benchmark import Benchmark, Plan, Scope
from xpukit.evaluate.side_by_side import claim_cards
from xpukit.evaluate.tools.peak_jobs import PeakTest, explain_no_peak, list_vector_rows, parse_tests, plan_tests

_TESTS = (
    PeakTest(name="global_bw", rows=list_vector_rows("bandwidth", "GB/s", "float", {"op": "read"}), estimate_s=5.0),
)


def plan(scope: Scope) -> Plan:
    """A job for each GPU."""
    return plan_tests(scope, benchmark="ze_peak", rows="memory", tests=_TESTS)


BENCHMARK = Benchmark(
    name="ze_peak",
    summary="device memory bandwidth (ze_peak global_bw)",
    engine="tools",
    plan=plan,
    parse=parse_tests,
    order=31,
    rows="memory",
    available=explain_no_peak,
    claims=claim_cards,
)
