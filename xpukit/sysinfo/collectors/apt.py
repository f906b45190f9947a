"""Where packages come from, which are held, what was installed last."""

from __future__ import annotations

from xpukit.facts.sysinfo import load_inquiry
from xpukit.sysinfo.collector import Asker, Collector
from xpukit.sysinfo.inquire import ask_listed

_NAME = "apt"


def collect(asker: Asker) -> None:
    # The slowest question of all where apt keeps no cache of its lists (containers): all packages in one.
    if asker.which("apt-cache").value:
        names = load_inquiry(_NAME).words("policy")
        asker.run("apt-cache", "policy", *names, timeout_s=20, limit_bytes=128 << 10, typical_bytes=2000)
    ask_listed(asker, _NAME)


COLLECTOR = Collector(
    name=_NAME,
    summary="package sources, pins, held packages, candidate versions of the stack, last installations, snaps",
    preset="default",
    collect=collect,
    timeout_s=40,
    root_adds="logs and sources that are closed to others",
    begins_first=True,
    order=410,
)
