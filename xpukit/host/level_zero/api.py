"""Level Zero's C interface, as far as we ask it: structures and prototypes, and the loader behind them.

Written from the public headers ze_api.h, zes_api.h and ze_loader.h of API 1.4 (Debian's libze-dev 1.8.12); what later
headers added (zesInit, zesDriverGet, zesDeviceGet, zelGetLoaderVersion) is looked up by symbol and may be absent.
tests/live/test_level_zero_fake_driver.py compares every size and offset with the compiler's.
"""

from __future__ import annotations

import ctypes as c
from typing import Any, ClassVar, TypeVar

LOADER_NAME = "libze_loader.so.1"
DRIVER_NAMES = ("libze_intel_gpu.so.1", "libze_intel_npu.so.1", "libze_intel_vpu.so.1", "libze_intel_gpu_legacy1.so.1")

UUID_BYTES = 16
NAME_BYTES = 256
STRING_BYTES = 64
RAS_CATEGORIES = 7

UNINITIALIZED = 0x78000001
UNSUPPORTED_FEATURE = 0x78000003
INSUFFICIENT_PERMISSIONS = 0x70010000

_U32, _I32, _U64, _I64, _PTR, _F64 = c.c_uint32, c.c_int32, c.c_uint64, c.c_int64, c.c_void_p, c.c_double
_UUID = c.c_uint8 * UUID_BYTES
_NAME = c.c_char * NAME_BYTES
_STRING = c.c_char * STRING_BYTES
_Fields = list[tuple[str, Any]]


class Described(c.Structure):
    """A structure that begins with its type and a pointer to an extension; `C_NAME` is its name in the headers."""

    STYPE: ClassVar[int]
    C_NAME: ClassVar[str]


_HEAD: _Fields = [("stype", _U32), ("pNext", _PTR)]
# Where the component sits: most sysman structures have these two.
_PLACE: _Fields = [("onSubdevice", c.c_uint8), ("subdeviceId", _U32)]

D = TypeVar("D", bound=Described)


def make(kind: type[D], extension: Described | None = None) -> D:
    """An empty structure with its type set; `extension` is chained and must outlive the call."""
    made = kind()
    setattr(made, "stype", kind.STYPE)  # noqa: B010 - ctypes fields are unknown to the type checker
    if extension is not None:
        setattr(made, "pNext", c.addressof(extension))  # noqa: B010
    return made


class DriverProperties(Described):
    STYPE, C_NAME = 0x1, "ze_driver_properties_t"
    _fields_ = [*_HEAD, ("uuid", _UUID), ("driverVersion", _U32)]


class ExtensionProperties(c.Structure):
    C_NAME = "ze_driver_extension_properties_t"
    _fields_ = [("name", _NAME), ("version", _U32)]


class DeviceProperties(Described):
    STYPE, C_NAME = 0x3, "ze_device_properties_t"
    _fields_ = [
        *_HEAD,
        ("type", _U32),
        ("vendorId", _U32),
        ("deviceId", _U32),
        ("flags", _U32),
        ("subdeviceId", _U32),
        ("coreClockRate", _U32),
        ("maxMemAllocSize", _U64),
        ("maxHardwareContexts", _U32),
        ("maxCommandQueuePriority", _U32),
        ("numThreadsPerEU", _U32),
        ("physicalEUSimdWidth", _U32),
        ("numEUsPerSubslice", _U32),
        ("numSubslicesPerSlice", _U32),
        ("numSlices", _U32),
        ("timerResolution", _U64),
        ("timestampValidBits", _U32),
        ("kernelTimestampValidBits", _U32),
        ("uuid", _UUID),
        ("name", _NAME),
    ]


class PciAddress(c.Structure):
    C_NAME = "ze_pci_address_ext_t"
    _fields_ = [("domain", _U32), ("bus", _U32), ("device", _U32), ("function", _U32)]


class PciSpeed(c.Structure):
    C_NAME = "ze_pci_speed_ext_t"
    _fields_ = [("genVersion", _I32), ("width", _I32), ("maxBandwidth", _I64)]


class PciExtProperties(Described):
    STYPE, C_NAME = 0x10008, "ze_pci_ext_properties_t"
    _fields_ = [*_HEAD, ("address", PciAddress), ("maxSpeed", PciSpeed)]


class MemoryProperties(Described):
    STYPE, C_NAME = 0x7, "ze_device_memory_properties_t"
    _fields_ = [
        *_HEAD,
        ("flags", _U32),
        ("maxClockRate", _U32),
        ("maxBusWidth", _U32),
        ("totalSize", _U64),
        ("name", _NAME),
    ]


class MemoryExtProperties(Described):
    STYPE, C_NAME = 0x1000E, "ze_device_memory_ext_properties_t"
    _fields_ = [
        *_HEAD,
        ("type", _U32),
        ("physicalSize", _U64),
        ("readBandwidth", _U32),
        ("writeBandwidth", _U32),
        ("bandwidthUnit", _U32),
    ]


class P2pProperties(Described):
    STYPE, C_NAME = 0xB, "ze_device_p2p_properties_t"
    _fields_ = [*_HEAD, ("flags", _U32)]


class P2pBandwidthProperties(Described):
    STYPE, C_NAME = 0x2000A, "ze_device_p2p_bandwidth_exp_properties_t"
    _fields_ = [
        *_HEAD,
        ("logicalBandwidth", _U32),
        ("physicalBandwidth", _U32),
        ("bandwidthUnit", _U32),
        ("logicalLatency", _U32),
        ("physicalLatency", _U32),
        ("latencyUnit", _U32),
    ]


class SysmanDeviceProperties(Described):
    STYPE, C_NAME = 0x1, "zes_device_properties_t"
    _fields_ = [
        *_HEAD,
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
    _fields_ = [*_HEAD, ("reset", _U32), ("repaired", _U32)]


class SysmanPciProperties(Described):
    STYPE, C_NAME = 0x2, "zes_pci_properties_t"
    _fields_ = [
        *_HEAD,
        ("address", PciAddress),
        ("maxSpeed", PciSpeed),
        ("haveBandwidthCounters", c.c_uint8),
        ("havePacketCounters", c.c_uint8),
        ("haveReplayCounters", c.c_uint8),
    ]


class SysmanPciState(Described):
    STYPE, C_NAME = 0x17, "zes_pci_state_t"
    _fields_ = [
        *_HEAD,
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
    _fields_ = [*_HEAD, ("processId", _U32), ("memSize", _U64), ("sharedSize", _U64), ("engines", _U32)]


class FrequencyProperties(Described):
    STYPE, C_NAME = 0x9, "zes_freq_properties_t"
    _fields_ = [
        *_HEAD,
        ("type", _U32),
        *_PLACE,
        ("canControl", c.c_uint8),
        ("isThrottleEventSupported", c.c_uint8),
        ("min", _F64),
        ("max", _F64),
    ]


class FrequencyState(Described):
    STYPE, C_NAME = 0x1B, "zes_freq_state_t"
    _fields_ = [
        *_HEAD,
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
        *_HEAD,
        *_PLACE,
        ("canControl", c.c_uint8),
        ("isEnergyThresholdSupported", c.c_uint8),
        ("defaultLimit", _I32),
        ("minLimit", _I32),
        ("maxLimit", _I32),
    ]


class PowerLimitExt(Described):
    STYPE, C_NAME = 0x27, "zes_power_limit_ext_desc_t"
    _fields_ = [
        *_HEAD,
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
    _fields_ = [*_HEAD, ("domain", _U32), ("defaultLimit", c.POINTER(PowerLimitExt))]


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
        *_HEAD,
        ("type", _U32),
        *_PLACE,
        ("maxTemperature", _F64),
        ("isCriticalTempSupported", c.c_uint8),
        ("isThreshold1Supported", c.c_uint8),
        ("isThreshold2Supported", c.c_uint8),
    ]


class SysmanMemoryProperties(Described):
    STYPE, C_NAME = 0xB, "zes_mem_properties_t"
    _fields_ = [
        *_HEAD,
        ("type", _U32),
        *_PLACE,
        ("location", _U32),
        ("physicalSize", _U64),
        ("busWidth", _I32),
        ("numChannels", _I32),
    ]


class SysmanMemoryState(Described):
    STYPE, C_NAME = 0x1E, "zes_mem_state_t"
    _fields_ = [*_HEAD, ("health", _U32), ("free", _U64), ("size", _U64)]


class FabricPortId(c.Structure):
    C_NAME = "zes_fabric_port_id_t"
    _fields_ = [("fabricId", _U32), ("attachId", _U32), ("portNumber", c.c_uint8)]


class FabricPortSpeed(c.Structure):
    C_NAME = "zes_fabric_port_speed_t"
    _fields_ = [("bitRate", _I64), ("width", _I32)]


class FabricPortProperties(Described):
    STYPE, C_NAME = 0x6, "zes_fabric_port_properties_t"
    _fields_ = [
        *_HEAD,
        ("model", _NAME),
        *_PLACE,
        ("portId", FabricPortId),
        ("maxRxSpeed", FabricPortSpeed),
        ("maxTxSpeed", FabricPortSpeed),
    ]


class FabricPortState(Described):
    STYPE, C_NAME = 0x19, "zes_fabric_port_state_t"
    _fields_ = [
        *_HEAD,
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
    _fields_ = [*_HEAD, *_PLACE, ("canControl", c.c_uint8), ("name", _STRING), ("version", _STRING)]


class RasProperties(Described):
    STYPE, C_NAME = 0xF, "zes_ras_properties_t"
    _fields_ = [*_HEAD, ("type", _U32), *_PLACE]


class RasState(Described):
    STYPE, C_NAME = 0x22, "zes_ras_state_t"
    _fields_ = [*_HEAD, ("category", _U64 * RAS_CATEGORIES)]


class EngineProperties(Described):
    STYPE, C_NAME = 0x5, "zes_engine_properties_t"
    _fields_ = [*_HEAD, ("type", _U32), *_PLACE]


class EngineStats(c.Structure):
    C_NAME = "zes_engine_stats_t"
    _fields_ = [("activeTime", _U64), ("timestamp", _U64)]


class EccProperties(Described):
    STYPE, C_NAME = 0x26, "zes_device_ecc_properties_t"
    _fields_ = [*_HEAD, ("currentState", _U32), ("pendingState", _U32), ("pendingAction", _U32)]


class LoaderVersionNumbers(c.Structure):
    C_NAME = "zel_version_t"
    _fields_ = [("major", c.c_int), ("minor", c.c_int), ("patch", c.c_int)]


class ComponentVersion(c.Structure):
    C_NAME = "zel_component_version_t"
    _fields_ = [("component_name", _STRING), ("spec_version", _U32), ("component_lib_version", LoaderVersionNumbers)]


_COUNT = c.POINTER(_U32)
_LIST = (_PTR, _COUNT, _PTR)
_ONE = (_PTR, _PTR)

# Every function returns ze_result_t. Structures are passed by address, so a void pointer declares them all.
PROTOTYPES: dict[str, tuple[Any, ...]] = {
    "zeInit": (_U32,),
    "zeDriverGet": (_COUNT, _PTR),
    "zeDriverGetApiVersion": (_PTR, _COUNT),
    "zeDriverGetProperties": _ONE,
    "zeDriverGetExtensionProperties": _LIST,
    "zeDeviceGet": _LIST,
    "zeDeviceGetSubDevices": _LIST,
    "zeDeviceGetProperties": _ONE,
    "zeDevicePciGetPropertiesExt": _ONE,
    "zeDeviceGetMemoryProperties": _LIST,
    "zeDeviceCanAccessPeer": (_PTR, _PTR, c.POINTER(c.c_uint8)),
    "zeDeviceGetP2PProperties": (_PTR, _PTR, _PTR),
    "zelLoaderGetVersions": (c.POINTER(c.c_size_t), _PTR),
    "zelGetLoaderVersion": (_PTR,),
    "zesInit": (_U32,),
    "zesDriverGet": (_COUNT, _PTR),
    "zesDeviceGet": _LIST,
    "zesDeviceGetProperties": _ONE,
    "zesDeviceGetState": _ONE,
    "zesDevicePciGetProperties": _ONE,
    "zesDevicePciGetState": _ONE,
    "zesDevicePciGetStats": _ONE,
    "zesDeviceProcessesGetState": _LIST,
    "zesDeviceEnumFrequencyDomains": _LIST,
    "zesFrequencyGetProperties": _ONE,
    "zesFrequencyGetState": _ONE,
    "zesFrequencyGetRange": _ONE,
    "zesDeviceEnumPowerDomains": _LIST,
    "zesPowerGetProperties": _ONE,
    "zesPowerGetLimits": (_PTR, _PTR, _PTR, _PTR),
    "zesPowerGetLimitsExt": _LIST,
    "zesPowerGetEnergyCounter": _ONE,
    "zesDeviceEnumTemperatureSensors": _LIST,
    "zesTemperatureGetProperties": _ONE,
    "zesTemperatureGetState": (_PTR, c.POINTER(_F64)),
    "zesDeviceEnumMemoryModules": _LIST,
    "zesMemoryGetProperties": _ONE,
    "zesMemoryGetState": _ONE,
    "zesDeviceEnumFabricPorts": _LIST,
    "zesFabricPortGetProperties": _ONE,
    "zesFabricPortGetState": _ONE,
    "zesFabricPortGetLinkType": _ONE,
    "zesDeviceEnumFirmwares": _LIST,
    "zesFirmwareGetProperties": _ONE,
    "zesDeviceEnumRasErrorSets": _LIST,
    "zesRasGetProperties": _ONE,
    "zesRasGetState": (_PTR, c.c_uint8, _PTR),
    "zesDeviceEnumEngineGroups": _LIST,
    "zesEngineGetProperties": _ONE,
    "zesEngineGetActivity": _ONE,
    "zesDeviceEccAvailable": (_PTR, c.POINTER(c.c_uint8)),
    "zesDeviceGetEccState": _ONE,
}


class Library:
    """A loaded libze_loader. Making one loads it (OSError when that fails) and nothing else."""

    def __init__(self, name: str = LOADER_NAME) -> None:
        self.name = name
        self._library = c.CDLL(name)
        self._functions: dict[str, Any] = {}

    def has(self, name: str) -> bool:
        return hasattr(self._library, name)

    def call(self, name: str, *arguments: object) -> int | None:
        """ze_result_t as an unsigned number; None when this loader does not have the function."""
        function = self._functions.get(name)
        if function is None:
            if not self.has(name):
                return None
            function = getattr(self._library, name)
            function.argtypes = PROTOTYPES[name]
            function.restype = _U32
            self._functions[name] = function
        return int(function(*arguments))
