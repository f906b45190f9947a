"""Names of engines' metrics by version, and the images of the monitoring stack (data/exporter)."""

from __future__ import annotations

from functools import cache
from typing import Literal

import msgspec

from xpukit.facts.tables import damaged, read_table


class EngineName(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an engine calls it, from version `since` up to and with `until` ("" without end)."""

    engine: Literal["vllm", "sglang"]
    name: str
    source: str
    since: str = ""
    until: str = ""


class EngineMeaning(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something that engines tell, under our name for it (`record`); the first of `names` that is there counts."""

    record: str
    kind: Literal["gauge", "counter", "histogram"]
    help: str
    names: tuple[EngineName, ...]


class PinnedImage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An image with its tag."""

    image: str
    source: str


class MonitorImages(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """images.toml."""

    schema: str
    date: str
    prometheus: PinnedImage
    grafana: PinnedImage


class _EngineFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    schema: str
    date: str
    sources: dict[str, str]
    meaning: tuple[EngineMeaning, ...]


@cache
def load_engine_meanings() -> tuple[EngineMeaning, ...]:
    """All meanings. Raises BadFactsError, also for a name whose source is not told."""
    content = read_table("exporter", "engine_metrics", _EngineFile, "xpukit.engine-metrics/1")
    for meaning in content.meaning:
        for name in meaning.names:
            if name.source not in content.sources:
                raise damaged("exporter/engine_metrics.toml", f"{name.name}: no source {name.source!r}")
    return content.meaning


@cache
def load_monitor_images() -> MonitorImages:
    """The images. Raises BadFactsError."""
    return read_table("exporter", "images", MonitorImages, "xpukit.monitor-images/1")
