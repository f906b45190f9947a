"""All PCI devices, as lspci shows them."""

from __future__ import annotations

from xpukit.sysinfo.collector import Collector
from xpukit.sysinfo.inquire import make_collect

COLLECTOR = Collector(
    name="pci_all",
    summary="all PCI devices: tree, lspci -vvv, slots, memory map, GPU interrupts",
    preset="default",
    collect=make_collect("pci_all"),
    timeout_s=50,
    root_adds="capabilities, addresses in /proc/iomem",
    order=300,
)
