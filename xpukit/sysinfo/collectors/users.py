"""Who asks, and which groups open the devices."""

from __future__ import annotations

from xpukit.sysinfo.collector import Collector
from xpukit.sysinfo.inquire import make_collect

COLLECTOR = Collector(
    name="users",
    summary="this user and the groups render, video and docker",
    preset="minimal",
    collect=make_collect("users"),
    timeout_s=10,
    order=60,
)
