"""Level Zero's libraries: loader, GPU driver, compiler; from where, and what they are linked with."""

from __future__ import annotations

from xpukit.facts.sysinfo import load_inquiry
from xpukit.sysinfo.collector import GPU_LANE, Asker, Collector
from xpukit.sysinfo.inquire import ask_listed

_NAME = "level_zero"


def collect(asker: Asker) -> None:
    ask_listed(asker, _NAME)
    inquiry = load_inquiry(_NAME)
    for name in inquiry.words("ldd"):
        places = (f"{folder}/{name}" for folder in inquiry.words("library_directories"))
        path = next((place for place in places if not asker.stat(place).error), "")
        if path:
            asker.run("ldd", path, timeout_s=5, typical_bytes=1000)


COLLECTOR = Collector(
    name=_NAME,
    summary="Level Zero loader, GPU driver and compiler: copies, links, what each is linked with",
    preset="minimal",
    collect=collect,
    timeout_s=20,
    order=130,
    lane=GPU_LANE,
)
