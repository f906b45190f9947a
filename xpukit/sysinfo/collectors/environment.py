"""Environment variables, by known beginnings only."""

from __future__ import annotations

from xpukit.sysinfo.collector import Collector
from xpukit.sysinfo.inquire import make_collect

COLLECTOR = Collector(
    name="environment",
    summary="environment variables of the GPU stack, engines, MPI and Python",
    preset="minimal",
    collect=make_collect("environment"),
    timeout_s=5,
    order=70,
)
