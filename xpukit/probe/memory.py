"""How much memory the card has, where the driver says so in sysfs or debugfs (Level Zero fills in the rest)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from xpukit.host.door import Host
from xpukit.probe.debugfs import find_directory
from xpukit.probe.drm import find_nodes
from xpukit.probe.question import PciFunction, Question
from xpukit.probe.sysfs import read_int, read_text

_TILE = re.compile(r"tile\d+")
_VRAM = re.compile(r"vram\d+_mm")
_MM_SIZE = re.compile(r"^\s*size:\s*(\d+)", re.MULTILINE)
# Places of the size below a tile's directory, in kernels and out-of-tree drivers so far.
_TILE_FILES = ("physical_vram_size_bytes", "memory/physical_vram_size_bytes")


def parse_mm_size(text: str) -> int | None:
    """The 'size:' of a TTM resource manager in debugfs, bytes."""
    match = _MM_SIZE.search(text)
    return int(match[1]) if match else None


def read_memory(host: Host, function: PciFunction, so_far: Mapping[str, Any]) -> dict[str, Any]:
    """`memory_bytes` summed over tiles, with its source; nothing where the driver does not say."""
    if function.driver == "xe":
        size, source = _read_xe(host, function)
    elif function.driver == "i915":
        size, source = _read_i915(host, function)
    else:
        return {}
    return {"memory_bytes": size, "sources": {"memory_bytes": source}} if size else {}


def _read_xe(host: Host, function: PciFunction) -> tuple[int, str]:
    tiles = [name for name in host.list(function.sys_path).names if _TILE.fullmatch(name)]
    for file in _TILE_FILES:
        sizes = [read_int(host, f"{function.sys_path}/{tile}/{file}") for tile in tiles]
        total = sum(size for size in sizes if size)
        if total and None not in sizes:
            return total, f"{function.sys_path}/tile*/{file}"
    directory, _ = find_directory(host, function)
    if not directory:
        return 0, ""
    managers = [name for name in host.list(directory).names if _VRAM.fullmatch(name)]
    usable = [parse_mm_size(read_text(host, f"{directory}/{name}") or "") for name in managers]
    return sum(size for size in usable if size), f"{directory}/vram*_mm (what the driver can hand out)"


def _read_i915(host: Host, function: PciFunction) -> tuple[int, str]:
    """Intel's out-of-tree i915 has the file at the card; the kernel's own has none."""
    card = find_nodes(host, function).card_sys_path
    if not card:
        return 0, ""
    path = f"{card}/lmem_total_bytes"
    return read_int(host, path) or 0, path


QUESTION = Question(
    name="memory",
    scope="device",
    order=100,
    summary="memory size where the driver says so",
    read_device=read_memory,
)
