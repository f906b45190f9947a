"""What a process did with a GPU: /proc/<pid>/fdinfo/<fd> of a DRM file.

The format: kernel Documentation/gpu/drm-usage-stats.rst.
"""

from __future__ import annotations

import re

import msgspec

from xpukit.facts.exporter_metrics import load_exporter_sources

_UNITS = {"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_NUMBER = re.compile(r"(\d{1,20})(?:\s+(KiB|MiB|GiB|ns))?")
_MEMORY_KEYS = ("drm-resident-", "drm-memory-", "drm-total-")


class EngineUse(msgspec.Struct, frozen=True, kw_only=True):
    """Time of one engine class: in nanoseconds (`busy_ns`), or in ticks beside the ticks that passed."""

    busy_ns: int | None = None
    cycles: int | None = None
    total_cycles: int | None = None
    capacity: int = 1


class DrmClient(msgspec.Struct, frozen=True, kw_only=True):
    """One DRM client: several descriptors and processes may share it, so it is counted by `bdf` and `client_id`."""

    bdf: str
    client_id: str
    driver: str = ""
    engines: dict[str, EngineUse] = {}
    memory_bytes: dict[str, int] = {}


def parse_fdinfo(text: str) -> DrmClient | None:
    """A client, or None for a descriptor that is none of a PCI GPU's. Lines that make no sense are passed over."""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if colon and key.startswith("drm-"):
            fields.setdefault(key.strip(), value.strip())
    bdf, client_id = fields.get("drm-pdev", ""), fields.get("drm-client-id", "")
    if not bdf or not client_id:
        return None
    return DrmClient(
        bdf=bdf,
        client_id=client_id,
        driver=fields.get("drm-driver", ""),
        engines=_read_engines(fields),
        memory_bytes=_read_memory(fields),
    )


def _read_engines(fields: dict[str, str]) -> dict[str, EngineUse]:
    names = load_exporter_sources().engines.names
    found: dict[str, EngineUse] = {}
    for key, name in names.items():
        capacity = _read_number(fields.get(f"drm-engine-capacity-{key}")) or 1
        busy_ns = _read_number(fields.get(f"drm-engine-{key}"))
        cycles = _read_number(fields.get(f"drm-cycles-{key}"))
        total = _read_number(fields.get(f"drm-total-cycles-{key}"))
        if busy_ns is not None:
            found[name] = EngineUse(busy_ns=busy_ns, capacity=capacity)
        elif cycles is not None and total is not None:
            found[name] = EngineUse(cycles=cycles, total_cycles=total, capacity=capacity)
    return found


def _read_memory(fields: dict[str, str]) -> dict[str, int]:
    """Bytes in `device` and `system` memory; a region is counted once, by the first key that tells of it."""
    regions = load_exporter_sources().regions
    told: dict[str, int] = {}
    for prefix in _MEMORY_KEYS:
        for key, value in fields.items():
            if key.startswith(prefix) and (number := _read_number(value)) is not None:
                told.setdefault(key.removeprefix(prefix), number)
    sums: dict[str, int] = {}
    for region, size in told.items():
        for kind, pattern in (("device", regions.device), ("system", regions.system)):
            if re.fullmatch(pattern, region):
                sums[kind] = sums.get(kind, 0) + size
    return sums


def _read_number(text: str | None) -> int | None:
    match = _NUMBER.fullmatch(text or "")
    return int(match[1]) * _UNITS.get(match[2] or "", 1) if match else None
