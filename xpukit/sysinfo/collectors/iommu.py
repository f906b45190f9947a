"""IOMMU: on or off, and the groups that GPUs and the bridges above them are in."""

from __future__ import annotations

import posixpath

from xpukit.sysinfo.collector import Asker, Collector
from xpukit.sysinfo.gpu_places import find_gpus, list_chain
from xpukit.sysinfo.inquire import ask_listed

_NAME = "iommu"
_GROUPS = "/sys/kernel/iommu_groups"


def collect(asker: Asker) -> None:
    ask_listed(asker, _NAME)
    for path in list_chain(find_gpus(asker)).values():
        group = posixpath.basename(asker.link(f"{path}/iommu_group").target)
        if not group:
            continue
        asker.list(f"{_GROUPS}/{group}/devices")
        asker.read(f"{_GROUPS}/{group}/type", limit_bytes=4096)
        asker.read(f"{_GROUPS}/{group}/reserved_regions", limit_bytes=4096)


COLLECTOR = Collector(
    name=_NAME,
    summary="IOMMU units and the groups of GPUs and the bridges above them",
    preset="default",
    collect=collect,
    timeout_s=15,
    order=310,
)
