"""debugfs of the GPUs: GuC, HuC, GSC and DMC, GT topology, memory managers."""

from __future__ import annotations

from xpukit.sysinfo.collector import GPU_LANE, Asker, Collector
from xpukit.sysinfo.gpu_debugfs_places import read_debugfs
from xpukit.sysinfo.inquire import ask_listed

_NAME = "gpu_debugfs"


def collect(asker: Asker) -> None:
    ask_listed(asker, _NAME)
    read_debugfs(asker, _NAME)


COLLECTOR = Collector(
    name=_NAME,
    summary="debugfs of the GPUs: firmware versions, GT topology and workarounds, memory managers",
    preset="default",
    collect=collect,
    timeout_s=30,
    root_adds="everything: debugfs is closed to others",
    order=260,
    lane=GPU_LANE,
)
