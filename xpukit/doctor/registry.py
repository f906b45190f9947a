"""Checks are found by scanning `checks/`: a new file is a new check."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache

from xpukit.doctor import checks
from xpukit.doctor.check import Check, conform_error


@cache
def list_checks() -> tuple[Check, ...]:
    """All checks, in the order in which they look."""
    found: list[Check] = []
    for info in pkgutil.iter_modules(checks.__path__):
        module = importlib.import_module(f"{checks.__name__}.{info.name}")
        found.append(module.CHECK)
    return tuple(sorted(found, key=lambda check: (check.order, check.name)))


def list_faults(found: Mapping[str, object]) -> tuple[str, ...]:
    """What is wrong with checks, by file name without ending; the conformance test wants none."""
    faults = []
    owner: dict[str, str] = {}
    for file, check in found.items():
        if not isinstance(check, Check):
            faults.append(f"{file}.py: has no CHECK = Check(...)")
            continue
        if check.name != file:
            faults.append(f"{file}.py: its check is named {check.name!r}, not as its file")
        elif error := conform_error(check):
            faults.append(f"{file}.py: {error}")
        for name in check.ids:
            if owner.setdefault(name, file) != file:
                faults.append(f"{file}.py: {name} is an id of {owner[name]}.py")
    return tuple(faults)
