"""The readings of a machine: what `probe` reports (`xpukit.probe/1`) and every other command starts from.

None means "the machine did not say"; why is in the device's or document's `unread`.
"""

from __future__ import annotations

from typing import Any

import msgspec

from xpukit.core.finding import Finding


class Unread(msgspec.Struct, frozen=True, kw_only=True):
    """Something that should have been readable and was not: what, why, and what would help."""

    what: str
    why: str
    remedy: str = ""


class LinkEnd(msgspec.Struct, frozen=True, kw_only=True):
    """One hop of the way from the root port to the device: a bridge (downstream end) and what is plugged into it."""

    bdf: str
    partner_bdf: str = ""
    current_speed_gts: float | None = None
    current_width: int | None = None
    max_speed_gts: float | None = None
    max_width: int | None = None
    partner_max_speed_gts: float | None = None
    partner_max_width: int | None = None


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """The PCIe link between the card and the machine, read at the card's own upstream port.

    `limited_by` names the hop (BDF) whose possible bandwidth is smallest; "" when the card itself is the limit.
    `max_*` is the most that both ends of that link can do. `degraded`: it runs below that.
    """

    read_at: str
    current_speed_gts: float | None = None
    current_width: int | None = None
    max_speed_gts: float | None = None
    max_width: int | None = None
    limited_by: str = ""
    limit_gbps: float | None = None
    current_gbps: float | None = None
    degraded: bool | None = None
    note: str = ""
    hops: tuple[LinkEnd, ...] = ()


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """A PCI memory window. `possible_bytes` are the sizes that the resizable-BAR capability offers."""

    index: int
    size_bytes: int
    prefetchable: bool = False
    is_64bit: bool = False
    resizable: bool | None = None
    possible_bytes: tuple[int, ...] = ()


class Iommu(msgspec.Struct, frozen=True, kw_only=True):
    """IOMMU group and mode of a device; `mode` is the group's type (DMA, DMA-FQ, identity) or "off"."""

    group: int | None = None
    mode: str = ""
    group_members: tuple[str, ...] = ()


class AcsPort(msgspec.Struct, frozen=True, kw_only=True):
    """Access Control Services of a bridge above the device; redirect bits send peer traffic through the root."""

    bdf: str
    capable: tuple[str, ...] = ()
    enabled: tuple[str, ...] = ()
    redirects: bool = False


class Firmware(msgspec.Struct, frozen=True, kw_only=True):
    """One firmware of a device (GuC, HuC, DMC, GSC ...) and who said so."""

    name: str
    version: str
    source: str
    status: str = ""


class Sensor(msgspec.Struct, frozen=True, kw_only=True):
    """One reading of hwmon or a frequency file, in the unit that its name carries."""

    name: str
    value: float
    unit: str
    source: str


class Gt(msgspec.Struct, frozen=True, kw_only=True):
    """A graphics or media unit of a tile and its clocks."""

    tile: int
    gt: int
    kind: str = ""
    min_mhz: float | None = None
    max_mhz: float | None = None
    current_mhz: float | None = None
    actual_mhz: float | None = None
    throttle_reasons: tuple[str, ...] = ()


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """One Intel GPU (or accelerator) function."""

    index: int
    bdf: str
    vendor_id: str
    device_id: str
    name: str
    known: bool
    subsystem_id: str = ""
    revision: str = ""
    pci_class: str = ""
    family: str = ""
    codename: str = ""
    discrete: bool | None = None
    driver: str = ""
    driver_version: str = ""
    driver_parameters: dict[str, str] = {}
    render_node: str = ""
    card_node: str = ""
    card_index: int | None = None
    by_path: tuple[str, ...] = ()
    virtual_function: bool = False
    physical_function: str = ""
    vfs_enabled: int | None = None
    vfs_possible: int | None = None
    numa_node: int | None = None
    numa_rule: str = ""
    local_cpus: str = ""
    level_zero_index: int | None = None
    affinity_mask: str = ""
    sycl_index: int | None = None
    xpu_smi_index: int | None = None
    uuid: str = ""
    tiles: int | None = None
    gts: tuple[Gt, ...] = ()
    memory_bytes: int | None = None
    bar_bytes: int | None = None
    bars: tuple[Bar, ...] = ()
    link: Link | None = None
    iommu: Iommu | None = None
    acs: tuple[AcsPort, ...] = ()
    aer: dict[str, int] = {}
    power_state: str = ""
    firmware: tuple[Firmware, ...] = ()
    sensors: tuple[Sensor, ...] = ()
    path: tuple[str, ...] = ()
    sources: dict[str, str] = {}
    unread: tuple[Unread, ...] = ()
    extra: dict[str, Any] = {}


class OtherDevice(msgspec.Struct, frozen=True, kw_only=True):
    """A display or accelerator function of another vendor, or (with --all) a NIC or NVMe drive."""

    bdf: str
    vendor_id: str
    device_id: str
    pci_class: str
    kind: str
    name: str = ""
    driver: str = ""
    numa_node: int | None = None
    path: tuple[str, ...] = ()
    interfaces: tuple[str, ...] = ()


class NumaNode(msgspec.Struct, frozen=True, kw_only=True):
    """A NUMA node. `cpus` are online; `allowed_cpus` those this process may use.

    `distances` has one entry per node of the machine, in node order. `socket` is the physical package; for a node
    without CPUs that of the nearest node with CPUs.
    """

    node: int
    cpus: str
    memory_bytes: int | None = None
    distances: tuple[int, ...] = ()
    allowed_cpus: str = ""
    memory_allowed: bool | None = None
    socket: int | None = None


class CpuCache(msgspec.Struct, frozen=True, kw_only=True):
    """One cache of the first processor, shared by `shared_cpus`. `instances` is counted for the last level only."""

    level: int
    kind: str
    size_bytes: int
    line_bytes: int | None = None
    shared_cpus: str = ""
    instances: int | None = None


class CpuLayout(msgspec.Struct, frozen=True, kw_only=True):
    """Processors of the machine and what this process may use of them.

    `siblings` are the hardware threads of each core ("0,104"). `limits` say in words what narrows `allowed` and the
    other limits. `last_level_cache_bytes` is the sum over the machine. `governor` and the energy settings name the
    count where processors differ.
    """

    model: str = ""
    online: str = ""
    offline: str = ""
    allowed: str = ""
    allowed_mems: str = ""
    cgroup_cpu_limit: float | None = None
    cgroup_memory_limit_bytes: int | None = None
    limits: tuple[str, ...] = ()
    sockets: int | None = None
    cores: int | None = None
    threads_per_core: int | None = None
    siblings: tuple[str, ...] = ()
    sub_numa: bool | None = None
    governor: str = ""
    frequency_driver: str = ""
    energy_preference: str = ""
    energy_bias: int | None = None
    caches: tuple[CpuCache, ...] = ()
    last_level_cache_bytes: int | None = None


class Topology(msgspec.Struct, frozen=True, kw_only=True):
    """How devices reach each other. `matrix[i][j]` is one of SELF, TILE, PIX, PXB, PHB, NODE, SYS, `?`."""

    labels: tuple[str, ...] = ()
    bdfs: tuple[str, ...] = ()
    matrix: tuple[tuple[str, ...], ...] = ()
    common: dict[str, str] = {}
    legend: dict[str, str] = {}


class SoftwareItem(msgspec.Struct, frozen=True, kw_only=True):
    """One part of the stack: version "" and a reason in `note` where it was looked for and not found.

    `found` tells a part that is there without a version of its own from one that is not; by default, whether there
    is a version.
    """

    name: str
    version: str = ""
    source: str = ""
    note: str = ""
    found: bool | None = None

    def __post_init__(self) -> None:
        if self.found is None:
            msgspec.structs.force_setattr(self, "found", bool(self.version))


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """Everything `probe` read, joined."""

    devices: tuple[Device, ...] = ()
    others: tuple[OtherDevice, ...] = ()
    cpu: CpuLayout = CpuLayout()
    memory_bytes: int | None = None
    numa: tuple[NumaNode, ...] = ()
    topology: Topology = Topology()
    software: tuple[SoftwareItem, ...] = ()
    level_zero: dict[str, Any] = {}
    platform: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    unread: tuple[Unread, ...] = ()
    findings: tuple[Finding, ...] = ()
