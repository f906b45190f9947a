"""Services."""

from __future__ import annotations

from xpukit.sysinfo.collector import Collector
from xpukit.sysinfo.inquire import make_collect

COLLECTOR = Collector(
    name="services",
    summary="failed services, and those that hold, slow or tune GPUs",
    preset="default",
    collect=make_collect("services"),
    timeout_s=15,
    order=570,
)
