"""Which metrics there are, in which unit and direction, with which parameters (data/metrics/metrics.toml)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Literal

import msgspec

from xpukit.core.measurement import Param
from xpukit.facts.tables import read_table

SCHEMA = "xpukit.metrics/1"


class MetricFacts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One metric. `bound`: which limit of a device no value can exceed; `expected`: what it must be on any machine."""

    benchmark: str
    metric: str
    unit: str
    direction: Literal["higher", "lower"]
    params: dict[str, Literal["text", "number"]]
    unit_of: dict[str, dict[str, str]] = {}
    bound: Literal["", "peak", "memory", "link"] = ""
    expected: float | None = None

    def find_unit(self, params: Mapping[str, Param]) -> str:
        """The unit of the metric with these parameters."""
        for name, units in self.unit_of.items():
            if (unit := units.get(str(params.get(name)))) is not None:
                return unit
        return self.unit


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    schema: str
    date: str
    metric: tuple[MetricFacts, ...]


@cache
def load_metrics() -> dict[tuple[str, str], MetricFacts]:
    """All metrics by benchmark and name. Raises BadFactsError when the installation is damaged."""
    metrics = read_table("metrics", "metrics", _File, SCHEMA).metric
    return {(item.benchmark, item.metric): item for item in metrics}
