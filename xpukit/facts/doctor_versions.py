"""Loader and specification versions, what xpu-smi 2 removed (data/doctor/versions.toml)."""

from __future__ import annotations

from functools import cache

import msgspec

from xpukit.facts.doctor_tables import load_table, split_version


class LoaderRelease(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """From which loader on a Level Zero specification is known."""

    loader: str
    api: str
    source: str


class RemovedOption(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What xpu-smi 2 does not take any more, and a pattern that finds it in a script."""

    pattern: str
    what: str
    instead: str
    source: str
    link: str
    date: str


class VersionFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    schema: str
    date: str
    loader: tuple[LoaderRelease, ...]
    removed: tuple[RemovedOption, ...]


@cache
def load_versions() -> VersionFile:
    """The tables. Raises BadFactsError."""
    return load_table("versions", VersionFile)


def bound_loader_api(loader: str) -> tuple[int, ...]:
    """The newest specification that this loader can know, () when no row says.

    A release between two rows may know up to what the upper row does.
    """
    version = split_version(loader)
    rows = sorted(load_versions().loader, key=lambda row: split_version(row.loader))
    above = [row for row in rows if split_version(row.loader) > version]
    exact = [row for row in rows if split_version(row.loader) == version[:3]]
    if not version or version < split_version(rows[0].loader):
        return ()
    if exact:
        return split_version(exact[0].api)
    return split_version(above[0].api) if above else ()
