"""The GPUs of a machine as units that ranks can run on, and those left out, each with its reason."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from xpukit.core.errors import UsageError
from xpukit.core.machine import Device, Machine
from xpukit.core.units import format_bytes
from xpukit.serve.topology_groups import Group, find_groups

Hierarchy = Literal["FLAT", "COMPOSITE"]
INTEL = "8086"
NVIDIA = "10de"
_FREE = re.compile(r"memory free(?: tile (\d+))?")
# A card with less than this share free is used by somebody else.
_BUSY_BELOW = 0.9
_LEVEL_ZERO = "level_zero"


class Unit(msgspec.Struct, frozen=True, kw_only=True):
    """What a rank runs on: a GPU, or one tile of it (`tile`).

    `device` is `Device.index`. `free_bytes` None: nobody said. `order` sorts units as a process sees them (Level
    Zero's order); `order_known` False: a guess by PCI address. `mask`: its entry in ZE_AFFINITY_MASK among all GPUs
    of the machine. `link_gbps`: what its PCIe way to the machine carries now, 1e9 bytes/s.
    """

    label: str
    device: int
    bdf: str
    name: str
    vendor: str
    order: tuple[int, ...]
    mask: str
    tile: int | None = None
    tiles: int = 1
    memory_bytes: int | None = None
    free_bytes: int | None = None
    numa_node: int | None = None
    numa_rule: str = ""
    local_cpus: str = ""
    link_gbps: float | None = None
    render_node: str = ""
    card_node: str = ""
    order_known: bool = True


class Excluded(msgspec.Struct, frozen=True, kw_only=True):
    """A GPU that is not used, and why."""

    label: str
    bdf: str
    name: str
    reason: str


class DevicePool(msgspec.Struct, frozen=True, kw_only=True):
    """The units of a machine in the order that a process sees them, and what was left out.

    `tiled`: some GPU has tiles, so that the hierarchy matters and is set. `order_known` False: Level Zero did not
    answer, and the order is a guess. `counted`: how many entries of the mask each GPU of the machine has, by
    `Device.index` in the order of the mask, usable or not.
    """

    units: tuple[Unit, ...]
    excluded: tuple[Excluded, ...]
    groups: tuple[Group, ...]
    hierarchy: Hierarchy
    hierarchy_reason: str
    tiled: bool
    vendor: str
    order_known: bool
    counted: dict[int, int] = {}
    notes: tuple[str, ...] = ()


def find_units(machine: Machine, *, only: Sequence[str] = (), hierarchy: Hierarchy | None = None) -> DevicePool:
    """The pool of a machine. `only`: BDFs, `GPU3`, `3` (probe's numbers) or `GPU3/1` (a tile) to choose from; what is
    named is used even where it would be left out for its kind. `hierarchy`: by default FLAT, the drivers' own.

    Raises UsageError for a name that no GPU has, or one that cannot be used at all.
    """
    mode: Hierarchy = hierarchy or "FLAT"
    devices = machine.devices
    wanted = _read_names(machine, only)
    tiled = any((device.tiles or 1) > 1 for device in devices)
    ranked, known = _order_devices(machine)
    excluded: list[Excluded] = []
    usable: list[Device] = []
    for device in devices:
        named = any(index == device.index for index, _ in wanted)
        hard = _find_obstacle(device, machine)
        soft = _find_objection(device, machine)
        reason = hard or ("" if named else soft) or ("not asked for" if wanted and not named else "")
        if named and hard:
            raise UsageError(f"{device.bdf} cannot be used: {hard}", hint="xpukit doctor says more")
        if reason:
            excluded.append(Excluded(label=f"GPU{device.index}", bdf=device.bdf, name=device.name, reason=reason))
        else:
            usable.append(device)
    excluded += [
        Excluded(label="-", bdf=other.bdf, name=other.name, reason=_object_to_other(other.name))
        for other in machine.others
        if other.kind == "display"
    ]
    whole = {index for index, tile in wanted if tile is None}
    units: list[Unit] = []
    for device in usable:
        tiles = tuple(sorted({tile for index, tile in wanted if index == device.index and tile is not None}))
        chosen = tiles if device.index not in whole else ()
        units += _make_units(machine, device, mode, ranked, known=known, only_tiles=chosen)
    return DevicePool(
        units=tuple(sorted(units, key=lambda unit: unit.order)),
        excluded=tuple(excluded),
        groups=find_groups(machine),
        hierarchy=mode,
        hierarchy_reason=_explain_hierarchy(mode, tiled=tiled, asked=hierarchy is not None),
        tiled=tiled,
        vendor=next((unit.vendor for unit in units), devices[0].vendor_id if devices else INTEL),
        order_known=known,
        counted={device.index: _count_entries(device, mode) for device in ranked},
        notes=tuple(_note(machine, usable, units, mode)),
    )


def _read_names(machine: Machine, only: Sequence[str]) -> list[tuple[int, int | None]]:
    found: list[tuple[int, int | None]] = []
    for text in only:
        name, _, tile_text = text.strip().partition("/")
        match = re.fullmatch(r"(?:GPU)?(\d+)", name, re.IGNORECASE)
        device = next(
            (
                device
                for device in machine.devices
                if (match and int(match[1]) == device.index) or _short(device.bdf) == _short(name)
            ),
            None,
        )
        count = (device.tiles or 1) if device else 0
        if device is None or (tile_text and not (tile_text.isdecimal() and int(tile_text) < count)):
            known = ", ".join(f"GPU{one.index} ({one.bdf})" for one in machine.devices) or "none"
            raise UsageError(f"no GPU {text!r} here", hint=f"known: {known}")
        found.append((device.index, int(tile_text) if tile_text else None))
    return found


def _short(bdf: str) -> str:
    return bdf.lower().removeprefix("0000:")


def _find_obstacle(device: Device, machine: Machine) -> str:
    """Why a GPU cannot be used at all, "" when it can."""
    if device.vendor_id != INTEL:
        return ""
    if not device.driver:
        return "no driver is bound to it"
    if device.driver not in ("xe", "i915"):
        return f"bound to {device.driver}, so this system cannot compute on it"
    if not device.render_node:
        return "it has no render node"
    answered = machine.level_zero.get("status") == "ok" and machine.level_zero.get("devices")
    if answered and device.level_zero_index is None:
        return "Level Zero does not list it"
    return ""


def _find_objection(device: Device, machine: Machine) -> str:
    """Why a GPU is not used unless it is named."""
    if device.discrete is False:
        return "integrated graphics: it has no memory of its own"
    if device.virtual_function and any(other.bdf == device.physical_function for other in machine.devices):
        return f"a virtual function of {device.physical_function}, which is here too and shares its memory"
    return ""


def _object_to_other(name: str) -> str:
    return f"display adapter of the board or of another vendor: {name or 'unnamed'}"


def _order_devices(machine: Machine) -> tuple[list[Device], bool]:
    """All GPUs in the order of the mask, and whether that order is known."""
    listed = [device for device in machine.devices if device.level_zero_index is not None]
    if listed:
        return sorted(listed, key=lambda device: (_read_driver(device), device.level_zero_index or 0)), True
    # ZE_ENABLE_PCI_ID_DEVICE_ORDER=1 makes this so (Level Zero specification); the mask sets it along.
    nodes = [device for device in machine.devices if device.render_node or device.vendor_id != INTEL]
    known = all(device.vendor_id != INTEL for device in nodes)
    return sorted(nodes, key=lambda device: device.bdf), known


def _read_driver(device: Device) -> int:
    return int((device.extra.get(_LEVEL_ZERO) or {}).get("driver_index") or 0)


def _count_entries(device: Device, mode: Hierarchy) -> int:
    return (device.tiles or 1) if mode == "FLAT" else 1


def _make_units(
    machine: Machine,
    device: Device,
    mode: Hierarchy,
    ranked: Sequence[Device],
    *,
    known: bool,
    only_tiles: Sequence[int],
) -> Iterable[Unit]:
    tiles = device.tiles or 1
    everything: Sequence[int | None] = range(tiles) if mode == "FLAT" and tiles > 1 else (None,)
    base = 0
    for other in ranked:
        if other.index == device.index:
            break
        base += _count_entries(other, mode)
    for tile in (only_tiles if tiles > 1 else ()) or everything:
        number = _find_number(device, mode, tile, base, known=known)
        memory, free = _read_memory(machine, device, tile)
        yield Unit(
            label=f"GPU{device.index}" if tile is None else f"GPU{device.index}/{tile}",
            device=device.index,
            bdf=device.bdf,
            name=device.name,
            vendor=device.vendor_id,
            order=(_read_driver(device), number, tile or 0),
            mask=str(number) if tile is None or mode == "FLAT" else f"{number}.{tile}",
            tile=tile,
            tiles=tiles,
            memory_bytes=memory,
            free_bytes=free,
            numa_node=device.numa_node,
            numa_rule=device.numa_rule,
            local_cpus=device.local_cpus,
            link_gbps=device.link.current_gbps or device.link.limit_gbps if device.link else None,
            render_node=device.render_node,
            card_node=device.card_node,
            order_known=known,
        )


def _find_number(device: Device, mode: Hierarchy, tile: int | None, base: int, *, known: bool) -> int:
    """The number of a GPU or tile in the mask; under COMPOSITE that of its GPU."""
    said = (device.extra.get(_LEVEL_ZERO) or {}).get("masks_flat") or []
    if mode == "COMPOSITE":
        return device.level_zero_index if known and device.level_zero_index is not None else base
    if known and len(said) == (device.tiles or 1):
        return int(said[tile or 0])
    return base + (tile or 0)


def _read_memory(machine: Machine, device: Device, tile: int | None) -> tuple[int | None, int | None]:
    """(memory, free memory) of a GPU or of one of its tiles, bytes."""
    free: dict[str | None, float] = {}
    for sensor in device.sensors:
        match = _FREE.fullmatch(sensor.name)
        if match and sensor.unit == "bytes":
            free[match[1]] = sensor.value
    tiles = device.tiles or 1
    if tile is None:
        found = [value for name, value in free.items() if name is not None]
        total = free[None] if None in free else sum(found) if len(found) == tiles else None
        return device.memory_bytes, None if total is None else int(total)
    of_tile = free.get(str(tile))
    memory = _find_tile_memory(machine, device, tile)
    if memory is None and device.memory_bytes is not None:
        memory = device.memory_bytes // tiles
    return memory, None if of_tile is None else int(of_tile)


def _find_tile_memory(machine: Machine, device: Device, tile: int) -> int | None:
    for seen in machine.level_zero.get("devices", ()):
        if seen.get("bdf") == device.bdf:
            tiles: Sequence[Mapping[str, Any]] = seen.get("tiles") or ()
            said = tiles[tile].get("memory_bytes") if tile < len(tiles) else None
            return int(said) if said else None
    return None


def _explain_hierarchy(mode: Hierarchy, *, tiled: bool, asked: bool) -> str:
    why = "as asked" if asked else "the driver's own default"
    if not tiled:
        return "each rank gets a whole GPU: no GPU here has tiles"
    if mode == "FLAT":
        return f"each rank gets a tile (ZE_FLAT_DEVICE_HIERARCHY=FLAT, {why}): engines see tiles as GPUs"
    return (
        f"each rank gets a whole card (ZE_FLAT_DEVICE_HIERARCHY=COMPOSITE, {why}): a program that does not divide its "
        "work between tiles relies on the driver's implicit scaling"
    )


def _note(machine: Machine, usable: Sequence[Device], units: Sequence[Unit], mode: Hierarchy) -> Iterable[str]:
    for unit in units:
        if unit.free_bytes is not None and unit.memory_bytes and unit.free_bytes < _BUSY_BELOW * unit.memory_bytes:
            taken = format_bytes(unit.memory_bytes - unit.free_bytes)
            yield f"{unit.label}: {taken} of {format_bytes(unit.memory_bytes)} are in use already"
    unread = [unit.label for unit in units if unit.free_bytes is None and unit.vendor == INTEL]
    if unread and not machine.platform.get("named"):
        yield f"free memory of {', '.join(unread)} is not known: all of it is taken to be free"
    for device in usable:
        if not device.known and device.vendor_id == INTEL:
            yield f"GPU{device.index} {device.bdf} is not in our tables: {device.name}"
        if device.vfs_enabled:
            yield (
                f"GPU{device.index} {device.bdf} has {device.vfs_enabled} virtual functions, which hold part of its "
                "memory"
            )
        if device.link is not None and device.link.degraded:
            yield f"GPU{device.index} {device.bdf} runs on a PCIe link below what both ends can do"
        if device.numa_node is None and len(machine.numa) > 1:
            yield f"GPU{device.index} {device.bdf}: NUMA node not known ({device.numa_rule or 'nobody said'})"
    drivers = {_read_driver(device) for device in usable}
    if len(drivers) > 1:
        yield "the GPUs are listed by several Level Zero drivers: ZE_AFFINITY_MASK counts within each"
    said = str((machine.level_zero.get("environment") or {}).get("ZE_FLAT_DEVICE_HIERARCHY") or "").upper()
    if said and said != mode and any((device.tiles or 1) > 1 for device in usable):
        yield f"this shell has ZE_FLAT_DEVICE_HIERARCHY={said}; the launch sets {mode}"
