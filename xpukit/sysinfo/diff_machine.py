"""Differences between the readings of two machines: stack, devices and links, hardware, findings."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from xpukit.core.finding import Finding
from xpukit.core.machine import Device, Machine, SoftwareItem
from xpukit.core.units import format_bytes
from xpukit.sysinfo.diff_result import Difference, Side
from xpukit.sysinfo.diff_settings import compare_values, name_kind
from xpukit.sysinfo.summary_tables import describe_link

# Main memory and its parts: kernels keep a little more or less for themselves at each boot.
_MEMORY_TOLERANCE = 0.01


def compare_stack(a: Machine, b: Machine) -> Iterator[Difference]:
    """Versions of what is installed and loaded, firmware of the board."""
    # What a recording was not asked is not known to be absent.
    silent = {item.name for machine in (a, b) for item in machine.software if "UNRECORDED" in item.note}
    old, new = (
        {item.name: _name_version(item) for item in machine.software if item.found and item.name not in silent}
        for machine in (a, b)
    )
    unsure = {item.name for machine in (a, b) for item in machine.software if not _is_known(item)}
    yield from compare_values("stack", old, new, is_reading=lambda name: name in unsure)
    yield from compare_values("stack", _read_board(a), _read_board(b), is_reading=lambda _: True)


def list_package_names(*machines: Machine) -> set[str]:
    """Packages that the rows of the stack name as their source ('dpkg libze1')."""
    return {item.source.rpartition(" ")[2] for machine in machines for item in machine.software if item.found}


def _is_known(item: SoftwareItem) -> bool:
    """Whether a part is there, or is known not to be; "may not be used by this user" is neither."""
    return bool(item.found) or item.note.startswith("not ")


def _name_version(item: SoftwareItem) -> str:
    return item.version or "there"


def _read_board(machine: Machine) -> dict[str, str]:
    board = machine.platform.get("board") or {}
    return {f"board {name}": str(value) for name, value in board.items() if value} if isinstance(board, dict) else {}


def pair_devices(a: Sequence[Device], b: Sequence[Device]) -> list[tuple[Device | None, Device | None]]:
    """The same card in both: at the same address with the same id, else in order among those with the same id."""
    left = {device.bdf: device for device in b}
    pairs: list[tuple[Device | None, Device | None]] = []
    moved: list[Device] = []
    for device in a:
        match = left.get(device.bdf)
        if match is not None and match.device_id == device.device_id:
            pairs.append((device, left.pop(device.bdf)))
        else:
            moved.append(device)
    for device in moved:
        match = next((other for other in left.values() if other.device_id == device.device_id), None)
        if match is not None:
            left.pop(match.bdf)
        pairs.append((device, match))
    return pairs + [(None, device) for device in left.values()]


def compare_devices(a: Machine, b: Machine) -> Iterator[Difference]:
    """GPUs added, removed and moved; of each their links, windows, nodes, drivers and firmware."""
    for old, new in pair_devices(a.devices, b.devices):
        if old is None and new is not None:
            yield Difference(area="devices", kind="added", what="GPU", new=_name_device(new), subject=new.bdf)
        elif new is None and old is not None:
            yield Difference(area="devices", kind="removed", what="GPU", old=_name_device(old), subject=old.bdf)
        elif old is not None and new is not None:
            if old.bdf != new.bdf:
                yield Difference(
                    area="devices", kind="changed", what="address", old=old.bdf, new=new.bdf, subject=new.bdf
                )
            yield from compare_values(
                "stack", _read_firmware(old), _read_firmware(new), subject=new.bdf, is_reading=_is_reading
            )
            values = (_read_device(old, new), _read_device(new, old))
            yield from compare_values("devices", *values, subject=new.bdf, is_reading=_is_reading)
    other_a, other_b = ({other.bdf: f"{other.kind} {other.name}".strip() for other in m.others} for m in (a, b))
    for difference in compare_values("devices", other_a, other_b):
        yield Difference(
            area="devices",
            kind=difference.kind,
            what="other device",
            old=difference.old,
            new=difference.new,
            subject=difference.what,
        )


def _is_reading(name: str) -> bool:
    """Whether a name of a device's values is missing only because nobody could read it."""
    return not name.startswith("driver parameter")


def _name_device(device: Device) -> str:
    return f"{device.name} ({device.vendor_id}:{device.device_id})"


def _read_firmware(device: Device) -> dict[str, str]:
    """Versions a GPU runs; a state ("disabled") where it names none."""
    found: dict[str, set[str]] = {}
    for firmware in device.firmware:
        found.setdefault(f"{firmware.name} firmware", set()).add(firmware.version or firmware.status)
    return {name: ", ".join(sorted(versions)) for name, versions in found.items() if any(versions)}


def _read_device(device: Device, other: Device) -> dict[str, str]:
    """What is compared of a GPU; a reading that `other` does not have for want of rights is left out."""
    link = device.link
    values: dict[str, str] = {
        "driver": device.driver or "none",
        "driver version": device.driver_version,
        "render node": device.render_node or "none",
        "NUMA node": "" if device.numa_node is None else str(device.numa_node),
        "subsystem": device.subsystem_id,
        "revision": device.revision,
        "tiles": "" if device.tiles is None else str(device.tiles),
        "memory": _describe_memory(device.memory_bytes, other.memory_bytes),
        "BAR": "" if device.bar_bytes is None else format_bytes(device.bar_bytes),
        "BARs": ", ".join(f"{bar.index}: {format_bytes(bar.size_bytes)}" for bar in device.bars),
        "IOMMU mode": device.iommu.mode if device.iommu else "",
        "shares its IOMMU group with": ", ".join(device.iommu.group_members) if device.iommu else "",
        "ACS redirects at": ", ".join(port.bdf for port in device.acs if port.redirects) or "none",
        "virtual functions": "" if device.vfs_enabled is None else str(device.vfs_enabled),
        "Level Zero index": "" if device.level_zero_index is None else str(device.level_zero_index),
        "SYCL index": "" if device.sycl_index is None else str(device.sycl_index),
    }
    for gt in device.gts:
        if gt.min_mhz is not None or gt.max_mhz is not None:
            values[f"clock limits of tile {gt.tile} gt {gt.gt}"] = f"{gt.min_mhz or 0:g} to {gt.max_mhz or 0:g} MHz"
    if link is not None:
        values |= {
            "link now": describe_link(link.current_speed_gts, link.current_width),
            "link possible": describe_link(link.max_speed_gts, link.max_width),
            "link read at": link.read_at,
            "link limited by": link.limited_by or "the card",
        }
    for name, value in device.driver_parameters.items():
        values[f"driver parameter {name}"] = value
    # The same slot named by its own address: a moved card would differ in every line that names it.
    return {name: value.replace(device.bdf, "this GPU") for name, value in values.items() if value not in ("", "-")}


def _describe_memory(size: int | None, other: int | None) -> str:
    if size is None:
        return ""
    near = other is not None and abs(size - other) <= _MEMORY_TOLERANCE * max(size, other)
    # Two sizes that count as the same must read the same.
    return format_bytes(max(size, other) if near and other is not None else size)


def compare_hardware(a: Machine, b: Machine) -> Iterator[Difference]:
    """The shape of the machine: processors, memory, NUMA nodes, virtual or not."""
    values = (_read_hardware(a, b), _read_hardware(b, a))
    yield from compare_values("hardware", *values, is_reading=lambda name: not name.startswith("NUMA node "))


def _read_hardware(machine: Machine, other: Machine) -> dict[str, str]:
    cpu = machine.cpu
    values = {
        "processor": cpu.model,
        "sockets": str(cpu.sockets or ""),
        "cores": str(cpu.cores or ""),
        "threads a core": str(cpu.threads_per_core or ""),
        "processors online": cpu.online,
        "last-level cache": format_bytes(cpu.last_level_cache_bytes) if cpu.last_level_cache_bytes else "",
        "memory": _describe_memory(machine.memory_bytes, other.memory_bytes),
        "NUMA nodes": str(len(machine.numa) or ""),
        "virtual machine": str(machine.platform.get("hypervisor") or "") if machine.platform.get("vm") else "no",
        "container": str(machine.platform.get("container") or "no"),
    }
    others = {node.node: node for node in other.numa}
    for node in machine.numa:
        twin = others.get(node.node)
        values[f"NUMA node {node.node} processors"] = node.cpus or "none"
        values[f"NUMA node {node.node} memory"] = _describe_memory(
            node.memory_bytes, twin.memory_bytes if twin else None
        )
        values[f"NUMA node {node.node} distances"] = " ".join(map(str, node.distances))
    return {name: value for name, value in values.items() if value}


def compare_findings(a: Side, b: Side) -> Iterator[Difference]:
    """Findings that are new, gone or changed, worst first; then what only one side could not check.

    A finding about a card that was moved is the same finding at its new address.
    """
    moved = {
        old.bdf: new.bdf
        for old, new in pair_devices(a.machine.devices, b.machine.devices)
        if old is not None and new is not None and old.bdf != new.bdf
    }
    old_ones = {(one.id, _rename(one.subject, moved)): one for one in a.findings}
    new_ones = {(one.id, one.subject): one for one in b.findings}
    for key in dict.fromkeys((*new_ones, *old_ones)):
        before, after = old_ones.get(key), new_ones.get(key)
        text = _describe_finding(before)
        if _rename(text, moved) != _describe_finding(after):
            yield Difference(
                area="findings",
                kind=name_kind(before, after),
                what=key[0],
                old=text,
                new=_describe_finding(after),
                subject=key[1],
            )
    unable_a, unable_b = ({f"not checked: {one.check}": one.why for one in side.unchecked} for side in (a, b))
    yield from compare_values("findings", unable_a, unable_b)


def _rename(text: str, moved: Mapping[str, str]) -> str:
    """A text with the new addresses in place of the old ones, each replaced once (two cards may have swapped)."""
    if not moved:
        return text
    return re.sub("|".join(map(re.escape, moved)), lambda found: moved[found[0]], text)


def _describe_finding(finding: Finding | None) -> str:
    return "" if finding is None else f"{finding.severity}: {finding.summary}"
