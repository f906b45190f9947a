"""Disks, file systems, and where models lie."""

from __future__ import annotations

from xpukit.facts.sysinfo import load_inquiry
from xpukit.sysinfo.collector import Asker, Collector
from xpukit.sysinfo.inquire import ask_listed

_NAME = "disks"
_HUB_VARIABLES = ("HF_HOME", "HF_HUB_CACHE")


def collect(asker: Asker) -> None:
    ask_listed(asker, _NAME)
    places = [value for name in _HUB_VARIABLES for key, value in asker.env(name).items() if key == name]
    for place in dict.fromkeys((*places, *load_inquiry(_NAME).words("model_places"))):
        if place.startswith("/") and not asker.stat(place).error:
            asker.run(
                "findmnt", "--target", place, "-o", "TARGET,FSTYPE,SIZE,AVAIL,OPTIONS", timeout_s=5, typical_bytes=150
            )


COLLECTOR = Collector(
    name=_NAME,
    summary="disks, file systems with free space, and the mounts that models and containers lie on",
    preset="default",
    collect=collect,
    timeout_s=40,
    order=500,
)
