"""Ask Level Zero, in this process. Meant for a child: a driver may crash, hang, print or end the process."""

from __future__ import annotations

import ctypes as c
import os
from collections.abc import Callable, Iterable
from typing import Any, Literal

import msgspec

from xpukit.host.level_zero import api, names, sysman_api
from xpukit.host.level_zero.calls import Calls, decode_name, format_bdf, format_version
from xpukit.host.level_zero.names import name_flags, name_value
from xpukit.host.level_zero.outcome import judge_start, judge_unloadable
from xpukit.host.level_zero.snapshot import (
    LevelZeroAnswer,
    LevelZeroDevice,
    LevelZeroDriver,
    MemoryProperty,
    Peer,
    Sysman,
    SysmanMode,
)
from xpukit.host.level_zero.sysman import POWER_LIMITS_EXTENSION, read_speed, read_sysman

SysmanWish = Literal["auto", "legacy", "none"]

# What a caller sets to steer Level Zero; kept in the answer because it changes what other programs see.
STEERING_NAMES = (
    "ZE_FLAT_DEVICE_HIERARCHY",
    "ZE_AFFINITY_MASK",
    "ZE_ENABLE_PCI_ID_DEVICE_ORDER",
    "ZE_ENABLE_ALT_DRIVERS",
    "ZE_SHARED_FORCE_DEVICE_ALLOC",
    "ZES_ENABLE_SYSMAN",
    "ZEL_LIBRARY_PATH",
)

_MEMORY_EXTENSION = "ZE_extension_device_memory_properties"
_BANDWIDTH_EXTENSION = "ZE_experimental_bandwidth_properties"


def query_level_zero(*, loader: str, sysman: SysmanWish, trace: Callable[[str], None]) -> LevelZeroAnswer:
    """Load the loader, initialise and read everything; changes this process's environment to see all devices."""
    environment = {name: os.environ[name] for name in STEERING_NAMES if name in os.environ}
    trace(f"load {loader}")
    try:
        library = api.Library(loader)
    except OSError as err:
        return judge_unloadable(loader, str(err), environment)
    calls = Calls(library, trace)
    mode = _set_environment(library, sysman)
    core_code = calls.code("zeInit", 0)
    if mode == "zesInit" and not calls.ok("zesInit", 0):
        mode = "none"
    reader = _Reader(calls, mode, core_works=core_code == 0)
    reader.read()
    status, detail, remedy = judge_start(core_code, devices=len(reader.devices), sysman_works=mode == "zesInit")
    return LevelZeroAnswer(
        status=status,
        detail=detail,
        remedy=remedy,
        loader_path=_find_loaded(loader),
        loader_version=_read_loader_version(library, trace),
        sysman_mode=mode if reader.drivers or reader.devices else "none",
        environment=environment,
        drivers=tuple(reader.drivers),
        devices=tuple(reader.devices),
        peers=tuple(reader.peers),
        errors=calls.refused(),
    )


def _set_environment(library: api.Library, sysman: SysmanWish) -> SysmanMode:
    """COMPOSITE shows tiles as sub-devices; a mask would hide devices. zesInit and the variable exclude each other."""
    os.environ["ZE_FLAT_DEVICE_HIERARCHY"] = "COMPOSITE"
    os.environ.pop("ZE_AFFINITY_MASK", None)
    os.environ.pop("ZES_ENABLE_SYSMAN", None)
    if sysman == "none":
        return "none"
    if sysman == "auto" and library.has("zesInit"):
        return "zesInit"
    os.environ["ZES_ENABLE_SYSMAN"] = "1"
    return "ZES_ENABLE_SYSMAN"


def _find_loaded(loader: str) -> str | None:
    """The path the dynamic linker took, from this process's own maps."""
    wanted = os.path.basename(loader).split(".so")[0]
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
            for line in maps:
                path = line.rstrip("\n").partition("/")[2]
                if os.path.basename(path).startswith(wanted):
                    return "/" + path
    except OSError:
        return None
    return None


def _read_loader_version(library: api.Library, trace: Callable[[str], None]) -> str | None:
    """The loader's own version, "1.8.12"; None from old loaders that have neither function."""
    version = api.ComponentVersion()
    trace("zelGetLoaderVersion")
    if library.call("zelGetLoaderVersion", c.byref(version)) == 0:
        return _format_component(version)
    number = c.c_size_t(0)
    trace("zelLoaderGetVersions")
    if library.call("zelLoaderGetVersions", c.byref(number), None) != 0 or not 0 < number.value < 64:
        return None
    components = (api.ComponentVersion * number.value)()
    if library.call("zelLoaderGetVersions", c.byref(number), components) != 0:
        return None
    for component in components:
        if decode_name(component.component_name) == "loader":
            return _format_component(component)
    return None


def _format_component(version: Any) -> str:
    numbers = version.component_lib_version
    return f"{numbers.major}.{numbers.minor}.{numbers.patch}"


class _Reader:
    """Walks drivers and devices and keeps what it read, so that a late failure costs only its own part."""

    def __init__(self, calls: Calls, mode: SysmanMode, *, core_works: bool) -> None:
        self.drivers: list[LevelZeroDriver] = []
        self.devices: list[LevelZeroDevice] = []
        self.peers: list[Peer] = []
        self._calls = calls
        self._mode = mode
        self._core_works = core_works
        self._handles: dict[str, c.c_void_p] = {}

    def read(self) -> None:
        handles: list[c.c_void_p] = []
        if self._core_works:
            for index, driver in enumerate(self._calls.handles("zeDriverGet") or ()):
                handles += self._read_driver(index, driver)
        self._calls.subject = ""
        if self._mode == "ZES_ENABLE_SYSMAN":
            self._attach_in_order(handles)
        elif self._mode == "zesInit":
            self._attach_by_address()
        self._calls.subject = ""

    def _read_driver(self, index: int, driver: c.c_void_p) -> list[c.c_void_p]:
        calls = self._calls
        calls.subject = f"driver {index}"
        version = c.c_uint32(0)
        has_version = calls.ok("zeDriverGetApiVersion", driver, c.byref(version))
        properties: Any = calls.read("zeDriverGetProperties", driver, api.DriverProperties)
        extensions = self._read_extensions(driver)
        self.drivers.append(
            LevelZeroDriver(
                index=index,
                api_version=format_version(version.value) if has_version else None,
                driver_version=properties.driverVersion if properties else None,
                uuid=bytes(properties.uuid).hex() if properties else None,
                extensions=extensions,
            )
        )
        flat = 0
        kept: list[c.c_void_p] = []
        named: list[tuple[str, c.c_void_p]] = []
        groups: list[list[tuple[str, c.c_void_p]]] = [named]
        for place, handle in enumerate(calls.handles("zeDeviceGet", driver) or ()):
            calls.subject = f"driver {index} device {place}"
            device = self._read_device(handle, index, place, extensions, parent=None)
            if device is None:
                continue
            tiles = calls.handles("zeDeviceGetSubDevices", handle) or []
            read_tiles = []
            tile_names = []
            for tile_place, tile in enumerate(tiles):
                read = self._read_device(tile, index, tile_place, extensions, parent=device)
                if read is not None:
                    read_tiles.append(msgspec.structs.replace(read, masks_flat=(flat + tile_place,)))
                    tile_names.append((f"{place}.{tile_place}", tile))
            size = max(1, len(tiles))
            self.devices.append(
                msgspec.structs.replace(device, tiles=tuple(read_tiles), masks_flat=tuple(range(flat, flat + size)))
            )
            flat += size
            kept.append(handle)
            named.append((str(place), handle))
            groups.append(tile_names)
        for group in groups:
            self._read_peers(index, group, with_bandwidth=_BANDWIDTH_EXTENSION in extensions)
        return kept

    def _read_extensions(self, driver: c.c_void_p) -> dict[str, str]:
        found: list[Any] = list(
            self._calls.structures("zeDriverGetExtensionProperties", driver, api.ExtensionProperties) or ()
        )
        return {decode_name(item.name): format_version(item.version) for item in found}

    def _read_device(
        self,
        handle: c.c_void_p,
        driver_index: int,
        place: int,
        extensions: Iterable[str],
        *,
        parent: LevelZeroDevice | None,
    ) -> LevelZeroDevice | None:
        calls = self._calls
        properties: Any = calls.read("zeDeviceGetProperties", handle, api.DeviceProperties)
        if properties is None:
            return None
        pci: Any = calls.read("zeDevicePciGetPropertiesExt", handle, api.PciExtProperties)
        bdf = format_bdf(pci.address) if pci else parent.bdf if parent else None
        if parent is None and bdf:
            calls.subject = bdf
        memories = self._read_memories(handle, with_extension=_MEMORY_EXTENSION in extensions)
        return _describe(
            properties,
            driver_index=driver_index,
            index=place,
            mask=f"{parent.index}.{place}" if parent else str(place),
            bdf=bdf,
            pci=pci,
            memories=memories,
            is_subdevice=parent is not None,
        )

    def _read_memories(self, handle: c.c_void_p, *, with_extension: bool) -> tuple[MemoryProperty, ...] | None:
        extras: dict[int, Any] = {}

        def chain(place: int, item: Any) -> None:
            if with_extension:
                extras[place] = api.make(api.MemoryExtProperties)
                item.pNext = c.addressof(extras[place])

        found = self._calls.structures("zeDeviceGetMemoryProperties", handle, api.MemoryProperties, prepare=chain)
        if found is None:
            return None
        return tuple(_describe_memory(item, extras.get(place)) for place, item in enumerate(found))

    def _read_peers(self, driver_index: int, group: list[tuple[str, c.c_void_p]], *, with_bandwidth: bool) -> None:
        calls = self._calls
        for src, src_handle in group:
            calls.subject = f"driver {driver_index} device {src}"
            for dst, dst_handle in group:
                if src == dst:
                    continue
                can_access = calls.byte("zeDeviceCanAccessPeer", src_handle, dst_handle)
                extra: Any = api.make(api.P2pBandwidthProperties) if with_bandwidth else None
                p2p: Any = api.make(api.P2pProperties, extra)
                answered = calls.ok("zeDeviceGetP2PProperties", src_handle, dst_handle, c.byref(p2p))
                peer = Peer(driver_index=driver_index, src=src, dst=dst, can_access=can_access)
                if answered:
                    flags = name_flags(p2p.flags, names.P2P_FLAGS)
                    peer = msgspec.structs.replace(peer, access_flags=flags, atomics="atomics" in flags)
                if answered and extra is not None and extra.bandwidthUnit:
                    peer = msgspec.structs.replace(
                        peer,
                        bandwidth=extra.logicalBandwidth,
                        bandwidth_unit=name_value(extra.bandwidthUnit, names.BANDWIDTH_UNITS),
                        latency=extra.logicalLatency,
                        latency_unit=name_value(extra.latencyUnit, names.LATENCY_UNITS),
                    )
                self.peers.append(peer)

    def _attach_in_order(self, handles: list[c.c_void_p]) -> None:
        """With ZES_ENABLE_SYSMAN a core handle is also a sysman handle."""
        for place, (device, handle) in enumerate(zip(self.devices, handles, strict=True)):
            self._calls.subject = device.bdf or f"driver {device.driver_index} device {device.index}"
            properties: Any = self._calls.read("zesDeviceGetProperties", handle, sysman_api.SysmanDeviceProperties)
            limits = self._has_power_limits(device.driver_index)
            sysman = read_sysman(self._calls, handle, properties, has_power_limits=limits)
            self.devices[place] = msgspec.structs.replace(device, sysman=sysman)

    def _attach_by_address(self) -> None:
        """zesInit gives handles of its own: joined to the core's by PCI address, else by UUID."""
        calls = self._calls
        for driver_index, driver in enumerate(calls.handles("zesDriverGet") or ()):
            calls.subject = f"sysman driver {driver_index}"
            for place, handle in enumerate(calls.handles("zesDeviceGet", driver) or ()):
                calls.subject = f"sysman driver {driver_index} device {place}"
                pci: Any = calls.read("zesDevicePciGetProperties", handle, sysman_api.SysmanPciProperties)
                bdf = format_bdf(pci.address) if pci else None
                calls.subject = bdf or calls.subject
                properties: Any = calls.read("zesDeviceGetProperties", handle, sysman_api.SysmanDeviceProperties)
                limits = self._has_power_limits(driver_index)
                sysman = read_sysman(calls, handle, properties, has_power_limits=limits)
                self._join(driver_index, bdf, properties, pci, sysman)

    def _join(self, driver_index: int, bdf: str | None, properties: Any, pci: Any, sysman: Sysman) -> None:
        uuid = bytes(properties.core.uuid).hex() if properties else ""
        for place, device in enumerate(self.devices):
            same_address = bdf is not None and device.bdf == bdf
            same_uuid = bool(uuid.strip("0")) and device.uuid == uuid and not (bdf and device.bdf)
            if (same_address or same_uuid) and device.sysman is None:
                self.devices[place] = msgspec.structs.replace(device, sysman=sysman)
                return
        if properties is None and bdf is None:
            return
        core = properties.core if properties else api.DeviceProperties()
        self.devices.append(
            msgspec.structs.replace(
                _describe(
                    core,
                    driver_index=driver_index,
                    index=None,
                    mask=None,
                    bdf=bdf,
                    pci=pci,
                    memories=None,
                    is_subdevice=False,
                ),
                sysman=sysman,
            )
        )

    def _has_power_limits(self, driver_index: int) -> bool:
        return any(
            driver.index == driver_index and POWER_LIMITS_EXTENSION in driver.extensions for driver in self.drivers
        )


def _describe(
    properties: Any,
    *,
    driver_index: int,
    index: int | None,
    mask: str | None,
    bdf: str | None,
    pci: Any,
    memories: tuple[MemoryProperty, ...] | None,
    is_subdevice: bool,
) -> LevelZeroDevice:
    return LevelZeroDevice(
        driver_index=driver_index,
        index=index,
        mask_composite=mask,
        type=name_value(properties.type, names.DEVICE_TYPES),
        name=decode_name(properties.name),
        vendor_id=properties.vendorId,
        device_id=properties.deviceId,
        uuid=bytes(properties.uuid).hex(),
        bdf=bdf,
        pci_max_speed=read_speed(pci.maxSpeed) if pci else None,
        core_clock_mhz=properties.coreClockRate,
        slices=properties.numSlices,
        subslices_per_slice=properties.numSubslicesPerSlice,
        eus_per_subslice=properties.numEUsPerSubslice,
        threads_per_eu=properties.numThreadsPerEU,
        simd_width=properties.physicalEUSimdWidth,
        max_mem_alloc_bytes=properties.maxMemAllocSize,
        memory_bytes=sum(memory.total_bytes for memory in memories) if memories else None,
        memories=memories or (),
        flags=name_flags(properties.flags, names.DEVICE_FLAGS),
        is_subdevice=is_subdevice,
    )


def _describe_memory(item: Any, extra: Any | None) -> MemoryProperty:
    # 1 byte per nanosecond is 1e9 bytes/s; a bandwidth per clock cannot be turned into one.
    has_bandwidth = extra is not None and name_value(extra.bandwidthUnit, names.BANDWIDTH_UNITS) == "bytes/ns"
    return MemoryProperty(
        name=decode_name(item.name),
        total_bytes=item.totalSize,
        bus_width_bits=item.maxBusWidth,
        clock_mhz=item.maxClockRate,
        kind=name_value(extra.type, names.CORE_MEMORY_TYPES) if extra is not None else None,
        read_bandwidth_gbps=(extra.readBandwidth or None) if has_bandwidth and extra else None,
        write_bandwidth_gbps=(extra.writeBandwidth or None) if has_bandwidth and extra else None,
    )
