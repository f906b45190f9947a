"""More of the GPUs' debugfs: engine registers, tables, firmware queues. Reading wakes an idle GPU."""

from __future__ import annotations

from xpukit.sysinfo.collector import GPU_LANE, Asker, Collector
from xpukit.sysinfo.gpu_debugfs_places import read_debugfs

_NAME = "gpu_debugfs_full"


def collect(asker: Asker) -> None:
    read_debugfs(asker, _NAME)


COLLECTOR = Collector(
    name=_NAME,
    summary="more debugfs of the GPUs: engine registers, PAT and MOCS tables, GuC queues (wakes an idle GPU)",
    preset="full",
    collect=collect,
    timeout_s=60,
    root_adds="everything: debugfs is closed to others",
    order=800,
    lane=GPU_LANE,
)
