"""`p2p` by PyTorch: the same rows, from the suite's [p2p]."""

from __future__ import annotations

from xpukit.evaluate.benchmark import Benchmark
from xpukit.evaluate.embedded.protocol import parse_worker_output
from xpukit.evaluate.torch_engine.copy_jobs import plan_p2p
from xpukit.evaluate.torch_engine.presence import explain_absence

BENCHMARK = Benchmark(
    name="torch_p2p",
    summary="torch's copies between devices",
    engine="torch",
    plan=plan_p2p,
    parse=parse_worker_output,
    order=50,
    rows="p2p",
    settings_of="p2p",
    available=explain_absence,
)
