"""Kernel settings at run time."""

from __future__ import annotations

from xpukit.sysinfo.collector import Collector
from xpukit.sysinfo.inquire import make_collect

COLLECTOR = Collector(
    name="sysctl",
    summary="kernel settings that matter to GPU programs and to several nodes",
    preset="default",
    collect=make_collect("sysctl"),
    timeout_s=10,
    order=340,
)
