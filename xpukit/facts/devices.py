"""Intel GPU ids, names and specified limits (data/devices/devices.json)."""

from __future__ import annotations

from functools import cache

import msgspec

from xpukit.facts.tables import read_json_table

SCHEMA = "xpukit.devices/1"
INTEL = "8086"
_TO_BYTES = {"GiB": 1 << 30, "GB": 10**9}


class FactSource(msgspec.Struct, frozen=True, kw_only=True):
    """Where a table was taken from, at which commit and date."""

    name: str
    what: str
    commit: str
    date: str


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """A specified limit of a device, with who specified it. `metric`: memory_bandwidth, fp32, fp16, int8, memory …"""

    metric: str
    value: float
    unit: str
    source: str
    ids: tuple[str, ...] = ()
    kind: str = "spec"


class CardBridge(msgspec.Struct, frozen=True, kw_only=True):
    """A PCIe bridge that sits on a graphics card, in front of its GPU."""

    id: str
    role: str
    card: str
    source: str


class DeviceFacts(msgspec.Struct, frozen=True, kw_only=True, rename={"listed_in": "in"}):
    """What is known of a device id. `platform` is the kernel's group name, `listed_in` the sources that list it.

    `discrete` None: the sources disagree. `tiles` None: not said (one, for all but Ponte Vecchio).
    `on_card_switch`: the GPU sits behind a PCIe switch of its own card, whose upstream port is the card's real link.
    """

    id: str
    name: str
    platform: str
    architecture: str
    codename: str
    discrete: bool | None
    tiles: int | None = None
    on_card_switch: bool | None = None
    listed_in: tuple[str, ...] = ()
    note: str = ""
    limits: tuple[Limit, ...] = ()

    def find_limit(self, metric: str) -> Limit | None:
        """The limit of that metric, None where none is known."""
        return next((limit for limit in self.limits if limit.metric == metric), None)

    def _value(self, metric: str) -> float | None:
        limit = self.find_limit(metric)
        return limit.value if limit else None

    @property
    def memory_bandwidth_gbps(self) -> float | None:
        """Specified memory bandwidth, 1e9 bytes/s."""
        return self._value("memory_bandwidth")

    @property
    def fp16_tflops(self) -> float | None:
        """Specified fp16 matrix peak, 1e12 operations/s."""
        return self._value("fp16")

    @property
    def int8_tops(self) -> float | None:
        """Specified int8 matrix peak, 1e12 operations/s."""
        return self._value("int8")

    @property
    def memory_bytes(self) -> int | None:
        """Specified memory size."""
        limit = self.find_limit("memory")
        return int(limit.value * _TO_BYTES[limit.unit]) if limit else None

    @property
    def pcie_speed_gts(self) -> float | None:
        """Specified PCIe transfer rate per lane."""
        return self._value("pcie_speed")

    @property
    def pcie_width(self) -> int | None:
        """Specified number of PCIe lanes."""
        value = self._value("pcie_width")
        return int(value) if value is not None else None


class DeviceTable(msgspec.Struct, frozen=True, kw_only=True):
    """The data file."""

    schema: str
    date: str
    sources: tuple[FactSource, ...]
    card_bridges: tuple[CardBridge, ...]
    devices: tuple[DeviceFacts, ...]
    limits: tuple[Limit, ...]


@cache
def load_table() -> DeviceTable:
    """The table as it is in the file. Raises BadFactsError when the installation is damaged."""
    return read_json_table("devices", "devices", DeviceTable, SCHEMA)


@cache
def _index() -> dict[str, DeviceFacts]:
    table = load_table()
    limits: dict[str, list[Limit]] = {}
    for limit in table.limits:
        for device_id in limit.ids:
            limits.setdefault(device_id, []).append(limit)
    return {facts.id: msgspec.structs.replace(facts, limits=tuple(limits.get(facts.id, ()))) for facts in table.devices}


@cache
def _bridge_roles() -> dict[str, str]:
    return {bridge.id: bridge.role for bridge in load_table().card_bridges}


def lookup_device(vendor_id: str, device_id: str) -> DeviceFacts | None:
    """What is known of a PCI id; ids are hex, with or without 0x. None for other vendors and unknown ids."""
    if _normalize(vendor_id) != INTEL:
        return None
    return _index().get(_normalize(device_id))


def list_devices() -> tuple[DeviceFacts, ...]:
    """All known devices, in the order of their ids."""
    return tuple(sorted(_index().values(), key=lambda facts: facts.id))


def find_card_bridge(vendor_id: str, device_id: str) -> str:
    """ "upstream" or "downstream" for a bridge known to sit on a graphics card, else ""."""
    return _bridge_roles().get(_normalize(device_id), "") if _normalize(vendor_id) == INTEL else ""


def name_unknown(device_id: str) -> str:
    """The name given to an Intel GPU that the table does not hold."""
    return f"Intel GPU (unknown SKU 0x{_normalize(device_id).upper()})"


def _normalize(text: str) -> str:
    return text.strip().lower().removeprefix("0x")
