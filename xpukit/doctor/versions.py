"""Rows of the software table with all the versions they name."""

from __future__ import annotations

from xpukit.core.machine import SoftwareItem
from xpukit.doctor.check import Patient


def find_item(patient: Patient, name: str) -> SoftwareItem | None:
    """The row of a part that is there."""
    return next((item for item in patient.machine.software if item.name == name and item.found), None)


def list_places(item: SoftwareItem) -> tuple[tuple[str, str], ...]:
    """(version, directory) of a Python part in every environment: the row's own, then "also V in DIR" of its note."""
    found = [(item.version, item.source)]
    if item.note.startswith("also "):
        for part in item.note.removeprefix("also ").split(", "):
            version, _, place = part.partition(" in ")
            if version and place:
                found.append((version, place))
    return tuple(found)
