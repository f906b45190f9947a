"""The most that a device can do: its specification, and the link it is on at this moment."""

from __future__ import annotations

from collections.abc import Sequence

from xpukit.core.machine import Device, Machine
from xpukit.core.measurement import Target
from xpukit.evaluate.reference import DeviceLimits, Limits
from xpukit.facts.devices import DeviceFacts, lookup_device

# Which specified peak bounds a data type. bf16 runs on the same matrix units at the same rate as fp16.
_PEAKS = {"fp32": "fp32", "fp16": "fp16", "bf16": "fp16", "int8": "int8"}


def find_peak_metric(dtype: str) -> str | None:
    """The specified peak that bounds a data type: 'fp16' for bf16; None where none does."""
    return _PEAKS.get(dtype)


def gather_limits(machine: Machine, targets: Sequence[Target]) -> Limits:
    """Known limits of the GPUs of a run; the CPU has none but what the run measures itself."""
    devices = {device.bdf: device for device in machine.devices}
    return Limits(
        {target.label: _limit_device(devices[target.bdf], target) for target in targets if target.bdf in devices}
    )


def gather_specified_limits(targets: Sequence[Target]) -> Limits:
    """What the specification of each target's PCI id says, for devices that are not here to be looked at."""
    found = {target.label: lookup_device("8086", target.device_id) for target in targets if target.device_id}
    return Limits(
        {
            target.label: DeviceLimits(
                memory_gbps=_find(facts, "memory_bandwidth", target), peak_by_dtype=_find_peaks(facts, target)
            )
            for target in targets
            if (facts := found.get(target.label)) is not None
        }
    )


def _limit_device(device: Device, target: Target) -> DeviceLimits:
    facts = lookup_device(device.vendor_id, device.device_id)
    link = device.link
    return DeviceLimits(
        memory_gbps=_find(facts, "memory_bandwidth", target),
        link_gbps=(link.limit_gbps, f"PCIe link at {link.limited_by or link.read_at}")
        if link is not None and link.limit_gbps is not None
        else None,
        peak_by_dtype=_find_peaks(facts, target),
    )


def _find_peaks(facts: DeviceFacts | None, target: Target) -> dict[str, tuple[float, str]]:
    return {dtype: found for dtype, metric in _PEAKS.items() if (found := _find(facts, metric, target)) is not None}


def _find(facts: DeviceFacts | None, metric: str, target: Target) -> tuple[float, str] | None:
    limit = facts.find_limit(metric) if facts is not None else None
    if limit is None or facts is None:
        return None
    # A specification is of the card; a tile has its share of it.
    share = (facts.tiles or 1) if target.tile is not None else 1
    return limit.value / share, f"{limit.kind}: {limit.source}"
