"""Level Zero's view, joined to the PCI devices by address, else by UUID.

Three orders exist: card numbers (a BMC can be card0), PCI addresses, and Level Zero's own, in which programs count and
which ZE_AFFINITY_MASK names. A device gets all of them here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from xpukit.core.machine import Device, Firmware, Sensor, SoftwareItem, Unread
from xpukit.host.door import Host
from xpukit.host.level_zero.snapshot import LevelZeroAnswer, LevelZeroDevice, Peer
from xpukit.probe.parsers.installed import read_library_version
from xpukit.probe.question import Question
from xpukit.probe.sighting import Sighting, find_device, format_uuid, read_uuid

SOURCE = "level-zero"
TIMEOUT_S = 15.0
_GENERIC_NAMES = ("Intel(R) Graphics [", "Intel GPU (unknown")


def read_machine(host: Host, devices: tuple[Device, ...], so_far: Mapping[str, Any]) -> dict[str, Any]:
    """Asks the loader in a child process and joins what it says."""
    return join_answer(host.level_zero(timeout_s=TIMEOUT_S), devices)


def join_answer(answer: LevelZeroAnswer, devices: tuple[Device, ...]) -> dict[str, Any]:
    """The devices with Level Zero's fields, its own table, and what could not be had."""
    joined = list(devices)
    sightings = []
    for seen in answer.devices:
        # What only sysman lists may come without a type.
        if seen.type != "gpu" and (seen.index is not None or not seen.bdf):
            continue
        place, rule = find_device(joined, bdf=seen.bdf or "", uuid=seen.uuid)
        sightings.append(describe_sighting(seen, answer, rule))
        if place is not None:
            joined[place] = _fill(joined[place], seen, rule, answer.environment)
    # No answer at all, as against one in which only the core or only sysman failed.
    is_answered = answer.status == "ok" or any(seen.index is not None for seen in answer.devices)
    return {
        "devices": tuple(joined),
        "level_zero": describe_answer(answer),
        "asked": {SOURCE: "ok" if is_answered else answer.status},
        "sightings": tuple(sightings),
        "software": _list_software(answer),
        "unread": tuple(_explain(answer)),
    }


def describe_answer(answer: LevelZeroAnswer) -> dict[str, Any]:
    """`Machine.level_zero`: the snapshot as plain values, with peers named by PCI address."""
    document: dict[str, Any] = msgspec.to_builtins(answer)
    document["peers"] = [_describe_peer(peer, answer) for peer in answer.peers]
    return document


def _describe_peer(peer: Peer, answer: LevelZeroAnswer) -> dict[str, Any]:
    src, src_tile = _locate(peer.driver_index, peer.src, answer)
    dst, dst_tile = _locate(peer.driver_index, peer.dst, answer)
    described: dict[str, Any] = msgspec.to_builtins(peer)
    described.update(src=src, src_tile=src_tile, dst=dst, dst_tile=dst_tile)
    described.update(src_mask=peer.src, dst_mask=peer.dst)
    return described


def _locate(driver_index: int, mask: str, answer: LevelZeroAnswer) -> tuple[str, int | None]:
    """(PCI address, tile) of a mask entry; the entry itself stands for a device without an address."""
    device, _, tile = mask.partition(".")
    for seen in answer.devices:
        if seen.driver_index == driver_index and seen.mask_composite == device:
            return seen.bdf or mask, int(tile) if tile.isdecimal() else None
    return mask, None


def name_mask(seen: LevelZeroDevice, environment: Mapping[str, str]) -> str:
    """The ZE_AFFINITY_MASK that selects the whole device under the hierarchy that programs here run with.

    Without ZE_FLAT_DEVICE_HIERARCHY a driver exposes tiles as devices of their own (FLAT; the same number as
    COMPOSITE's for cards of one tile).
    """
    hierarchy = environment.get("ZE_FLAT_DEVICE_HIERARCHY", "").upper() or "FLAT"
    if hierarchy == "COMPOSITE" or not seen.masks_flat:
        return seen.mask_composite or ""
    return ",".join(str(number) for number in seen.masks_flat)


def describe_sighting(seen: LevelZeroDevice, answer: LevelZeroAnswer, rule: str) -> Sighting:
    """One device as Level Zero sees it."""
    drivers = {driver.index: driver.driver_version for driver in answer.drivers}
    version = drivers.get(seen.driver_index)
    uuid = read_uuid(seen.uuid)
    return Sighting(
        source=SOURCE,
        evidence=f"Level Zero driver {seen.driver_index} device {seen.mask_composite or '(sysman only)'}",
        index=seen.index,
        label=seen.mask_composite or "",
        bdf=seen.bdf or "",
        uuid=format_uuid(uuid) if uuid is not None and any(uuid) else "",
        name=seen.name,
        device_id=f"{seen.device_id:04x}" if seen.device_id else "",
        memory_bytes=seen.memory_bytes,
        tiles=max(1, len(seen.tiles)) if seen.index is not None else None,
        driver_version=str(version) if version else "",
        joined_by=rule,
    )


def decode_driver_version(number: int) -> str:
    """compute-runtime packs major, minor and build into 8, 8 and 16 bits: 17012470 is 1.3.38646."""
    return f"{number >> 24}.{(number >> 16) & 0xFF}.{number & 0xFFFF}"


def _fill(device: Device, seen: LevelZeroDevice, rule: str, environment: Mapping[str, str]) -> Device:
    sources = dict(device.sources)
    changes: dict[str, Any] = {}

    def learn(field: str, value: Any) -> None:
        changes[field] = value
        sources[field] = SOURCE

    if seen.index is not None:
        learn("level_zero_index", seen.index)
        learn("affinity_mask", name_mask(seen, environment))
        if device.tiles is None:
            learn("tiles", max(1, len(seen.tiles)))
    uuid = read_uuid(seen.uuid)
    if uuid is not None and any(uuid) and not device.uuid:
        learn("uuid", format_uuid(uuid))
    if seen.memory_bytes and device.memory_bytes is None:
        learn("memory_bytes", seen.memory_bytes)
    if not device.known and seen.name and not seen.name.startswith(_GENERIC_NAMES):
        learn("name", seen.name)
    firmware = tuple(_read_firmware(device, seen))
    if firmware:
        changes["firmware"] = (*device.firmware, *firmware)
    sensors = tuple(_read_sensors(seen))
    if sensors:
        changes["sensors"] = (*device.sensors, *sensors)
    changes["extra"] = {**device.extra, "level_zero": _read_extra(seen, rule)}
    return msgspec.structs.replace(device, **changes, sources=sources)


def _read_firmware(device: Device, seen: LevelZeroDevice) -> Iterable[Firmware]:
    known = {firmware.name.lower() for firmware in device.firmware}
    for firmware in (seen.sysman.firmwares if seen.sysman else None) or ():
        if firmware.version and firmware.name.lower() not in known:
            name = firmware.name if firmware.tile is None else f"{firmware.name} tile {firmware.tile}"
            yield Firmware(name=name, version=firmware.version, source=f"{SOURCE} sysman")


def _read_sensors(seen: LevelZeroDevice) -> Iterable[Sensor]:
    """Temperatures, clocks and free memory; counters (energy, errors) need two readings and stay in the table."""
    sysman = seen.sysman
    if sysman is None:
        return

    def name(kind: str, what: str, tile: int | None) -> str:
        return f"{kind} {what}" if tile is None else f"{kind} {what} tile {tile}"

    source = f"{SOURCE} sysman"
    for sensor in sysman.temperatures or ():
        if sensor.celsius is not None:
            label = name("temperature", sensor.sensor, sensor.tile)
            yield Sensor(name=label, value=sensor.celsius, unit="C", source=source)
    for domain in sysman.frequencies or ():
        if domain.actual_mhz is not None:
            label = name("clock", domain.domain, domain.tile)
            yield Sensor(name=label, value=domain.actual_mhz, unit="MHz", source=source)
    for module in sysman.memories or ():
        if module.free_bytes is not None and module.location == "device":
            label = name("memory", "free", module.tile)
            yield Sensor(name=label, value=float(module.free_bytes), unit="bytes", source=source)


def _read_extra(seen: LevelZeroDevice, rule: str) -> dict[str, Any]:
    extra: dict[str, Any] = {
        "driver_index": seen.driver_index,
        "joined_by": rule,
        "name": seen.name,
        "mask_composite": seen.mask_composite,
        "masks_flat": list(seen.masks_flat),
        "eus": seen.eus,
        "max_mem_alloc_bytes": seen.max_mem_alloc_bytes,
    }
    sysman = seen.sysman
    if sysman is not None:
        extra["ecc"] = sysman.ecc.current if sysman.ecc else None
        extra["memory_health"] = sorted({module.health for module in sysman.memories or () if module.health})
        extra["throttle_reasons"] = sorted(
            {reason for domain in sysman.frequencies or () for reason in domain.throttle_reasons or ()}
        )
        extra["reset_needed"] = list(sysman.reset_needed or ())
    return extra


def _list_software(answer: LevelZeroAnswer) -> tuple[SoftwareItem, ...]:
    by_name = read_library_version(answer.loader_path or "")
    version = answer.loader_version or by_name
    unsure = "by its file's name" if by_name else answer.detail or answer.status
    loader = SoftwareItem(
        name="Level Zero loader (loaded)",
        version=version,
        source=answer.loader_path or "libze_loader.so.1",
        note="" if answer.loader_version else unsure,
        found=bool(answer.loader_path or version),
    )
    drivers = tuple(
        SoftwareItem(
            name=f"Level Zero driver {driver.index} (loaded)",
            version=decode_driver_version(driver.driver_version) if driver.driver_version else "",
            source="zeDriverGetProperties",
            note=f"API {driver.api_version}" if driver.api_version else "",
            found=True,
        )
        for driver in answer.drivers
    )
    none = SoftwareItem(name="Level Zero driver (loaded)", source=SOURCE, note=answer.detail or answer.status)
    return (loader, *(drivers or (none,)))


def _explain(answer: LevelZeroAnswer) -> Iterable[Unread]:
    if answer.status != "ok" or answer.detail:
        state = answer.status if answer.status != "ok" else "incomplete"
        yield Unread(what=SOURCE, why=f"{state}: {answer.detail}".rstrip(": "), remedy=answer.remedy)
    if answer.status == "ok" and answer.devices and answer.sysman_mode == "none":
        yield Unread(
            what=f"{SOURCE} sysman",
            why="system management could not be started: no temperatures, clocks, firmware or health from Level Zero",
            remedy="a newer loader and driver have zesInit; else run as root",
        )


QUESTION = Question(
    name="level_zero",
    scope="machine",
    order=200,
    summary="devices as Level Zero counts them, their UUID, tiles, memory, peers and sensors",
    read_machine=read_machine,
)
