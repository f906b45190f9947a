"""Sensors of the host; those of the GPUs are with their driver."""

from __future__ import annotations

from xpukit.sysinfo.collector import Collector
from xpukit.sysinfo.inquire import make_collect

COLLECTOR = Collector(
    name="sensors",
    summary="temperatures and fans of the host, corrected memory errors",
    preset="default",
    collect=make_collect("sensors"),
    timeout_s=15,
    order=630,
)
