"""Network interfaces, as far as several nodes need them."""

from __future__ import annotations

from xpukit.facts.sysinfo import load_inquiry
from xpukit.sysinfo.collector import Asker, Collector
from xpukit.sysinfo.inquire import ask_listed

_NAME = "network"
_MOST_INTERFACES = 16


def collect(asker: Asker) -> None:
    ask_listed(asker, _NAME)
    virtual = load_inquiry(_NAME).words("virtual")
    names = [name for name in asker.list("/sys/class/net").names if not name.startswith(virtual)]
    if asker.which("ethtool").value:
        for name in names[:_MOST_INTERFACES]:
            asker.run("ethtool", "-i", name, timeout_s=5, typical_bytes=300)


COLLECTOR = Collector(
    name=_NAME,
    summary="network interfaces: addresses, speed, driver; InfiniBand ports",
    preset="default",
    collect=collect,
    timeout_s=25,
    order=510,
)
