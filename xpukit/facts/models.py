"""Models we know: what llm-scaler lists of them, what they need, and their shape (data/models/*.json).

A shape is the part of a model's own config.json that sizes it, with the source it was read from; what no source gave is
named in `guessed`. `serve/model_config.py` reads it the way it reads a config.json on disk.
"""

from __future__ import annotations

from functools import cache
from pathlib import PurePosixPath
from typing import Any, Literal

import msgspec

from xpukit.facts.tables import damaged, read_json_table

SCHEMA = "xpukit.models/1"
CONFIGS_SCHEMA = "xpukit.model-configs/1"
ESTIMATES_SCHEMA = "xpukit.memory-estimates/1"
LOG_SCHEMA = "xpukit.engine-log/1"

Category = Literal[
    "language", "language-moe", "multimodal", "multimodal-moe", "omni", "audio", "embedding", "reranker", "unknown"
]
Task = Literal[
    "generate", "chat", "embed", "score", "rerank", "transcription", "ocr", "image", "video", "audio", "omni"
]
QuantizationName = Literal["fp16", "fp8", "sym_int4", "mxfp4"]
NeedKind = Literal[
    "chat_template",
    "dtype",
    "environment",
    "flag",
    "guide",
    "image",
    "known_bad",
    "lora",
    "package",
    "quantization",
    "request_format",
    "runner",
    "speculative",
    "tool_parser",
]


class Need(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something a model asks for. `required` False: an example's or an option's setting, not a condition."""

    kind: NeedKind
    value: str
    source: str
    required: bool = True


class ModelEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model of the registry.

    `quantizations`: what llm-scaler's table ticks; empty where it ticks nothing or does not list the model.
    `config`: the name of its shape; "" where no source gave one: then `guessed_billions` (from its name) is all.
    """

    id: str
    category: Category
    tasks: tuple[Task, ...]
    quantizations: tuple[QuantizationName, ...]
    source: str
    config: str = ""
    guessed_billions: float | None = None
    needs: tuple[Need, ...] = ()
    aliases: tuple[str, ...] = ()
    note: str = ""

    def list_needs(self, kind: NeedKind) -> tuple[Need, ...]:
        """The needs of one kind."""
        return tuple(need for need in self.needs if need.kind == kind)


class ConfigFacts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A shape: the sizing keys of a config.json. `guessed`: keys (or tables) that no source gave."""

    name: str
    source: str
    date: str
    config: dict[str, Any]
    note: str = ""
    guessed: tuple[str, ...] = ()


class Estimate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A coefficient of the memory plan that is no fact of a model. `kind`: estimate (reasoned) or guess."""

    name: str
    value: float
    unit: str
    kind: Literal["formula", "estimate", "guess"]
    source: str
    date: str


class LogPattern(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A line of an engine's start-up log. `regex` is searched in the line, prefixes and all.

    `engine`: "vllm" is llm-scaler's too.
    """

    name: str
    regex: str
    versions: str
    source: str
    engine: str = "vllm"


class _Models(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    schema: str
    date: str
    models: tuple[ModelEntry, ...]


class _Configs(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    schema: str
    date: str
    configs: tuple[ConfigFacts, ...]


class _Estimates(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    schema: str
    date: str
    estimates: tuple[Estimate, ...]


class _Log(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    schema: str
    date: str
    patterns: tuple[LogPattern, ...]


@cache
def list_models() -> tuple[ModelEntry, ...]:
    """All models, in the order of llm-scaler's table, then those of the other guides."""
    return read_json_table("models", "models", _Models, SCHEMA).models


@cache
def list_configs() -> tuple[ConfigFacts, ...]:
    """All shapes."""
    return read_json_table("models", "configs", _Configs, CONFIGS_SCHEMA).configs


def find_config(name: str) -> ConfigFacts | None:
    """A shape by its name."""
    return next((facts for facts in list_configs() if facts.name == name), None)


def find_model(name: str) -> ModelEntry | None:
    """A model by id or alias, or by the last part of a path or id, in either case.

    `/llm/models/DeepSeek-R1-Distill-Qwen-7B` and `deepseek-ai/DeepSeek-R1-Distill-Qwen-7B` are the same model.
    """
    wanted = name.strip().rstrip("/").lower()
    if not wanted:
        return None
    exact, by_last = _index()
    return exact.get(wanted) or by_last.get(PurePosixPath(wanted).name)


@cache
def _index() -> tuple[dict[str, ModelEntry], dict[str, ModelEntry]]:
    exact: dict[str, ModelEntry] = {}
    by_last: dict[str, ModelEntry] = {}
    for entry in list_models():
        for name in (entry.id, *entry.aliases):
            exact.setdefault(name.lower(), entry)
            by_last.setdefault(PurePosixPath(name.lower()).name, entry)
    return exact, by_last


@cache
def _estimates() -> dict[str, Estimate]:
    table = read_json_table("models", "memory_estimates", _Estimates, ESTIMATES_SCHEMA)
    return {estimate.name: estimate for estimate in table.estimates}


def list_estimates() -> tuple[Estimate, ...]:
    """All coefficients of the memory plan."""
    return tuple(_estimates().values())


def find_estimate(name: str) -> Estimate:
    """A coefficient of the memory plan. Raises BadFactsError when the data file does not hold it."""
    found = _estimates().get(name)
    if found is None:
        raise damaged("models/memory_estimates.json", f"no estimate {name!r}")
    return found


@cache
def list_log_patterns() -> tuple[LogPattern, ...]:
    """The lines of start-up logs that `serve --calibrate` reads."""
    return read_json_table("models", "engine_log", _Log, LOG_SCHEMA).patterns
