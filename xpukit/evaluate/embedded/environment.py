"""The environment in which a worker sees exactly the devices it is to measure, in a known order."""

from __future__ import annotations

from collections.abc import Sequence

from xpukit.core.measurement import Target


def name_in_mask(target: Target) -> str:
    """A target as ZE_AFFINITY_MASK names it: 'index' or 'index.tile'."""
    return f"{target.level_zero_index}" if target.tile is None else f"{target.level_zero_index}.{target.tile}"


def build_worker_environment(targets: Sequence[Target]) -> dict[str, str]:
    """Environment for a worker on `targets` (all GPUs, or the CPU).

    COMPOSITE keeps a two-tile card one device with sub-devices, so that indices mean the same on all drivers.
    """
    if all(target.kind == "cpu" for target in targets):
        return {"ONEAPI_DEVICE_SELECTOR": "opencl:cpu", "XPUKIT_DEVICE": "cpu"}
    mask = ",".join(sorted({name_in_mask(target) for target in targets if target.kind == "gpu"}, key=_mask_order))
    return {
        "ONEAPI_DEVICE_SELECTOR": "level_zero:gpu",
        "ZE_FLAT_DEVICE_HIERARCHY": "COMPOSITE",
        "ZE_AFFINITY_MASK": mask,
        "XPUKIT_DEVICE": "gpu",
    }


def _mask_order(name: str) -> tuple[int, int]:
    index, _, tile = name.partition(".")
    return int(index), int(tile or 0)
