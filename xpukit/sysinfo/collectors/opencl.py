"""OpenCL."""

from __future__ import annotations

from xpukit.sysinfo.collector import GPU_LANE, Collector
from xpukit.sysinfo.inquire import make_collect

COLLECTOR = Collector(
    name="opencl",
    summary="OpenCL drivers and devices (clinfo)",
    preset="default",
    collect=make_collect("opencl"),
    timeout_s=45,
    order=420,
    lane=GPU_LANE,
)
