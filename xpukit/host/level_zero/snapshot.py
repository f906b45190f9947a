"""What was read from Level Zero, as plain values. None means that the driver did not say (see `errors`)."""

from __future__ import annotations

from typing import Literal

import msgspec

Status = Literal["ok", "no-loader", "no-driver", "init-failed", "denied", "crashed", "timeout", "garbled", "unrecorded"]
SysmanMode = Literal["zesInit", "ZES_ENABLE_SYSMAN", "none"]


class RefusedCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call that did not succeed. `code_hex` is "" when the loader lacks the function or the call never returned."""

    call: str
    code_hex: str
    name: str
    devices: tuple[str, ...] = ()


class LevelZeroDriver(msgspec.Struct, frozen=True, kw_only=True):
    """One driver; `extensions` maps an extension's name to its version."""

    index: int
    api_version: str | None = None
    driver_version: int | None = None
    uuid: str | None = None
    extensions: dict[str, str] = {}


class PciSpeed(msgspec.Struct, frozen=True, kw_only=True):
    """A PCI link; the bandwidth is the sum of all lanes."""

    gen: int | None = None
    width: int | None = None
    bandwidth_bytes_per_s: int | None = None


class MemoryProperty(msgspec.Struct, frozen=True, kw_only=True):
    """One memory that kernels can use. Bandwidths are the design's, in 1e9 bytes/s."""

    name: str
    total_bytes: int
    bus_width_bits: int
    clock_mhz: int
    kind: str | None = None
    read_bandwidth_gbps: int | None = None
    write_bandwidth_gbps: int | None = None


class FrequencyDomain(msgspec.Struct, frozen=True, kw_only=True):
    """`min_mhz`/`max_mhz` are the hardware's, `range_*` what is set now."""

    domain: str
    tile: int | None = None
    can_control: bool = False
    min_mhz: float | None = None
    max_mhz: float | None = None
    range_min_mhz: float | None = None
    range_max_mhz: float | None = None
    request_mhz: float | None = None
    actual_mhz: float | None = None
    efficient_mhz: float | None = None
    tdp_mhz: float | None = None
    throttle_reasons: tuple[str, ...] | None = None


class PowerLimit(msgspec.Struct, frozen=True, kw_only=True):
    """`limit` is in mW when `unit` is "power", in mA when it is "current"."""

    level: str
    source: str
    unit: str
    enabled: bool
    limit: int
    interval_ms: int | None = None
    locked: bool = False


class PowerDomain(msgspec.Struct, frozen=True, kw_only=True):
    """`energy_uj` counts since an unknown time; two readings make a power."""

    tile: int | None = None
    domain: str | None = None
    can_control: bool = False
    default_limit_mw: int | None = None
    min_limit_mw: int | None = None
    max_limit_mw: int | None = None
    limits: tuple[PowerLimit, ...] = ()
    energy_uj: int | None = None
    energy_timestamp_us: int | None = None


class Temperature(msgspec.Struct, frozen=True, kw_only=True):
    """Degrees Celsius."""

    sensor: str
    tile: int | None = None
    celsius: float | None = None
    max_celsius: float | None = None


class MemoryModule(msgspec.Struct, frozen=True, kw_only=True):
    """A memory as sysman sees it: its health and how much is free."""

    kind: str
    location: str
    tile: int | None = None
    physical_bytes: int | None = None
    bus_width_bits: int | None = None
    channels: int | None = None
    health: str | None = None
    free_bytes: int | None = None
    size_bytes: int | None = None


class PciState(msgspec.Struct, frozen=True, kw_only=True):
    """The device's own view of its link (an Intel discrete GPU's endpoint may claim gen 1 x1).

    Bytes (replays included) and replayed packets since the driver was loaded; None where the driver counts none.
    """

    bdf: str | None = None
    max_speed: PciSpeed | None = None
    speed: PciSpeed | None = None
    status: str | None = None
    issues: tuple[str, ...] = ()
    received_bytes: int | None = None
    sent_bytes: int | None = None
    replays: int | None = None


class FabricPort(msgspec.Struct, frozen=True, kw_only=True):
    """One Xe Link port. Identities are fabric:attach:port; speeds are of one direction, all lanes."""

    model: str
    port: str
    tile: int | None = None
    link_type: str | None = None
    status: str | None = None
    issues: tuple[str, ...] = ()
    remote_port: str | None = None
    max_rx_bits_per_s: int | None = None
    max_tx_bits_per_s: int | None = None
    rx_bits_per_s: int | None = None
    tx_bits_per_s: int | None = None


class Firmware(msgspec.Struct, frozen=True, kw_only=True):
    """A firmware of the card."""

    name: str
    version: str
    tile: int | None = None


class RasErrorSet(msgspec.Struct, frozen=True, kw_only=True):
    """Error counts by category; reading does not clear them. None when the counts were refused."""

    kind: str
    tile: int | None = None
    counts: dict[str, int] | None = None


class EngineGroup(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of engine and how many the driver lists.

    `active_us`: time that they worked, added up, by a clock that stood at `clock_us`; only differences mean something.
    None where one of them does not tell.
    """

    kind: str
    tile: int | None = None
    count: int = 1
    active_us: int | None = None
    clock_us: int | None = None


class EccState(msgspec.Struct, frozen=True, kw_only=True):
    """ECC now, and after the pending action."""

    available: bool
    current: str | None = None
    pending: str | None = None
    pending_action: str | None = None


class Sysman(msgspec.Struct, frozen=True, kw_only=True):
    """System management of one device. Serial and board numbers are left out on purpose."""

    brand: str | None = None
    model: str | None = None
    vendor: str | None = None
    driver_version: str | None = None
    tile_count: int | None = None
    reset_needed: tuple[str, ...] | None = None
    repaired: str | None = None
    process_count: int | None = None
    pci: PciState | None = None
    ecc: EccState | None = None
    frequencies: tuple[FrequencyDomain, ...] | None = None
    power: tuple[PowerDomain, ...] | None = None
    temperatures: tuple[Temperature, ...] | None = None
    memories: tuple[MemoryModule, ...] | None = None
    fabric_ports: tuple[FabricPort, ...] | None = None
    firmwares: tuple[Firmware, ...] | None = None
    ras: tuple[RasErrorSet, ...] | None = None
    engines: tuple[EngineGroup, ...] | None = None


class LevelZeroDevice(msgspec.Struct, frozen=True, kw_only=True):
    """A device, or one of its tiles.

    `index` is the device's place in its driver's list (a tile's: in its device), which is what ZE_AFFINITY_MASK
    counts under ZE_FLAT_DEVICE_HIERARCHY=COMPOSITE; None when only sysman lists the device. `mask_composite` is the
    whole mask entry ("1" or "1.0") and `masks_flat` the numbers that name the same hardware under FLAT.
    """

    driver_index: int
    index: int | None
    mask_composite: str | None = None
    masks_flat: tuple[int, ...] = ()
    type: str
    name: str
    vendor_id: int
    device_id: int
    uuid: str
    bdf: str | None = None
    pci_max_speed: PciSpeed | None = None
    core_clock_mhz: int = 0
    slices: int = 0
    subslices_per_slice: int = 0
    eus_per_subslice: int = 0
    threads_per_eu: int = 0
    simd_width: int = 0
    max_mem_alloc_bytes: int = 0
    memory_bytes: int | None = None
    memories: tuple[MemoryProperty, ...] = ()
    flags: tuple[str, ...] = ()
    is_subdevice: bool = False
    tiles: tuple[LevelZeroDevice, ...] = ()
    sysman: Sysman | None = None

    @property
    def eus(self) -> int:
        """Execution units: the product of the three counts."""
        return self.slices * self.subslices_per_slice * self.eus_per_subslice


class Peer(msgspec.Struct, frozen=True, kw_only=True):
    """What `src` may do with `dst`'s memory; both are `mask_composite` entries of one driver.

    Bandwidth and latency are there only with the driver's experimental extension, in the units it gives.
    """

    driver_index: int
    src: str
    dst: str
    can_access: bool | None = None
    access_flags: tuple[str, ...] | None = None
    atomics: bool | None = None
    bandwidth: int | None = None
    bandwidth_unit: str | None = None
    latency: int | None = None
    latency_unit: str | None = None


class LevelZeroAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Everything Level Zero said, or why it said nothing and what to do about it.

    `environment` holds the caller's variables that steer Level Zero; the snapshot itself is always taken with
    ZE_FLAT_DEVICE_HIERARCHY=COMPOSITE and without ZE_AFFINITY_MASK, so that it shows the whole machine.
    `status` "init-failed" may still come with devices, when only the core interface failed and sysman answers.
    """

    status: Status
    detail: str = ""
    remedy: str = ""
    loader_path: str | None = None
    loader_version: str | None = None
    sysman_mode: SysmanMode = "none"
    environment: dict[str, str] = {}
    drivers: tuple[LevelZeroDriver, ...] = ()
    devices: tuple[LevelZeroDevice, ...] = ()
    peers: tuple[Peer, ...] = ()
    errors: tuple[RefusedCall, ...] = ()
