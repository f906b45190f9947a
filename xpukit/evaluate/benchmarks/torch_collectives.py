"""`collectives` by PyTorch: the same rows, from the suite's [collectives]."""

from __future__ import annotations

from xpukit.evaluate.benchmark import Benchmark
from xpukit.evaluate.embedded.collective_jobs import parse_rank_output
from xpukit.evaluate.torch_engine.collective_plan import plan_torch_collectives
from xpukit.evaluate.torch_engine.presence import explain_absence

BENCHMARK = Benchmark(
    name="torch_collectives",
    summary="collectives by torch.distributed (xccl, nccl, gloo)",
    engine="torch",
    plan=plan_torch_collectives,
    parse=parse_rank_output,
    order=60,
    rows="collectives",
    settings_of="collectives",
    available=explain_absence,
)
