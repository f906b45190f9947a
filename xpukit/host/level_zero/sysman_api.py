"""The structures of Level Zero's system management, from the public header zes_api.h of API 1.4 (see api.py)."""

# ruff: noqa: RUF012 - ctypes reads `_fields_` from the class itself

from __future__ import annotations

import ctypes as c

from xpukit.host.level_zero.api import (
    HEAD,
    NAME_BYTES,
    PLACE,
    STRING_BYTES,
    Described,
    DeviceProperties,
    PciAddress,
    PciSpeed,
)

RAS_CATEGORIES = 7

_U32, _I32, _U64, _I64, _F64 = c.c_uint32, c.c_int32, c.c_uint64, c.c_int64, c.c_double
_STRING = c.c_char * STRING_BYTES
_NAME = c.c_char * NAME_BYTES


class SysmanDeviceProperties(Described):
    STYPE, C_NAME = 0x1, "zes_device_properties_t"
    _fields_ = [
        *HEAD,
        ("core", DeviceProperties),
        ("numSubdevices", _U32),
        ("serialNumber", _STRING),
        ("boardNumber", _STRING),
        ("brandName", _STRING),
        ("modelName", _STRING),
        ("vendorName", _STRING),
        ("driverVersion", _STRING),
    ]


class SysmanDeviceState(Described):
    STYPE, C_NAME = 0x15, "zes_device_state_t"
    _fields_ = [*HEAD, ("reset", _U32), ("repaired", _U32)]


class SysmanPciProperties(Described):
    STYPE, C_NAME = 0x2, "zes_pci_properties_t"
    _fields_ = [
        *HEAD,
        ("address", PciAddress),
        ("maxSpeed", PciSpeed),
        ("haveBandwidthCounters", c.c_uint8),
        ("havePacketCounters", c.c_uint8),
        ("haveReplayCounters", c.c_uint8),
    ]


class SysmanPciState(Described):
    STYPE, C_NAME = 0x17, "zes_pci_state_t"
    _fields_ = [
        *HEAD,
        ("status", _U32),
        ("qualityIssues", _U32),
        ("stabilityIssues", _U32),
        ("speed", PciSpeed),
    ]


class SysmanPciStats(c.Structure):
    C_NAME = "zes_pci_stats_t"
    _fields_ = [
        ("timestamp", _U64),
        ("replayCounter", _U64),
        ("packetCounter", _U64),
        ("rxCounter", _U64),
        ("txCounter", _U64),
        ("speed", PciSpeed),
    ]


class ProcessState(Described):
    STYPE, C_NAME = 0x16, "zes_process_state_t"
    _fields_ = [*HEAD, ("processId", _U32), ("memSize", _U64), ("sharedSize", _U64), ("engines", _U32)]


class FrequencyProperties(Described):
    STYPE, C_NAME = 0x9, "zes_freq_properties_t"
    _fields_ = [
        *HEAD,
        ("type", _U32),
        *PLACE,
        ("canControl", c.c_uint8),
        ("isThrottleEventSupported", c.c_uint8),
        ("min", _F64),
        ("max", _F64),
    ]


class FrequencyState(Described):
    STYPE, C_NAME = 0x1B, "zes_freq_state_t"
    _fields_ = [
        *HEAD,
        ("currentVoltage", _F64),
        ("request", _F64),
        ("tdp", _F64),
        ("efficient", _F64),
        ("actual", _F64),
        ("throttleReasons", _U32),
    ]


class FrequencyRange(c.Structure):
    C_NAME = "zes_freq_range_t"
    _fields_ = [("min", _F64), ("max", _F64)]


class PowerProperties(Described):
    STYPE, C_NAME = 0xD, "zes_power_properties_t"
    _fields_ = [
        *HEAD,
        *PLACE,
        ("canControl", c.c_uint8),
        ("isEnergyThresholdSupported", c.c_uint8),
        ("defaultLimit", _I32),
        ("minLimit", _I32),
        ("maxLimit", _I32),
    ]


class PowerLimitExt(Described):
    STYPE, C_NAME = 0x27, "zes_power_limit_ext_desc_t"
    _fields_ = [
        *HEAD,
        ("level", _U32),
        ("source", _U32),
        ("limitUnit", _U32),
        ("enabledStateLocked", c.c_uint8),
        ("enabled", c.c_uint8),
        ("intervalValueLocked", c.c_uint8),
        ("interval", _I32),
        ("limitValueLocked", c.c_uint8),
        ("limit", _I32),
    ]


class PowerExtProperties(Described):
    STYPE, C_NAME = 0x28, "zes_power_ext_properties_t"
    _fields_ = [*HEAD, ("domain", _U32), ("defaultLimit", c.POINTER(PowerLimitExt))]


class PowerSustained(c.Structure):
    C_NAME = "zes_power_sustained_limit_t"
    _fields_ = [("enabled", c.c_uint8), ("power", _I32), ("interval", _I32)]


class PowerBurst(c.Structure):
    C_NAME = "zes_power_burst_limit_t"
    _fields_ = [("enabled", c.c_uint8), ("power", _I32)]


class PowerPeak(c.Structure):
    C_NAME = "zes_power_peak_limit_t"
    _fields_ = [("powerAC", _I32), ("powerDC", _I32)]


class EnergyCounter(c.Structure):
    C_NAME = "zes_power_energy_counter_t"
    _fields_ = [("energy", _U64), ("timestamp", _U64)]


class TemperatureProperties(Described):
    STYPE, C_NAME = 0x14, "zes_temp_properties_t"
    _fields_ = [
        *HEAD,
        ("type", _U32),
        *PLACE,
        ("maxTemperature", _F64),
        ("isCriticalTempSupported", c.c_uint8),
        ("isThreshold1Supported", c.c_uint8),
        ("isThreshold2Supported", c.c_uint8),
    ]


class SysmanMemoryProperties(Described):
    STYPE, C_NAME = 0xB, "zes_mem_properties_t"
    _fields_ = [
        *HEAD,
        ("type", _U32),
        *PLACE,
        ("location", _U32),
        ("physicalSize", _U64),
        ("busWidth", _I32),
        ("numChannels", _I32),
    ]


class SysmanMemoryState(Described):
    STYPE, C_NAME = 0x1E, "zes_mem_state_t"
    _fields_ = [*HEAD, ("health", _U32), ("free", _U64), ("size", _U64)]


class FabricPortId(c.Structure):
    C_NAME = "zes_fabric_port_id_t"
    _fields_ = [("fabricId", _U32), ("attachId", _U32), ("portNumber", c.c_uint8)]


class FabricPortSpeed(c.Structure):
    C_NAME = "zes_fabric_port_speed_t"
    _fields_ = [("bitRate", _I64), ("width", _I32)]


class FabricPortProperties(Described):
    STYPE, C_NAME = 0x6, "zes_fabric_port_properties_t"
    _fields_ = [
        *HEAD,
        ("model", _NAME),
        *PLACE,
        ("portId", FabricPortId),
        ("maxRxSpeed", FabricPortSpeed),
        ("maxTxSpeed", FabricPortSpeed),
    ]


class FabricPortState(Described):
    STYPE, C_NAME = 0x19, "zes_fabric_port_state_t"
    _fields_ = [
        *HEAD,
        ("status", _U32),
        ("qualityIssues", _U32),
        ("failureReasons", _U32),
        ("remotePortId", FabricPortId),
        ("rxSpeed", FabricPortSpeed),
        ("txSpeed", FabricPortSpeed),
    ]


class FabricLinkType(c.Structure):
    C_NAME = "zes_fabric_link_type_t"
    _fields_ = [("desc", _NAME)]


class FirmwareProperties(Described):
    STYPE, C_NAME = 0x8, "zes_firmware_properties_t"
    _fields_ = [*HEAD, *PLACE, ("canControl", c.c_uint8), ("name", _STRING), ("version", _STRING)]


class RasProperties(Described):
    STYPE, C_NAME = 0xF, "zes_ras_properties_t"
    _fields_ = [*HEAD, ("type", _U32), *PLACE]


class RasState(Described):
    STYPE, C_NAME = 0x22, "zes_ras_state_t"
    _fields_ = [*HEAD, ("category", _U64 * RAS_CATEGORIES)]


class EngineProperties(Described):
    STYPE, C_NAME = 0x5, "zes_engine_properties_t"
    _fields_ = [*HEAD, ("type", _U32), *PLACE]


class EngineStats(c.Structure):
    C_NAME = "zes_engine_stats_t"
    _fields_ = [("activeTime", _U64), ("timestamp", _U64)]


class EccProperties(Described):
    STYPE, C_NAME = 0x26, "zes_device_ecc_properties_t"
    _fields_ = [*HEAD, ("currentState", _U32), ("pendingState", _U32), ("pendingAction", _U32)]
