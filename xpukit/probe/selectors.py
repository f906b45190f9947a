"""Whether a variable that chooses devices leaves any of this machine's GPUs out."""

from __future__ import annotations

import re
from collections.abc import Sequence

from xpukit.core.machine import Device

NAMES = ("ONEAPI_DEVICE_SELECTOR", "SYCL_DEVICE_FILTER", "SYCL_DEVICE_ALLOWLIST", "ZE_AFFINITY_MASK")


def may_hide(name: str, value: str, devices: Sequence[Device]) -> bool:
    """False where all GPUs stay visible for sure: an empty value, a mask of all, a selector of every GPU.

    ZE_AFFINITY_MASK is compared with the masks that Level Zero's order gave the devices; where that is not known, or
    the value is not understood, it may hide some.
    """
    text = value.strip()
    if not text:
        return False
    if name == "ZE_AFFINITY_MASK":
        wanted = {number for device in devices for number in device.affinity_mask.split(",") if number}
        named = {entry.strip() for entry in text.split(",")}
        return not all(device.affinity_mask for device in devices) or not wanted <= named
    if name == "ONEAPI_DEVICE_SELECTOR":
        terms = [term.strip().lower() for term in text.split(";")]
        # A term with "!" takes devices away again.
        if any(term.startswith("!") for term in terms):
            return True
        return not any(re.fullmatch(r"(level_zero|\*):(.*,)?(\*|gpu)(,.*)?", term) for term in terms)
    return True
