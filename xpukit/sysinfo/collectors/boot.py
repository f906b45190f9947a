"""How the kernel is booted, now and the next time."""

from __future__ import annotations

from xpukit.sysinfo.collector import Collector
from xpukit.sysinfo.inquire import make_collect

COLLECTOR = Collector(
    name="boot",
    summary="boot loader settings and installed kernels",
    preset="default",
    collect=make_collect("boot"),
    timeout_s=10,
    root_adds="boot entries that only root may read",
    order=330,
)
