"""Dumps that the drivers made when a GPU failed; looked at, never removed."""

from __future__ import annotations

from xpukit.sysinfo.collector import GPU_LANE, Collector
from xpukit.sysinfo.inquire import make_collect

COLLECTOR = Collector(
    name="devcoredump",
    summary="error states that the drivers kept (their head)",
    preset="default",
    collect=make_collect("devcoredump"),
    timeout_s=15,
    root_adds="the dumps themselves",
    order=270,
    lane=GPU_LANE,
)
