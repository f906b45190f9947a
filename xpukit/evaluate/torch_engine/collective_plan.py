"""Collectives for PyTorch: the ranks, sizes and modes of the suite's [collectives], without MPI."""

from __future__ import annotations

import functools

from xpukit.evaluate.benchmark import Plan, Scope
from xpukit.evaluate.embedded.collective_jobs import plan_collectives
from xpukit.evaluate.embedded.protocol import Request
from xpukit.evaluate.torch_engine.adapt import adapt_plan
from xpukit.host.native.rank_launcher import build_launcher

# xccl is oneCCL inside torch: the same switch between peer access and the host's memory.
_ACCESS = {"p2p": {"CCL_TOPO_P2P_ACCESS": "1"}, "usm": {"CCL_TOPO_P2P_ACCESS": "0"}}


def _launch(request: Request, one_thread: dict[str, str]) -> tuple[tuple[str, ...], dict[str, str]]:
    env = _ACCESS.get(request.params["mode"], one_thread)
    return build_launcher(int(request.params["ranks"])), env


def plan_torch_collectives(scope: Scope) -> Plan:
    """xccl on GPUs (modes p2p and usm), gloo on the CPU with one thread a rank unless OMP_NUM_THREADS says more."""
    one_thread = {"OMP_NUM_THREADS": "1"} if scope.host.env("OMP_NUM_THREADS").value is None else {}
    return adapt_plan(
        plan_collectives(scope),
        scope=scope,
        benchmark="torch_collectives",
        kind="torch_collectives",
        launch=functools.partial(_launch, one_thread=one_thread),
    )
