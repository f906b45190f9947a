"""Which package of a distribution has the GPU's firmware: data/doctor/firmware_packages.toml."""

from __future__ import annotations

from functools import cache

import msgspec

from xpukit.facts.doctor_tables import load_table


class FirmwarePackageFacts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`begins`: of the distribution's name as /etc/os-release has it; `remedy`: what comes before `commands`."""

    begins: str
    remedy: str
    commands: tuple[str, ...]
    source: str


class FirmwarePackageFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file."""

    schema: str
    date: str
    package: tuple[FirmwarePackageFacts, ...]


@cache
def _load() -> tuple[FirmwarePackageFacts, ...]:
    return load_table("firmware_packages", FirmwarePackageFile).package


def find_firmware_package(distribution: str) -> FirmwarePackageFacts | None:
    """The row of a distribution ("Ubuntu 24.04.2 LTS"), None for one that is not known. Raises BadFactsError."""
    return next((row for row in _load() if distribution.startswith(row.begins)), None)
