"""How fast a device will be, roughly: for the duration of a plan, never for a verdict.

From its specification (facts, each with source) times a share that runs are seen to reach; where that is not known, a
guess at the slowest card that is supported.
"""

from __future__ import annotations

from collections.abc import Mapping

from xpukit.core.measurement import Target
from xpukit.facts.devices import DeviceFacts, lookup_device
from xpukit.facts.pcie import compute_line_rate_gbps

# Guesses, low on purpose: a plan should rather be done early.
_SHARE_OF_PEAK = 0.3
_SHARE_OF_LINK = 0.5
_SLOWEST_LINK_BYTES_PER_S = 4e9
# Of which specified peak a type has which share: matrix units for 16 bits and less, vector units for the others.
_OF_PEAK: dict[str, tuple[str, float]] = {
    "fp64": ("fp32", 1 / 16),
    "fp32": ("fp32", 1.0),
    "tf32": ("fp32", 1.0),
    "fp16": ("fp16", 1.0),
    "bf16": ("fp16", 1.0),
    "fp8_e4m3": ("fp16", 0.5),
    "fp8_e5m2": ("fp16", 0.5),
    "int8": ("int8", 1.0),
    "int4_fp16": ("fp16", 0.3),
    "int4_bf16": ("fp16", 0.3),
}


def _find_facts(target: Target) -> DeviceFacts | None:
    return lookup_device("8086", target.device_id) if target.device_id else None


def estimate_gpu_rates(target: Target | None, slowest: Mapping[str, float]) -> dict[str, float]:
    """Operations per second for each type of `slowest`, which stands where nothing is specified."""
    facts = _find_facts(target) if target is not None else None
    rates = dict(slowest)
    for dtype, (metric, part) in _OF_PEAK.items():
        limit = facts.find_limit(metric) if facts is not None else None
        if limit is not None and facts is not None and dtype in rates:
            tiles = (facts.tiles or 1) if target is not None and target.tile is not None else 1
            rates[dtype] = max(rates[dtype], limit.value * 1e12 / tiles * part * _SHARE_OF_PEAK)
    return rates


def estimate_copy_bytes_per_s(target: Target) -> float:
    """Bytes per second one way over the target's PCIe link."""
    facts = _find_facts(target)
    if facts is None or facts.pcie_speed_gts is None or facts.pcie_width is None:
        return _SLOWEST_LINK_BYTES_PER_S
    return compute_line_rate_gbps(facts.pcie_speed_gts, facts.pcie_width) * 1e9 * _SHARE_OF_LINK
