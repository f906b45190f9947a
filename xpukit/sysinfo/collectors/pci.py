"""Intel GPUs on PCI and every bridge above them: link, BARs, ACS, AER, power, as sysfs and lspci tell it."""

from __future__ import annotations

from xpukit.facts.sysinfo import load_inquiry
from xpukit.sysinfo.collector import Asker, Collector
from xpukit.sysinfo.gpu_places import find_gpus, list_chain
from xpukit.sysinfo.inquire import ask_listed, read_there

_NAME = "pci"
# PCI Express configuration space; ordinary users get the first 64 bytes.
_CONFIG_BYTES = 4096


def collect(asker: Asker) -> None:
    ask_listed(asker, _NAME)
    gpus = find_gpus(asker)
    if not gpus:
        asker.note("no Intel display or accelerator function on PCI")
    inquiry = load_inquiry(_NAME)
    has_lspci = bool(asker.which("lspci").value)
    for bdf, base in list_chain(gpus).items():
        read_there(asker, base, inquiry.words("function_files"), limit_bytes=_CONFIG_BYTES)
        names = asker.list(base).names
        for name in inquiry.words("function_links"):
            if name in names:
                asker.link(f"{base}/{name}")
        if has_lspci:
            asker.run("lspci", "-D", "-nn", "-vvv", "-s", bdf, timeout_s=10, limit_bytes=64 << 10, typical_bytes=4000)


COLLECTOR = Collector(
    name=_NAME,
    summary="Intel GPUs and all bridges above them: link, BARs, ACS, AER counters, power; lspci -vvv of each",
    preset="minimal",
    collect=collect,
    timeout_s=45,
    root_adds="configuration space beyond 64 bytes: link state, ACS, AER, resizable BAR",
    order=80,
)
