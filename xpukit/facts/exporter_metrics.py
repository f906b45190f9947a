"""The exporter's metrics and how drivers name what it reads (data/exporter/metrics.toml, sources.toml)."""

from __future__ import annotations

import re
from functools import cache
from typing import Literal

import msgspec

from xpukit.facts.tables import damaged, read_table


class ExporterMetric(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"origin": "from"}):
    """One metric. `otel`: its name in OpenTelemetry's conventions, "" where they have none; `origin`: what is read."""

    name: str
    kind: Literal["gauge", "counter"]
    labels: tuple[str, ...]
    help: str
    origin: str
    otel: str = ""


class EngineNames(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Our name of an engine class by the driver's key in fdinfo."""

    names: dict[str, str]
    source: str


class EngineGroups(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Our name of an engine class by Level Zero's group: of one engine each, and of all of a kind together."""

    single: dict[str, str]
    all: dict[str, str]
    source: str


class RegionNames(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Patterns of memory regions in fdinfo: the GPU's own memory, the host's."""

    device: str
    system: str
    source: str


class ThrottleReasons(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What holds clocks down, as drivers name it: heat, limits of power and current, and what is no alarm."""

    heat: tuple[str, ...]
    power: tuple[str, ...]
    other: tuple[str, ...]
    source: str


class ContainerPattern(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Finds a container's id in a cgroup path, as group 1."""

    pattern: str
    source: str


class PidNamespace(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The inode of the host's PID namespace."""

    inode: int
    source: str


class DumpForms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Argument lists of `xpu-smi dump`, to be tried in order; "{device}" stands for the tool's index."""

    arguments: tuple[tuple[str, ...], ...]
    source: str


class ExporterSources(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """sources.toml."""

    schema: str
    date: str
    engines: EngineNames
    engine_groups: EngineGroups
    regions: RegionNames
    throttle: ThrottleReasons
    containers: ContainerPattern
    pid_namespace: PidNamespace
    xpu_smi_dump: DumpForms


class _MetricsFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    schema: str
    date: str
    source: str
    metric: tuple[ExporterMetric, ...]


@cache
def load_exporter_metrics() -> dict[str, ExporterMetric]:
    """All metrics by name, in the order of the file. Raises BadFactsError."""
    content = read_table("exporter", "metrics", _MetricsFile, "xpukit.exporter-metrics/1")
    return {metric.name: metric for metric in content.metric}


@cache
def load_exporter_sources() -> ExporterSources:
    """How drivers and tools name things. Raises BadFactsError."""
    sources = read_table("exporter", "sources", ExporterSources, "xpukit.exporter-sources/1")
    try:
        for pattern in (sources.regions.device, sources.regions.system, sources.containers.pattern):
            re.compile(pattern)
    except re.error as err:
        raise damaged("exporter/sources.toml", f"pattern {pattern!r}: {err}") from err
    return sources
