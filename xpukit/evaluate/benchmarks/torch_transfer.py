"""`transfer` by PyTorch: the same rows, from the suite's [transfer]."""

from __future__ import annotations

from xpukit.evaluate.benchmark import Benchmark
from xpukit.evaluate.embedded.protocol import parse_worker_output
from xpukit.evaluate.side_by_side import claim_cards_and_nodes
from xpukit.evaluate.torch_engine.copy_jobs import plan_transfer
from xpukit.evaluate.torch_engine.presence import explain_absence

BENCHMARK = Benchmark(
    name="torch_transfer",
    summary="torch's copies between host and device memory",
    engine="torch",
    plan=plan_transfer,
    parse=parse_worker_output,
    order=40,
    rows="transfer",
    settings_of="transfer",
    available=explain_absence,
    claims=claim_cards_and_nodes,
)
