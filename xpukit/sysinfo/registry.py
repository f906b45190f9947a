"""Collectors are found by scanning `collectors/`: a new file is a new collector."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache

from xpukit.sysinfo import collectors
from xpukit.sysinfo.collector import Collector, conform_error


@cache
def list_collectors() -> tuple[Collector, ...]:
    """All collectors, in the order in which they run."""
    found: list[Collector] = []
    for info in pkgutil.iter_modules(collectors.__path__):
        module = importlib.import_module(f"{collectors.__name__}.{info.name}")
        found.append(module.COLLECTOR)
    return tuple(sorted(found, key=lambda collector: (collector.order, collector.name)))


def list_faults(found: Mapping[str, object]) -> tuple[str, ...]:
    """What is wrong with collectors, by file name without ending; the conformance test wants none."""
    faults = []
    for file, collector in found.items():
        if not isinstance(collector, Collector):
            faults.append(f"{file}.py: has no COLLECTOR = Collector(...)")
        elif collector.name != file:
            faults.append(f"{file}.py: its collector is named {collector.name!r}, not as its file")
        elif error := conform_error(collector):
            faults.append(f"{file}.py: {error}")
    return tuple(faults)
