"""What Level Zero's numbers mean. A number that is newer than these tables is shown as itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

# ze_result_t without the ZE_RESULT_ prefix; the last block is from headers after 1.4.
RESULTS: dict[int, str] = {
    0x0: "SUCCESS",
    0x1: "NOT_READY",
    0x70000001: "ERROR_DEVICE_LOST",
    0x70000002: "ERROR_OUT_OF_HOST_MEMORY",
    0x70000003: "ERROR_OUT_OF_DEVICE_MEMORY",
    0x70000004: "ERROR_MODULE_BUILD_FAILURE",
    0x70000005: "ERROR_MODULE_LINK_FAILURE",
    0x70000006: "ERROR_DEVICE_REQUIRES_RESET",
    0x70000007: "ERROR_DEVICE_IN_LOW_POWER_STATE",
    0x70010000: "ERROR_INSUFFICIENT_PERMISSIONS",
    0x70010001: "ERROR_NOT_AVAILABLE",
    0x70020000: "ERROR_DEPENDENCY_UNAVAILABLE",
    0x70020001: "WARNING_DROPPED_DATA",
    0x78000001: "ERROR_UNINITIALIZED",
    0x78000002: "ERROR_UNSUPPORTED_VERSION",
    0x78000003: "ERROR_UNSUPPORTED_FEATURE",
    0x78000004: "ERROR_INVALID_ARGUMENT",
    0x78000005: "ERROR_INVALID_NULL_HANDLE",
    0x78000006: "ERROR_HANDLE_OBJECT_IN_USE",
    0x78000007: "ERROR_INVALID_NULL_POINTER",
    0x78000008: "ERROR_INVALID_SIZE",
    0x78000009: "ERROR_UNSUPPORTED_SIZE",
    0x7800000C: "ERROR_INVALID_ENUMERATION",
    0x7800000D: "ERROR_UNSUPPORTED_ENUMERATION",
    0x7800001B: "WARNING_ACTION_REQUIRED",
    0x78000020: "ERROR_SURVIVABILITY_MODE_DETECTED",
    0x7FFFFFFE: "ERROR_UNKNOWN",
}

DEVICE_TYPES: dict[int, str] = {1: "gpu", 2: "cpu", 3: "fpga", 4: "mca", 5: "npu"}
DEVICE_FLAGS = ("integrated", "subdevice", "ecc", "ondemand-paging")
P2P_FLAGS = ("access", "atomics")

# ze_device_memory_ext_type_t and zes_mem_type_t number the same kinds differently.
CORE_MEMORY_TYPES = (
    "hbm", "hbm2", "ddr", "ddr2", "ddr3", "ddr4", "ddr5", "lpddr", "lpddr3", "lpddr4", "lpddr5", "sram", "l1", "l3",
    "grf", "slm", "gddr4", "gddr5", "gddr5x", "gddr6", "gddr6x", "gddr7", "hbm2e", "hbm3", "hbm3e", "hbm4", "lpddr5x",
    "lpddr6",
)  # fmt: skip
SYSMAN_MEMORY_TYPES = (
    "hbm", "ddr", "ddr3", "ddr4", "ddr5", "lpddr", "lpddr3", "lpddr4", "lpddr5", "sram", "l1", "l3", "grf", "slm",
    "gddr4", "gddr5", "gddr5x", "gddr6", "gddr6x", "gddr7", "lpddr5x", "hbm2", "ddr2", "hbm2e", "hbm3", "hbm3e",
    "hbm4", "lpddr6",
)  # fmt: skip
MEMORY_LOCATIONS = ("system", "device")
MEMORY_HEALTH = ("unknown", "ok", "degraded", "critical", "replace")

BANDWIDTH_UNITS = ("unknown", "bytes/ns", "bytes/clock")
LATENCY_UNITS = ("unknown", "ns", "clock", "hop")

FREQUENCY_DOMAINS = ("gpu", "memory", "media")
THROTTLE_REASONS = (
    "average-power-cap", "burst-power-cap", "current-limit", "thermal-limit", "psu-alert", "software-range",
    "hardware-range", "voltage", "thermal", "power",
)  # fmt: skip
POWER_DOMAINS = ("unknown", "card", "package", "stack", "memory", "gpu")
POWER_LEVELS = ("unknown", "sustained", "burst", "peak", "instantaneous")
POWER_SOURCES = ("any", "mains", "battery")
LIMIT_UNITS = ("unknown", "current", "power")
TEMPERATURE_SENSORS = (
    "global", "gpu", "memory", "global-min", "gpu-min", "memory-min", "gpu-board", "gpu-board-min",
    "voltage-regulator",
)  # fmt: skip
LINK_STATUS = ("unknown", "good", "quality-issues", "stability-issues")
LINK_QUALITY = ("replays", "speed")
LINK_STABILITY = ("retraining",)
FABRIC_STATUS = ("unknown", "healthy", "degraded", "failed", "disabled")
FABRIC_QUALITY = ("link-errors", "speed")
FABRIC_FAILURES = ("failed", "training-timeout", "flapping")
RAS_TYPES = ("correctable", "uncorrectable")
RAS_CATEGORY_NAMES = ("reset", "programming", "driver", "compute", "non-compute", "cache", "display")
ENGINE_GROUPS = (
    "all", "compute-all", "media-all", "copy-all", "compute", "render", "media-decode", "media-encode", "copy",
    "media-enhancement", "3d", "3d-render-compute-all", "render-all", "3d-all", "media-codec",
)  # fmt: skip
ECC_STATES = ("unavailable", "enabled", "disabled")
ECC_ACTIONS = ("none", "warm-card-reset", "cold-card-reset", "cold-system-reboot")
RESET_REASONS = ("wedged", "repair")
REPAIR_STATUS = ("unsupported", "not-performed", "performed")


def name_value(value: int, names: Mapping[int, str] | Sequence[str]) -> str:
    """The value's name, or "value 42" when the table is older than the driver."""
    if isinstance(names, Mapping):
        return names.get(value, f"value {value}")
    return names[value] if 0 <= value < len(names) else f"value {value}"


def name_flags(bits: int, names: Sequence[str]) -> tuple[str, ...]:
    """Names of the set bits, lowest first; bits beyond the table as "bit 12"."""
    return tuple(
        names[bit] if bit < len(names) else f"bit {bit}" for bit in range(bits.bit_length()) if bits >> bit & 1
    )


def name_result(code: int) -> str:
    """The name of a ze_result_t, without its prefix."""
    return RESULTS.get(code, "UNKNOWN_CODE")
