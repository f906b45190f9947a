"""Vulkan, VA-API and udev."""

from __future__ import annotations

from xpukit.sysinfo.collector import GPU_LANE, Collector
from xpukit.sysinfo.inquire import make_collect

COLLECTOR = Collector(
    name="media",
    summary="Vulkan and VA-API drivers, udev's view of the DRM devices",
    preset="full",
    collect=make_collect("media"),
    timeout_s=45,
    order=820,
    lane=GPU_LANE,
)
