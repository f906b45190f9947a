"""Which system this is, and in what it runs."""

from __future__ import annotations

from xpukit.sysinfo.collector import Collector
from xpukit.sysinfo.inquire import make_collect

COLLECTOR = Collector(
    name="os",
    summary="distribution, kernel release, uptime, board, virtual machine or container, secure boot",
    preset="minimal",
    collect=make_collect("os"),
    timeout_s=20,
    order=10,
)
