"""The kernel log of this boot, by dmesg and by the journal: either may be closed to this user."""

from __future__ import annotations

from xpukit.sysinfo.collector import Asker, Collector
from xpukit.sysinfo.inquire import ask_listed
from xpukit.sysinfo.kernel_journal import ask_journal

_NAME = "kernel_log"


def collect(asker: Asker) -> None:
    ask_listed(asker, _NAME)
    ask_journal(asker, boot=0)


COLLECTOR = Collector(
    name=_NAME,
    summary="kernel log of this boot: dmesg, and the journal's lines about the GPU stack",
    preset="minimal",
    collect=collect,
    timeout_s=45,
    root_adds="the log, where the kernel keeps it from others (kernel.dmesg_restrict)",
    order=120,
)
