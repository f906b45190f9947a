"""Installed packages of the GPU stack."""

from __future__ import annotations

from xpukit.facts.sysinfo import load_inquiry
from xpukit.sysinfo.collector import Asker, Collector

_NAME = "packages"


def collect(asker: Asker) -> None:
    inquiry = load_inquiry(_NAME)
    patterns = inquiry.words("patterns")
    found = False
    if asker.which("dpkg-query").value:
        found = True
        (form,) = inquiry.words("deb_format")
        asker.run("dpkg-query", "-W", "-f", form, *patterns, timeout_s=15, typical_bytes=12000)
    if asker.which("rpm").value:
        found = True
        (form,) = inquiry.words("rpm_format")
        asker.run("rpm", "-qa", "--qf", form, *patterns, timeout_s=20, typical_bytes=12000)
    if not found:
        asker.note("neither dpkg nor rpm is here: package versions are not known")


COLLECTOR = Collector(
    name=_NAME,
    summary="installed packages of drivers, runtimes, kernels, oneAPI, Docker",
    preset="minimal",
    collect=collect,
    timeout_s=35,
    order=50,
)
