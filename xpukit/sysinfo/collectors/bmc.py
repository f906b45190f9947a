"""Presence of a board management controller; it is not asked."""

from __future__ import annotations

from xpukit.sysinfo.collector import Collector
from xpukit.sysinfo.inquire import make_collect

COLLECTOR = Collector(
    name="bmc",
    summary="whether a board management controller can be reached",
    preset="default",
    collect=make_collect("bmc"),
    timeout_s=10,
    order=620,
)
