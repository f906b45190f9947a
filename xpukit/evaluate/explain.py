"""All conclusions from a run's rows and its machine."""

from __future__ import annotations

from collections.abc import Sequence

from xpukit.core.finding import Finding
from xpukit.core.machine import Machine
from xpukit.evaluate.explain_p2p import explain_p2p
from xpukit.evaluate.recommend_ccl import recommend_ccl, report_recommendation
from xpukit.evaluate.result import Result


def explain(machine: Machine, results: Sequence[Result]) -> tuple[Finding, ...]:
    """Findings for `Evaluation.findings`, in the order to read them: P2P, then how oneCCL should copy."""
    recommendation = recommend_ccl(results)
    return (*explain_p2p(machine, results), *(report_recommendation(recommendation) if recommendation else ()))
