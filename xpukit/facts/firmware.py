"""Where the kernel looks for firmware and where GPU firmware states its version (data/firmware/search.toml)."""

from __future__ import annotations

from functools import cache
from typing import Literal

import msgspec

from xpukit.facts.tables import read_table

SCHEMA = "xpukit.firmware-search/1"


class LayoutFacts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A header. `marker` are its first bytes, hexadecimal; `version_offset` is in bytes from the header's start, or
    from the start of the directory entry named `entry`."""

    name: str
    kinds: tuple[str, ...]
    marker: str
    version_offset: int
    fields: tuple[str, ...]
    packed: Literal["u32-8-8-8", "u32-16-16", "u16-u16-u16"]
    source: str
    entry: str = ""


class ModuleFacts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The families of firmware that each driver loads."""

    xe: tuple[str, ...]
    i915: tuple[str, ...]
    source: str

    def load_from(self, family: str) -> tuple[str, ...]:
        """The drivers that load firmware of a family."""
        return tuple(name for name in ("xe", "i915") if family in getattr(self, name))


class FirmwareSearchFacts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The search order, directories before endings, as the kernel has it."""

    schema: str
    date: str
    directories: tuple[str, ...]
    endings: tuple[str, ...]
    source: str
    families: tuple[str, ...]
    families_source: str
    modules: ModuleFacts
    layouts: tuple[LayoutFacts, ...]


@cache
def load_firmware_search() -> FirmwareSearchFacts:
    """Raises BadFactsError."""
    return read_table("firmware", "search", FirmwareSearchFacts, SCHEMA)
