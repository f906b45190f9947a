"""`memory` by PyTorch: the same rows, from the suite's [memory]."""

from __future__ import annotations

from xpukit.evaluate.benchmark import Benchmark
from xpukit.evaluate.embedded.protocol import parse_worker_output
from xpukit.evaluate.side_by_side import claim_cards
from xpukit.evaluate.torch_engine.copy_jobs import plan_memory
from xpukit.evaluate.torch_engine.presence import explain_absence

BENCHMARK = Benchmark(
    name="torch_memory",
    summary="device memory bandwidth by torch's operations",
    engine="torch",
    plan=plan_memory,
    parse=parse_worker_output,
    order=30,
    rows="memory",
    settings_of="memory",
    available=explain_absence,
    claims=claim_cards,
)
