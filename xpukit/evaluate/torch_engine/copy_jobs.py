"""Copies and memory for PyTorch: the embedded plans without what torch has not."""

from __future__ import annotations

from xpukit.core.measurement import MetricKey
from xpukit.evaluate.benchmark import Plan, Scope
from xpukit.evaluate.benchmarks import memory, p2p, transfer
from xpukit.evaluate.torch_engine.adapt import adapt_plan, keep_values

_NO_SHARED = "PyTorch has no memory that migrates between host and device"
_NO_READ = "PyTorch copies between devices on the source's queue: a write; it has no read"


def plan_memory(scope: Scope) -> Plan:
    """Every operation and footprint of the suite's [memory]."""
    return adapt_plan(memory.plan(scope), scope=scope, benchmark="torch_memory", kind="torch_memory")


def plan_transfer(scope: Scope) -> Plan:
    """The routes of the suite's [transfer] but those of shared memory."""

    def refuse(key: MetricKey) -> str:
        return _NO_SHARED if dict(key.params)["memory"] == "shared" else ""

    return adapt_plan(
        transfer.plan(scope),
        scope=scope,
        benchmark="torch_transfer",
        kind="torch_transfer",
        refuse=refuse,
        change=lambda request: keep_values(request, "routes", lambda route: route[1] != "shared"),  # type: ignore[index]
    )


def plan_p2p(scope: Scope) -> Plan:
    """The pairs of the suite's [p2p], written to."""

    def refuse(key: MetricKey) -> str:
        return _NO_READ if dict(key.params).get("mode") == "read" else ""

    return adapt_plan(
        p2p.plan(scope),
        scope=scope,
        benchmark="torch_p2p",
        kind="torch_p2p",
        refuse=refuse,
        change=lambda request: keep_values(request, "modes", lambda mode: mode != "read"),
    )
