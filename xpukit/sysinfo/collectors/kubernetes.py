"""Hints of Kubernetes; nothing is asked of a cluster."""

from __future__ import annotations

from xpukit.sysinfo.collector import Collector
from xpukit.sysinfo.inquire import make_collect

COLLECTOR = Collector(
    name="kubernetes",
    summary="whether this is a Kubernetes node or pod, and whether Intel's device plugin is there",
    preset="default",
    collect=make_collect("kubernetes"),
    timeout_s=10,
    root_adds="the kubelet's folders",
    order=560,
)
