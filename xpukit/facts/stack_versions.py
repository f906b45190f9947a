"""Which driver and which versions a device family needs, and which were tested (data/stack_versions/*.toml)."""

from __future__ import annotations

import re
from functools import cache
from typing import Literal, TypeVar

import msgspec

from xpukit.facts.devices import lookup_device
from xpukit.facts.tables import read_table

DRIVERS_SCHEMA = "xpukit.stack-drivers/1"
VERSIONS_SCHEMA = "xpukit.stack-versions/1"
Component = Literal["kernel", "GuC", "HuC", "DMC", "NEO"]
_NUMBERS = re.compile(r"\d+(?:[.-]\d+)*")


class DriverFacts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The driver of a family. `kernel`: the first kernel.org release that drives it by itself, "" where none does.

    A distribution may have taken the support back to an older kernel: a bound driver is proof enough.
    `firmware_files` lie below /lib/firmware. `devices` (PCI ids) narrow `platforms`.
    """

    platforms: tuple[str, ...]
    usual: str
    possible: tuple[str, ...]
    kernel: str
    source: str
    link: str
    note: str = ""
    devices: tuple[str, ...] = ()
    firmware_files: tuple[str, ...] = ()


class VersionFacts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A version of a component that matters. `kind` broken: from `version` to `until`, both included.

    `flavour`: the ending of the kernel releases in which the whole version counts; elsewhere major.minor does.
    `several_devices`: it matters on machines with more than one such device only.
    """

    component: Component
    kind: Literal["minimum", "tested", "broken"]
    platforms: tuple[str, ...]
    version: str
    source: str
    link: str
    date: str
    note: str = ""
    devices: tuple[str, ...] = ()
    until: str = ""
    flavour: str = ""
    several_devices: bool = False


class _DriverFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    schema: str
    date: str
    driver: tuple[DriverFacts, ...]


class _VersionFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    schema: str
    date: str
    version: tuple[VersionFacts, ...]


_Row = TypeVar("_Row", DriverFacts, VersionFacts)


@cache
def load_drivers() -> tuple[DriverFacts, ...]:
    """All rows of drivers.toml. Raises BadFactsError when the file breaks its schema."""
    return read_table("stack_versions", "drivers", _DriverFile, DRIVERS_SCHEMA).driver


@cache
def load_versions() -> tuple[VersionFacts, ...]:
    """All rows of versions.toml. Raises BadFactsError when the file breaks its schema."""
    return read_table("stack_versions", "versions", _VersionFile, VERSIONS_SCHEMA).version


def _concern(rows: tuple[_Row, ...], vendor_id: str, device_id: str) -> list[_Row]:
    """The rows about a device, those that name its id first."""
    facts = lookup_device(vendor_id, device_id)
    if facts is None:
        return []
    known = [
        row for row in rows if facts.platform.startswith(row.platforms) and (not row.devices or facts.id in row.devices)
    ]
    return sorted(known, key=lambda row: not row.devices)


def find_driver(vendor_id: str, device_id: str) -> DriverFacts | None:
    """The driver of a device; None for a device that the table does not hold (integrated GPUs, new cards)."""
    return next(iter(_concern(load_drivers(), vendor_id, device_id)), None)


def list_versions(vendor_id: str, device_id: str, component: Component) -> tuple[VersionFacts, ...]:
    """What is known of a component's versions for a device."""
    return tuple(row for row in _concern(load_versions(), vendor_id, device_id) if row.component == component)


def parse_version(text: str) -> tuple[int, ...]:
    """The first dotted number in a text: '6.14.0-1011-intel' is (6, 14, 0, 1011); () where there is none.

    A Debian epoch ('1:2.3') is left out.
    """
    match = _NUMBERS.search(text.partition(":")[2] if re.match(r"\d+:", text) else text)
    return tuple(int(part) for part in re.split(r"[.-]", match[0])) if match else ()


def is_older(text: str, than: str) -> bool | None:
    """Whether a version comes before another, as far as both go: 70.49.4 before 70.55, 70.55.3 not before 70.55.

    None when one of them holds no number.
    """
    one, other = parse_version(text), parse_version(than)
    if not one or not other:
        return None
    length = min(len(one), len(other))
    return one[:length] < other[:length]


def is_kernel_older(release: str, than: str, flavour: str = "") -> bool | None:
    """The same for kernel releases. Build numbers count only between builds of one `flavour` ('…-intel')."""
    same_build = bool(flavour) and release.endswith(f"-{flavour}")
    if same_build:
        return is_older(release, than)
    one, other = parse_version(release)[:2], parse_version(than)[:2]
    return one < other if len(one) == len(other) == 2 else None
