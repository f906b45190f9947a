"""What xpu-smi says of the devices; the same words in 1.x and 2.x."""

from __future__ import annotations

from xpukit.sysinfo.collector import GPU_LANE, Collector
from xpukit.sysinfo.inquire import make_collect

COLLECTOR = Collector(
    name="xpu_smi",
    summary="xpu-smi: version and list of devices",
    preset="minimal",
    collect=make_collect("xpu_smi"),
    timeout_s=45,
    root_adds="device details that the driver keeps from ordinary users",
    order=140,
    lane=GPU_LANE,
)
