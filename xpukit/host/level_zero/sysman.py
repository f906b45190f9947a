"""System management of one device: frequencies, power, temperatures, memory, links, firmware, errors."""

from __future__ import annotations

import ctypes as c
from typing import Any

from xpukit.host.level_zero import api, names, sysman_api
from xpukit.host.level_zero.calls import (
    Calls,
    decode_name,
    format_bdf,
    keep_count,
    keep_known,
    keep_positive,
)
from xpukit.host.level_zero.names import name_flags, name_value
from xpukit.host.level_zero.snapshot import (
    EccState,
    EngineGroup,
    FabricPort,
    Firmware,
    FrequencyDomain,
    MemoryModule,
    PciSpeed,
    PciState,
    PowerDomain,
    PowerLimit,
    RasErrorSet,
    Sysman,
    Temperature,
)

# By this name a driver says that limits come from zesPowerGetLimitsExt.
POWER_LIMITS_EXTENSION = "ZES_extension_power_limits"


def read_sysman(calls: Calls, handle: c.c_void_p, properties: Any | None, *, has_power_limits: bool) -> Sysman:
    """Everything sysman says of one device; `properties` is its SysmanDeviceProperties, if that was answered."""
    state = calls.read("zesDeviceGetState", handle, sysman_api.SysmanDeviceState)
    return Sysman(
        brand=keep_known(properties.brandName) if properties else None,
        model=keep_known(properties.modelName) if properties else None,
        vendor=keep_known(properties.vendorName) if properties else None,
        driver_version=keep_known(properties.driverVersion) if properties else None,
        tile_count=properties.numSubdevices if properties else None,
        reset_needed=name_flags(state.reset, names.RESET_REASONS) if state else None,
        repaired=name_value(state.repaired, names.REPAIR_STATUS) if state else None,
        process_count=calls.count("zesDeviceProcessesGetState", handle),
        pci=_read_pci(calls, handle),
        ecc=_read_ecc(calls, handle),
        frequencies=_read_frequencies(calls, handle),
        power=_read_power(calls, handle, has_power_limits),
        temperatures=_read_temperatures(calls, handle),
        memories=_read_memories(calls, handle),
        fabric_ports=_read_fabric_ports(calls, handle),
        firmwares=_read_firmwares(calls, handle),
        ras=_read_ras(calls, handle),
        engines=_read_engines(calls, handle),
    )


def read_speed(speed: Any) -> PciSpeed:
    """A link speed; -1 and 0 both mean unknown."""
    return PciSpeed(
        gen=speed.genVersion if speed.genVersion > 0 else None,
        width=speed.width if speed.width > 0 else None,
        bandwidth_bytes_per_s=speed.maxBandwidth if speed.maxBandwidth > 0 else None,
    )


def _tile(properties: Any) -> int | None:
    return int(properties.subdeviceId) if properties.onSubdevice else None


def _read_pci(calls: Calls, handle: c.c_void_p) -> PciState | None:
    properties: Any = calls.read("zesDevicePciGetProperties", handle, sysman_api.SysmanPciProperties)
    state: Any = calls.read("zesDevicePciGetState", handle, sysman_api.SysmanPciState)
    if properties is None and state is None:
        return None
    issues: tuple[str, ...] = ()
    if state is not None:
        issues = name_flags(state.qualityIssues, names.LINK_QUALITY) + name_flags(
            state.stabilityIssues, names.LINK_STABILITY
        )
    counted: Any = None
    if properties is not None and (properties.haveBandwidthCounters or properties.haveReplayCounters):
        counted = calls.fill("zesDevicePciGetStats", handle, sysman_api.SysmanPciStats)
    has_bytes = counted is not None and properties.haveBandwidthCounters
    return PciState(
        bdf=format_bdf(properties.address) if properties is not None else None,
        max_speed=read_speed(properties.maxSpeed) if properties is not None else None,
        speed=read_speed(state.speed) if state is not None else None,
        status=name_value(state.status, names.LINK_STATUS) if state is not None else None,
        issues=issues,
        received_bytes=counted.rxCounter if has_bytes else None,
        sent_bytes=counted.txCounter if has_bytes else None,
        replays=counted.replayCounter if counted is not None and properties.haveReplayCounters else None,
    )


def _read_ecc(calls: Calls, handle: c.c_void_p) -> EccState | None:
    available = calls.byte("zesDeviceEccAvailable", handle)
    if available is None:
        return None
    if not available:
        return EccState(available=False)
    state: Any = calls.read("zesDeviceGetEccState", handle, sysman_api.EccProperties)
    if state is None:
        return EccState(available=True)
    return EccState(
        available=True,
        current=name_value(state.currentState, names.ECC_STATES),
        pending=name_value(state.pendingState, names.ECC_STATES),
        pending_action=name_value(state.pendingAction, names.ECC_ACTIONS),
    )


def _read_frequencies(calls: Calls, handle: c.c_void_p) -> tuple[FrequencyDomain, ...] | None:
    domains = calls.handles("zesDeviceEnumFrequencyDomains", handle)
    if domains is None:
        return None
    found = []
    for domain in domains:
        properties: Any = calls.read("zesFrequencyGetProperties", domain, sysman_api.FrequencyProperties)
        state: Any = calls.read("zesFrequencyGetState", domain, sysman_api.FrequencyState)
        limits: Any = calls.fill("zesFrequencyGetRange", domain, sysman_api.FrequencyRange)
        found.append(
            FrequencyDomain(
                domain=name_value(properties.type, names.FREQUENCY_DOMAINS) if properties else "unknown",
                tile=_tile(properties) if properties else None,
                can_control=bool(properties.canControl) if properties else False,
                min_mhz=keep_positive(properties.min) if properties else None,
                max_mhz=keep_positive(properties.max) if properties else None,
                range_min_mhz=keep_positive(limits.min) if limits else None,
                range_max_mhz=keep_positive(limits.max) if limits else None,
                request_mhz=keep_positive(state.request) if state else None,
                actual_mhz=keep_positive(state.actual) if state else None,
                efficient_mhz=keep_positive(state.efficient) if state else None,
                tdp_mhz=keep_positive(state.tdp) if state else None,
                throttle_reasons=name_flags(state.throttleReasons, names.THROTTLE_REASONS) if state else None,
            )
        )
    return tuple(found)


def _read_power(calls: Calls, handle: c.c_void_p, has_power_limits: bool) -> tuple[PowerDomain, ...] | None:
    domains = calls.handles("zesDeviceEnumPowerDomains", handle)
    if domains is None:
        return None
    found = []
    for domain in domains:
        extension: Any = None
        default: Any = None
        if has_power_limits:
            default = api.make(sysman_api.PowerLimitExt)
            extension = api.make(sysman_api.PowerExtProperties)
            extension.defaultLimit = c.pointer(default)
        properties: Any = calls.read("zesPowerGetProperties", domain, sysman_api.PowerProperties, extension)
        energy: Any = calls.fill("zesPowerGetEnergyCounter", domain, sysman_api.EnergyCounter)
        found.append(
            PowerDomain(
                tile=_tile(properties) if properties else None,
                domain=name_value(extension.domain, names.POWER_DOMAINS) if properties and extension else None,
                can_control=bool(properties.canControl) if properties else False,
                default_limit_mw=keep_count(properties.defaultLimit) if properties else None,
                min_limit_mw=keep_count(properties.minLimit) if properties else None,
                max_limit_mw=keep_count(properties.maxLimit) if properties else None,
                limits=(_read_limits(calls, domain) if not has_power_limits else ()) or _read_limits_ext(calls, domain),
                energy_uj=energy.energy if energy else None,
                energy_timestamp_us=energy.timestamp if energy else None,
            )
        )
    return tuple(found)


def _read_limits_ext(calls: Calls, domain: c.c_void_p) -> tuple[PowerLimit, ...]:
    limits: list[Any] = list(calls.structures("zesPowerGetLimitsExt", domain, sysman_api.PowerLimitExt) or ())
    return tuple(
        PowerLimit(
            level=name_value(limit.level, names.POWER_LEVELS),
            source=name_value(limit.source, names.POWER_SOURCES),
            unit=name_value(limit.limitUnit, names.LIMIT_UNITS),
            enabled=bool(limit.enabled),
            limit=limit.limit,
            interval_ms=keep_count(limit.interval),
            locked=bool(limit.limitValueLocked),
        )
        for limit in limits
    )


def _read_limits(calls: Calls, domain: c.c_void_p) -> tuple[PowerLimit, ...]:
    sustained, burst, peak = sysman_api.PowerSustained(), sysman_api.PowerBurst(), sysman_api.PowerPeak()
    if not calls.ok("zesPowerGetLimits", domain, c.byref(sustained), c.byref(burst), c.byref(peak)):
        return ()
    return (
        PowerLimit(
            level="sustained",
            source="any",
            unit="power",
            enabled=bool(sustained.enabled),
            limit=sustained.power,
            interval_ms=keep_count(sustained.interval),
        ),
        PowerLimit(level="burst", source="any", unit="power", enabled=bool(burst.enabled), limit=burst.power),
        PowerLimit(level="peak", source="mains", unit="power", enabled=peak.powerAC > 0, limit=peak.powerAC),
    )


def _read_temperatures(calls: Calls, handle: c.c_void_p) -> tuple[Temperature, ...] | None:
    sensors = calls.handles("zesDeviceEnumTemperatureSensors", handle)
    if sensors is None:
        return None
    found = []
    for sensor in sensors:
        properties: Any = calls.read("zesTemperatureGetProperties", sensor, sysman_api.TemperatureProperties)
        value = c.c_double(0)
        answered = calls.ok("zesTemperatureGetState", sensor, c.byref(value))
        found.append(
            Temperature(
                sensor=name_value(properties.type, names.TEMPERATURE_SENSORS) if properties else "unknown",
                tile=_tile(properties) if properties else None,
                celsius=value.value if answered else None,
                max_celsius=(keep_positive(properties.maxTemperature) or None) if properties else None,
            )
        )
    return tuple(found)


def _read_memories(calls: Calls, handle: c.c_void_p) -> tuple[MemoryModule, ...] | None:
    modules = calls.handles("zesDeviceEnumMemoryModules", handle)
    if modules is None:
        return None
    found = []
    for module in modules:
        properties: Any = calls.read("zesMemoryGetProperties", module, sysman_api.SysmanMemoryProperties)
        state: Any = calls.read("zesMemoryGetState", module, sysman_api.SysmanMemoryState)
        found.append(
            MemoryModule(
                kind=name_value(properties.type, names.SYSMAN_MEMORY_TYPES) if properties else "unknown",
                location=name_value(properties.location, names.MEMORY_LOCATIONS) if properties else "unknown",
                tile=_tile(properties) if properties else None,
                physical_bytes=(properties.physicalSize or None) if properties else None,
                bus_width_bits=keep_count(properties.busWidth) if properties else None,
                channels=keep_count(properties.numChannels) if properties else None,
                health=name_value(state.health, names.MEMORY_HEALTH) if state else None,
                free_bytes=state.free if state else None,
                size_bytes=state.size if state else None,
            )
        )
    return tuple(found)


def _name_port(port: Any) -> str:
    return f"{port.fabricId}:{port.attachId}:{port.portNumber}"


def _read_fabric_ports(calls: Calls, handle: c.c_void_p) -> tuple[FabricPort, ...] | None:
    ports = calls.handles("zesDeviceEnumFabricPorts", handle)
    if ports is None:
        return None
    found = []
    for port in ports:
        properties: Any = calls.read("zesFabricPortGetProperties", port, sysman_api.FabricPortProperties)
        if properties is None:
            continue
        state: Any = calls.read("zesFabricPortGetState", port, sysman_api.FabricPortState)
        link: Any = calls.fill("zesFabricPortGetLinkType", port, sysman_api.FabricLinkType)
        issues: tuple[str, ...] = ()
        if state is not None:
            issues = name_flags(state.qualityIssues, names.FABRIC_QUALITY) + name_flags(
                state.failureReasons, names.FABRIC_FAILURES
            )
        is_connected = state is not None and names.FABRIC_STATUS[1:3].count(
            name_value(state.status, names.FABRIC_STATUS)
        )
        found.append(
            FabricPort(
                model=decode_name(properties.model),
                port=_name_port(properties.portId),
                tile=_tile(properties),
                link_type=keep_known(link.desc) if link else None,
                status=name_value(state.status, names.FABRIC_STATUS) if state is not None else None,
                issues=issues,
                remote_port=_name_port(state.remotePortId) if is_connected else None,
                max_rx_bits_per_s=_read_bits(properties.maxRxSpeed),
                max_tx_bits_per_s=_read_bits(properties.maxTxSpeed),
                rx_bits_per_s=_read_bits(state.rxSpeed) if state is not None else None,
                tx_bits_per_s=_read_bits(state.txSpeed) if state is not None else None,
            )
        )
    return tuple(found)


def _read_bits(speed: Any) -> int | None:
    """Bits per second of all lanes; the interface gives one lane's rate and the number of lanes."""
    return int(speed.bitRate * speed.width) if speed.bitRate >= 0 and speed.width >= 0 else None


def _read_firmwares(calls: Calls, handle: c.c_void_p) -> tuple[Firmware, ...] | None:
    firmwares = calls.handles("zesDeviceEnumFirmwares", handle)
    if firmwares is None:
        return None
    found = []
    for firmware in firmwares:
        properties: Any = calls.read("zesFirmwareGetProperties", firmware, sysman_api.FirmwareProperties)
        if properties is not None:
            name, version = decode_name(properties.name), decode_name(properties.version)
            found.append(Firmware(name=name, version=version, tile=_tile(properties)))
    return tuple(found)


def _read_ras(calls: Calls, handle: c.c_void_p) -> tuple[RasErrorSet, ...] | None:
    sets = calls.handles("zesDeviceEnumRasErrorSets", handle)
    if sets is None:
        return None
    found = []
    for error_set in sets:
        properties: Any = calls.read("zesRasGetProperties", error_set, sysman_api.RasProperties)
        state: Any = api.make(sysman_api.RasState)
        answered = calls.ok("zesRasGetState", error_set, 0, c.byref(state))
        found.append(
            RasErrorSet(
                kind=name_value(properties.type, names.RAS_TYPES) if properties else "unknown",
                tile=_tile(properties) if properties else None,
                counts=dict(zip(names.RAS_CATEGORY_NAMES, state.category, strict=True)) if answered else None,
            )
        )
    return tuple(found)


def _read_engines(calls: Calls, handle: c.c_void_p) -> tuple[EngineGroup, ...] | None:
    engines = calls.handles("zesDeviceEnumEngineGroups", handle)
    if engines is None:
        return None
    kinds: dict[tuple[str, int | None], list[Any]] = {}
    for engine in engines:
        properties: Any = calls.read("zesEngineGetProperties", engine, sysman_api.EngineProperties)
        if properties is not None:
            activity = calls.fill("zesEngineGetActivity", engine, sysman_api.EngineStats)
            kinds.setdefault((name_value(properties.type, names.ENGINE_GROUPS), _tile(properties)), []).append(activity)
    groups = []
    for (kind, tile), told in kinds.items():
        stats = [one for one in told if one is not None]
        complete = len(stats) == len(told)
        groups.append(
            EngineGroup(
                kind=kind,
                tile=tile,
                count=len(told),
                active_us=sum(one.activeTime for one in stats) if complete else None,
                clock_us=max(one.timestamp for one in stats) if complete else None,
            )
        )
    return tuple(groups)
