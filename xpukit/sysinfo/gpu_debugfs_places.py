"""Reads chosen files of the GPUs' debugfs. No others: opening some of them acts on the GPU."""

from __future__ import annotations

import re

from xpukit.facts.sysinfo import load_inquiry
from xpukit.sysinfo.collector import Asker
from xpukit.sysinfo.gpu_places import find_gpus
from xpukit.sysinfo.inquire import read_there

_ROOT = "/sys/kernel/debug/dri"
_FILE_BYTES = 64 << 10


def read_debugfs(asker: Asker, collector: str) -> None:
    """`device_files` and `gt_files` of a collector's data, for each GPU and GT."""
    root = asker.list(_ROOT)
    if root.error:
        asker.note(f"{_ROOT}: {root.error} (root, and a mounted debugfs, would show firmware versions and GT state)")
        return
    inquiry = load_inquiry(collector)
    for gpu in find_gpus(asker):
        names = (gpu.bdf, *(card.removeprefix("card") for card in gpu.cards))
        place = next((f"{_ROOT}/{name}" for name in names if name in root.names), "")
        if not place:
            asker.note(f"{_ROOT} has no directory for {gpu.bdf}")
            continue
        read_there(asker, place, inquiry.words("device_files"), limit_bytes=_FILE_BYTES)
        for gt in _find_gts(asker, place):
            read_there(asker, gt, inquiry.words("gt_files"), limit_bytes=_FILE_BYTES)


def _find_gts(asker: Asker, place: str) -> list[str]:
    """GT directories; newer kernels put them below their tile and keep links at the top."""
    names = asker.list(place).names
    tiles = [f"{place}/{name}" for name in names if re.fullmatch(r"tile\d+", name)]
    found = [f"{tile}/{name}" for tile in tiles for name in asker.list(tile).names if re.fullmatch(r"gt\d+", name)]
    return found or [f"{place}/{name}" for name in names if re.fullmatch(r"gt\d+", name)]
