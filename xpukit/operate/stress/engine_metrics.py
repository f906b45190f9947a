"""What an engine's /metrics page says, under names that no engine's version changes."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from xpukit.facts.exporter_engines import load_engine_meanings
from xpukit.operate.ready.endpoint import Ask

_LINE = re.compile(r"^([A-Za-z_:][\w:]*)(?:\{.*\})?\s+([^\s]+)(?:\s+\S+)?$")
_MOST_LINES = 200_000
# Our name: the meaning in facts/data/exporter/engine_metrics.toml, and how several engines' values are joined.
_MEANINGS: dict[str, tuple[str, Callable[[list[float]], float]]] = {
    "kv_usage": ("engine:kv_cache_usage:ratio", max),
    "running": ("engine:requests_running:sum", sum),
    "waiting": ("engine:requests_waiting:sum", sum),
    "preemptions_total": ("engine:preemptions:total", sum),
    "generation_tokens_total": ("engine:generation_tokens:total", sum),
}
# prometheus_client writes these of the process that serves the page.
_PROCESS = {"engine_rss_bytes": "process_resident_memory_bytes", "start_time_s": "process_start_time_seconds"}


def parse_metrics(text: str) -> dict[str, list[float]]:
    """Finite values by metric name, labels left aside. Never raises; lines that are none of the format are skipped."""
    found: dict[str, list[float]] = {}
    for line in text.splitlines()[:_MOST_LINES]:
        match = _LINE.match(line) if line[:1] != "#" else None
        if match is None:
            continue
        try:
            value = float(match[2])
        except ValueError:
            continue
        if math.isfinite(value):
            found.setdefault(match[1], []).append(value)
    return found


def read_engine(ask: Ask, *, timeout_s: float) -> dict[str, float]:
    """The readings by our names; what the engine does not say is not there."""
    reply = ask("GET", "/metrics", timeout_s=timeout_s)
    if reply.status != 200 or reply.trouble:
        return {}
    values = parse_metrics(reply.body.decode("utf-8", errors="replace"))
    readings: dict[str, float] = {}
    meanings = {one.record: one for one in load_engine_meanings()}
    for name, (record, join) in _MEANINGS.items():
        said = next((values[one.name] for one in meanings[record].names if one.name in values), None)
        if said is not None:
            readings[name] = join(said)
    for name, metric in _PROCESS.items():
        if metric in values:
            readings[name] = max(values[metric])
    return readings
