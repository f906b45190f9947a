"""How the accepted flags of every version of an engine lie on disk: one record a flag, with its ranges of versions.

A version is its place in `versions`, oldest first; a range is [first, last], both included. The same flag with another
default, type or list of choices is another record.
"""

from __future__ import annotations

from typing import Any

import msgspec

SCHEMA = "xpukit.engine-schemas/1"

Ranges = tuple[tuple[int, int], ...]


class Program(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A command with an argument parser of its own, as it is typed: `vllm serve`, `python -m sglang.launch_server`."""

    name: str
    versions: Ranges
    allow_abbrev: bool = True


class FlagRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One argument of one or more programs: `programs` names each by its place and the versions that have it so.

    `choices` is a place in the file's table of lists (-1: any value). No `flags`: a positional argument.
    """

    flags: tuple[str, ...] = ()
    dest: str
    action: str = "StoreAction"
    type: str = ""
    nargs: int | str | None = None
    choices: int = -1
    default: Any = None
    required: bool = False
    deprecated: bool = False
    programs: dict[str, Ranges]


class EngineFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`data/engines/<engine>.json.xz`, written by scripts/import-engine-schemas."""

    schema: str
    engine: str
    source: str
    date: str
    versions: tuple[str, ...]
    programs: tuple[Program, ...]
    choices: tuple[tuple[str | int | float | bool | None, ...], ...]
    flags: tuple[FlagRecord, ...]
    registries: dict[str, dict[str, Ranges]]
    subcommands: dict[str, dict[str, Ranges]]


def is_in(ranges: Ranges, index: int) -> bool:
    """Whether one of the ranges holds this place."""
    return any(first <= index <= last for first, last in ranges)


def build_ranges(places: list[int]) -> Ranges:
    """Sorted places -> the fewest ranges that hold them."""
    ranges: list[tuple[int, int]] = []
    for place in sorted(set(places)):
        if ranges and ranges[-1][1] == place - 1:
            ranges[-1] = (ranges[-1][0], place)
        else:
            ranges.append((place, place))
    return tuple(ranges)
