"""What the CPU device's collectives are judged by: the same ones by mpi4py, measured in this run."""

from __future__ import annotations

from xpukit.evaluate.benchmark import Benchmark
from xpukit.evaluate.embedded.collective_jobs import parse_rank_output, plan_ceiling

BENCHMARK = Benchmark(
    name="collectives_ceiling",
    summary="the CPU's yardstick for collectives (mpi4py)",
    engine="embedded",
    plan=plan_ceiling,
    parse=parse_rank_output,
    order=55,
)
