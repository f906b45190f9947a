"""Collectives among GPUs or tiles (or ranks on the CPU) by oneCCL under Intel mpiexec."""

from __future__ import annotations

from xpukit.evaluate.benchmark import Benchmark
from xpukit.evaluate.embedded.collective_jobs import parse_rank_output, plan_collectives

BENCHMARK = Benchmark(
    name="collectives",
    summary="allreduce, allgather, reduce_scatter, alltoall, broadcast over sizes and ranks (oneCCL)",
    engine="embedded",
    plan=plan_collectives,
    parse=parse_rank_output,
    order=60,
)
