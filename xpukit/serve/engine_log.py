"""What an engine's start-up log says about memory (lines per version in data/models/engine_log.json)."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import msgspec

from xpukit.facts.models import LogPattern, list_log_patterns
from xpukit.serve.logged_arguments import read_arguments

# Characters. A longer line is a dump, not a message; SGLang writes all its arguments (some 500) into one.
_LINE_LIMIT = 4000
_ARGUMENTS_LIMIT = 1 << 16
_MIB = 1 << 20
_GIB = 1 << 30
# `[2025-11-20 10:00:00 DP0 TP1] ...`: the rank that writes.
_RANK = re.compile(r"\[\d{4}-\d\d-\d\d [\d:,.]+((?: [A-Z]+\d+)*)\]")
_FAILURES = ("no_blocks", "no_auto_fit", "engine_failed", "needed", "too_little_free", "no_memory")


class EngineLog(msgspec.Struct, frozen=True, kw_only=True):
    """What was found; None where the log does not say. Of several ranks: the most weights, the least cache.

    `engine`: whose lines they are, "" where there are none; "vllm" is llm-scaler's too. `needed_*`: of the refusal (`To
    serve at least one request …`). `free_gib` and `wanted_gib`: of the refusal to start on a device that others use.
    `arguments`: the engine's arguments (vLLM: those that are not the default).
    """

    engine: str = ""
    version: str = ""
    model_gib: float | None = None
    weights_seconds: float | None = None
    kv_gib: float | None = None
    kv_tokens: int | None = None
    concurrency: float | None = None
    concurrency_length: int | None = None
    graph_gib: float | None = None
    graph_estimate_gib: float | None = None
    peak_gib: float | None = None
    non_torch_gib: float | None = None
    needed_length: int | None = None
    needed_gib: float | None = None
    needed_available_gib: float | None = None
    estimated_length: int | None = None
    max_model_len: int | None = None
    attention_block: int | None = None
    free_gib: float | None = None
    total_gib: float | None = None
    wanted_gib: float | None = None
    failures: tuple[str, ...] = ()
    arguments: dict[str, Any] = {}
    lines: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether no line about memory was found."""
        return not self.lines

    @property
    def cache_gib(self) -> float | None:
        """The KV cache's bytes: as said when it was made, or when a request was refused."""
        return self.kv_gib if self.kv_gib is not None else self.needed_available_gib


@cache
def _patterns() -> tuple[tuple[LogPattern, re.Pattern[str]], ...]:
    return tuple((row, re.compile(row.regex)) for row in list_log_patterns())


def read_engine_log(text: str) -> EngineLog:
    """Read a start-up log of vLLM, llm-scaler's vLLM, SGLang or LMDeploy; never raises."""
    found: dict[str, Any] = {}
    failures: list[str] = []
    lines: list[str] = []
    engines: list[str] = []
    pools: dict[str, float] = {}
    blocks: list[tuple[int, int]] = []
    for whole in text.splitlines():
        line = whole[:_LINE_LIMIT]
        matched = False
        for row, pattern in _patterns():
            match = pattern.search(whole[:_ARGUMENTS_LIMIT] if row.name == "arguments" else line)
            if match is None:
                continue
            matched = True
            engines.append(row.engine)
            if row.name == "pool":
                rank = _RANK.search(line)
                key = rank[1] if rank else ""
                pools[key] = pools.get(key, 0.0) + sum(_float(size) or 0.0 for size in match.groups())
            elif row.name == "blocks":
                size = match.groupdict().get("size")
                blocks.append((_integer(match["blocks"]) or 0, _integer(size) or 0))
            else:
                _note(found, failures, row.name, match, line)
        if matched:
            lines.append(line.strip())
    _note_cache(found, pools, blocks)
    engine = max(engines, key=engines.count) if engines else ""
    return EngineLog(engine=engine, failures=tuple(dict.fromkeys(failures)), lines=tuple(lines), **found)


def _note_cache(found: dict[str, Any], pools: dict[str, float], blocks: list[tuple[int, int]]) -> None:
    """A rank's cache is all its pools; blocks (count, tokens each) are tokens, their size else from the arguments."""
    if pools:
        _keep(found, "kv_gib", min(pools.values()), min)
    said = found.get("arguments", {}).get("cache_block_seq_len")
    usual = said if type(said) is int and said > 0 else 0
    for count, size in blocks:
        if count and (size or usual):
            _keep(found, "kv_tokens", count * (size or usual), min)


def _note(found: dict[str, Any], failures: list[str], name: str, match: re.Match[str], line: str) -> None:
    group = match.groupdict()
    if name in _FAILURES:
        failures.append(line.strip())
    if name == "model_gib":
        _keep(found, "model_gib", _float(group["gib"]), max)
    elif name == "weights_seconds":
        _keep(found, "weights_seconds", _float(group["seconds"]), max)
    elif name == "kv_gib":
        _keep(found, "kv_gib", _float(group["gib"]), min)
    elif name == "kv_tokens":
        _keep(found, "kv_tokens", _integer(group["tokens"]), min)
    elif name == "concurrency":
        found["concurrency_length"] = _integer(group["tokens"])
        _keep(found, "concurrency", _float(group["times"]), min)
    elif name in ("graph_gib", "graph_estimate_gib"):
        _keep(found, name, _float(group["gib"]), max)
    elif name == "profile_mb":
        _keep(found, "model_gib", _gib(group["model"]), max)
        _keep(found, "total_gib", _gib(group["total"]), min)
    elif name == "peak_mb":
        _keep(found, "peak_gib", _gib(group["peak"]), max)
        _keep(found, "non_torch_gib", _gib(group["other"]), max)
    elif name in ("max_model_len", "auto_fit"):
        found["max_model_len"] = _integer(group["tokens"])
    elif name == "needed":
        found["needed_length"] = _integer(group["tokens"])
        found["needed_gib"] = _float(group["gib"])
        _keep(found, "needed_available_gib", _float(group["available"]), min)
    elif name == "estimated_length":
        _keep(found, "estimated_length", _integer(group["tokens"]), min)
    elif name == "too_little_free":
        found["free_gib"], found["total_gib"] = _float(group["free"]), _float(group["total"])
        found["wanted_gib"] = _float(group["wanted"])
    elif name == "attention_block":
        found["attention_block"] = _integer(group["tokens"])
    elif name == "version":
        found.setdefault("version", group["version"])
    elif name == "arguments":
        found.setdefault("arguments", read_arguments(group["arguments"]))


def _keep(found: dict[str, Any], name: str, value: Any, choose: Any) -> None:
    if value is not None:
        found[name] = choose(found[name], value) if found.get(name) is not None else value


def _float(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None


def _integer(text: str | None) -> int | None:
    try:
        return int(text.replace(",", "")) if text and len(text) < 20 else None
    except ValueError:
        return None


def _gib(text: str | None) -> float | None:
    value = _float(text)
    return value * _MIB / _GIB if value is not None else None
