"""hwloc's picture of the machine, drawn without starting a GPU driver."""

from __future__ import annotations

from xpukit.facts.sysinfo import load_inquiry
from xpukit.sysinfo.collector import Asker, Collector

_NAME = "hwloc"


def collect(asker: Asker) -> None:
    inquiry = load_inquiry(_NAME)
    env = {"HWLOC_COMPONENTS": inquiry.words("components")[0]}
    for words in inquiry.words("lstopo"):
        program, *rest = words.split()
        if asker.which(program).value:
            asker.run(program, *rest, timeout_s=15, env=env, typical_bytes=10000)
            return
    asker.note("lstopo-no-graphics is not installed")


COLLECTOR = Collector(
    name=_NAME,
    summary="processors, NUMA nodes and PCI devices as hwloc draws them",
    preset="full",
    collect=collect,
    timeout_s=20,
    order=840,
)
