"""NUMA nodes."""

from __future__ import annotations

from xpukit.sysinfo.collector import Collector
from xpukit.sysinfo.inquire import make_collect

COLLECTOR = Collector(
    name="numa",
    summary="NUMA nodes: processors, memory, distances, policy",
    preset="default",
    collect=make_collect("numa"),
    timeout_s=15,
    order=320,
)
