"""Copies between host memory (pageable, shared) and the device by ze_peak, at its one size (not printed)."""

from __future__ import annotations

from xpukit.evaluate.benchmark import Benchmark, Plan, Scope
from xpukit.evaluate.side_by_side import claim_cards_and_nodes
from xpukit.evaluate.tools.peak_jobs import PeakRow, PeakTest, explain_no_peak, parse_tests, plan_tests

_ROWS = tuple(
    PeakRow(metric="peak_bandwidth", unit="GB/s", params={"direction": direction, "memory": memory})
    for memory in ("pageable", "shared")
    for direction in ("h2d", "d2h")
)
_TESTS = (PeakTest(name="transfer_bw", rows=_ROWS, estimate_s=10.0),)


def plan(scope: Scope) -> Plan:
    """A job for each GPU."""
    return plan_tests(scope, benchmark="ze_peak_transfer", rows="transfer", tests=_TESTS)


BENCHMARK = Benchmark(
    name="ze_peak_transfer",
    summary="copies between host memory (pageable, shared) and device (ze_peak transfer_bw)",
    engine="tools",
    plan=plan,
    parse=parse_tests,
    order=42,
    rows="transfer",
    available=explain_no_peak,
    claims=claim_cards_and_nodes,
)
