"""Where the kernel looks for firmware and where GPU firmware states its version (data/firmware/search.toml)."""

from __future__ import annotations

from functools import cache
from typing import Literal

import msgspec

from xpukit.core.errors import BadFactsError
from xpukit.core.toml import load_toml
from xpukit.facts.paths import data_dir

SCHEMA = "xpukit.firmware-search/1"
_FILE = "firmware/search.toml"


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
    path = data_dir() / _FILE
    raw = load_toml(path)
    if raw.get("schema") != SCHEMA:
        raise BadFactsError(f"{path}: schema is {raw.get('schema')!r}, not {SCHEMA!r}", hint="install xpukit again")
    try:
        return msgspec.convert(raw, FirmwareSearchFacts)
    except msgspec.ValidationError as err:
        raise BadFactsError(f"{path}: {err}", hint="install xpukit again") from err
