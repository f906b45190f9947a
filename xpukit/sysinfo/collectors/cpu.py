"""Processors and how they are clocked."""

from __future__ import annotations

from xpukit.sysinfo.collector import Collector
from xpukit.sysinfo.inquire import make_collect

COLLECTOR = Collector(
    name="cpu",
    summary="processors, frequency governor and energy preference, idle states, mitigations",
    preset="minimal",
    collect=make_collect("cpu"),
    timeout_s=20,
    order=30,
)
