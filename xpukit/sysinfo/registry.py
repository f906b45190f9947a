"""Collectors are found by scanning `collectors/`: a new file is a new collector."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from xpukit.sysinfo import collectors
from xpukit.sysinfo.collector import Collector


@cache
def list_collectors() -> tuple[Collector, ...]:
    """All collectors, in the order in which they run."""
    found: list[Collector] = []
    for info in pkgutil.iter_modules(collectors.__path__):
        module = importlib.import_module(f"{collectors.__name__}.{info.name}")
        found.append(module.COLLECTOR)
    return tuple(sorted(found, key=lambda collector: (collector.order, collector.name)))
