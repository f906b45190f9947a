"""Kernel command line, modules and their settings, build options."""

from __future__ import annotations

from xpukit.facts.sysinfo import load_inquiry
from xpukit.sysinfo.collector import Asker, Collector
from xpukit.sysinfo.inquire import ask_listed

_NAME = "kernel"


def collect(asker: Asker) -> None:
    ask_listed(asker, _NAME)
    options = load_inquiry(_NAME).words("kernel_options")
    pattern = f"^(# )?CONFIG_({'|'.join(options)})"
    release = asker.read("/proc/sys/kernel/osrelease", limit_bytes=64 << 10).text
    for path in (f"/boot/config-{release}", f"/lib/modules/{release}/config"):
        if release and not asker.stat(path).error:
            asker.run("grep", "-E", pattern, path, timeout_s=5, limit_bytes=128 << 10, typical_bytes=8000)
            return
    if not asker.stat("/proc/config.gz").error:
        asker.run("zgrep", "-E", pattern, "/proc/config.gz", timeout_s=10, limit_bytes=128 << 10, typical_bytes=8000)
        return
    asker.note("the kernel's build options are neither in /boot nor in /proc/config.gz")


COLLECTOR = Collector(
    name=_NAME,
    summary="kernel command line, modules with parameters, modprobe.d, dkms, build options of GPU and IOMMU",
    preset="minimal",
    collect=collect,
    timeout_s=30,
    root_adds="the build options, where /boot is closed to others",
    order=20,
)
