"""`gemm` by PyTorch: the same rows, from the suite's [gemm]."""

from __future__ import annotations

from xpukit.evaluate.benchmark import Benchmark
from xpukit.evaluate.embedded.protocol import parse_worker_output
from xpukit.evaluate.side_by_side import claim_cards
from xpukit.evaluate.torch_engine.gemm_jobs import plan_gemm
from xpukit.evaluate.torch_engine.presence import explain_absence

BENCHMARK = Benchmark(
    name="torch_gemm",
    summary="matrix products (TFLOPS) of every type that torch has, verified",
    engine="torch",
    plan=plan_gemm,
    parse=parse_worker_output,
    order=20,
    rows="gemm",
    settings_of="gemm",
    available=explain_absence,
    claims=claim_cards,
)
