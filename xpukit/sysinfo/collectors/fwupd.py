"""Firmware versions by fwupd."""

from __future__ import annotations

from xpukit.sysinfo.collector import Collector
from xpukit.sysinfo.inquire import make_collect

COLLECTOR = Collector(
    name="fwupd",
    summary="firmware versions that fwupd knows",
    preset="full",
    collect=make_collect("fwupd"),
    timeout_s=25,
    order=830,
)
