"""Checks are found by scanning `checks/`: a new file is a new check."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from xpukit.doctor import checks
from xpukit.doctor.check import Check


@cache
def list_checks() -> tuple[Check, ...]:
    """All checks, in the order in which they look."""
    found: list[Check] = []
    for info in pkgutil.iter_modules(checks.__path__):
        module = importlib.import_module(f"{checks.__name__}.{info.name}")
        found.append(module.CHECK)
    return tuple(sorted(found, key=lambda check: (check.order, check.name)))
