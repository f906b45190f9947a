"""How serving benchmarks name what they measured (data/bench/formats.toml)."""

from __future__ import annotations

from functools import cache
from typing import Literal

import msgspec

from xpukit.facts.tables import read_table

_SCHEMA = "xpukit.bench-formats/1"


class LatencyNames(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One kind of latency: its names in tables and in documents."""

    name: str
    labels: tuple[str, ...]
    keys: tuple[str, ...]


class Metric(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a figure is. `tolerance`: by which fraction it may be worse than what it is compared with."""

    name: str
    unit: str
    direction: Literal["higher", "lower"]
    tolerance: float
    source: str

    @property
    def higher_is_better(self) -> bool:
        return self.direction == "higher"


class OneBatchNames(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """SGLang's benchmark of one batch: the lines of its log by what they measure, the keys of its document."""

    warm_up: str
    measured: str
    lines: dict[str, str]
    keys: dict[str, str]


class Wish(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A flag that an engine's benchmark gets where its version knows it."""

    engines: tuple[str, ...]
    flag: str
    value: str
    why: str
    source: str


class BenchFormats(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All names. `labels` are in lower case."""

    schema: str
    date: str
    source: str
    title: str
    latency: tuple[LatencyNames, ...]
    labels: dict[str, str]
    keys: dict[str, str]
    marks: dict[str, str]
    arguments: dict[str, str]
    one_batch: OneBatchNames
    metric: tuple[Metric, ...]
    wish: tuple[Wish, ...]

    def find_metric(self, name: str) -> Metric:
        """The metric `name`, where latencies are `ttft_mean`, `itl_p99`. Raises KeyError for one that is none."""
        for one in self.metric:
            if one.name == name:
                return one
        statistic = name.rpartition("_")[2]
        wanted = statistic if statistic in ("mean", "median") else "percentile" if statistic[:1] == "p" else ""
        for one in self.metric:
            if wanted and one.name == wanted and name.partition("_")[0] in {known.name for known in self.latency}:
                return msgspec.structs.replace(one, name=name)
        raise KeyError(name)


@cache
def load_bench_formats() -> BenchFormats:
    """The table. Raises BadFactsError."""
    found = read_table("bench", "formats", BenchFormats, _SCHEMA)
    return msgspec.structs.replace(found, labels={label.lower(): field for label, field in found.labels.items()})
