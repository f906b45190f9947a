"""Level Zero's C interface, as far as we ask it: structures and prototypes, and the loader behind them.

The structures of system management are in sysman_api.py.

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

UNINITIALIZED = 0x78000001
UNSUPPORTED_FEATURE = 0x78000003
INSUFFICIENT_PERMISSIONS = 0x70010000

_U32, _I32, _U64, _I64, _PTR, _F64 = c.c_uint32, c.c_int32, c.c_uint64, c.c_int64, c.c_void_p, c.c_double
_UUID = c.c_uint8 * UUID_BYTES
_NAME = c.c_char * NAME_BYTES
_STRING = c.c_char * STRING_BYTES
Fields = list[tuple[str, Any]]


class Described(c.Structure):
    """A structure that begins with its type and a pointer to an extension; `C_NAME` is its name in the headers."""

    STYPE: ClassVar[int]
    C_NAME: ClassVar[str]


HEAD: Fields = [("stype", _U32), ("pNext", _PTR)]
# Where the component sits: most sysman structures have these two.
PLACE: Fields = [("onSubdevice", c.c_uint8), ("subdeviceId", _U32)]

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
    _fields_ = [*HEAD, ("uuid", _UUID), ("driverVersion", _U32)]


class ExtensionProperties(c.Structure):
    C_NAME = "ze_driver_extension_properties_t"
    _fields_ = [("name", _NAME), ("version", _U32)]


class DeviceProperties(Described):
    STYPE, C_NAME = 0x3, "ze_device_properties_t"
    _fields_ = [
        *HEAD,
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
    _fields_ = [*HEAD, ("address", PciAddress), ("maxSpeed", PciSpeed)]


class MemoryProperties(Described):
    STYPE, C_NAME = 0x7, "ze_device_memory_properties_t"
    _fields_ = [
        *HEAD,
        ("flags", _U32),
        ("maxClockRate", _U32),
        ("maxBusWidth", _U32),
        ("totalSize", _U64),
        ("name", _NAME),
    ]


class MemoryExtProperties(Described):
    STYPE, C_NAME = 0x1000E, "ze_device_memory_ext_properties_t"
    _fields_ = [
        *HEAD,
        ("type", _U32),
        ("physicalSize", _U64),
        ("readBandwidth", _U32),
        ("writeBandwidth", _U32),
        ("bandwidthUnit", _U32),
    ]


class P2pProperties(Described):
    STYPE, C_NAME = 0xB, "ze_device_p2p_properties_t"
    _fields_ = [*HEAD, ("flags", _U32)]


class P2pBandwidthProperties(Described):
    STYPE, C_NAME = 0x2000A, "ze_device_p2p_bandwidth_exp_properties_t"
    _fields_ = [
        *HEAD,
        ("logicalBandwidth", _U32),
        ("physicalBandwidth", _U32),
        ("bandwidthUnit", _U32),
        ("logicalLatency", _U32),
        ("physicalLatency", _U32),
        ("latencyUnit", _U32),
    ]


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
