"""Benchmarks are found by scanning `benchmarks/`: a new file is a new benchmark."""

from __future__ import annotations

import importlib
import pkgutil

from xpukit.evaluate import benchmarks
from xpukit.evaluate.benchmark import Benchmark


def list_benchmarks() -> tuple[Benchmark, ...]:
    """All benchmarks, in the order in which they run."""
    found: list[Benchmark] = []
    for info in pkgutil.iter_modules(benchmarks.__path__):
        module = importlib.import_module(f"{benchmarks.__name__}.{info.name}")
        found.append(module.BENCHMARK)
    return tuple(sorted(found, key=lambda benchmark: (benchmark.order, benchmark.name)))
