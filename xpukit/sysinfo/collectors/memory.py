"""Main memory."""

from __future__ import annotations

from xpukit.sysinfo.collector import Collector
from xpukit.sysinfo.inquire import make_collect

COLLECTOR = Collector(
    name="memory",
    summary="main memory, swap, huge pages, pressure, /dev/shm",
    preset="minimal",
    collect=make_collect("memory"),
    timeout_s=10,
    order=40,
)
