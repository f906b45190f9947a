"""What the readiness gate asks, by what limits it judges, and how a start is read (data/readiness/*.toml)."""

from __future__ import annotations

import re
from functools import cache

import msgspec

from xpukit.core.errors import UsageError
from xpukit.facts.models import list_log_patterns
from xpukit.facts.tables import read_table


class Level(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How deep the gate goes. `long_tokens`: the longest prompt, 0 for all that the endpoint allows."""

    name: str
    sums: int
    concurrent: int
    long_tokens: int
    prose_tokens: int
    why: str


class Limit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A number with its unit and what it rests on."""

    name: str
    value: float
    unit: str
    why: str


class RerankPrompt(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A query and documents, of which the one with index `best` answers it."""

    query: str
    documents: tuple[str, ...]
    best: int
    why: str


class Prompts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is asked. `*_begun` are for models that only go on with a text. Two of the texts to embed are the same."""

    schema: str
    date: str
    sum: str
    sum_shots: str
    sum_begun: str
    prose: str
    prose_begun: str
    needle: str
    needle_question: str
    needle_begun: str
    filler: tuple[str, ...]
    embedding_texts: tuple[str, ...]
    rerank: RerankPrompt


class StartLine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A line of a start-up log that tells of progress. One of `regex` and `log` (a name of engine_log.json)."""

    name: str
    text: str
    source: str
    regex: str = ""
    log: str = ""


class SuggestionLine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A line that proposes a value for a flag of the engine; `option` is the same in `xpukit serve`."""

    flag: str
    option: str
    group: str
    why: str
    source: str
    regex: str = ""
    log: str = ""


class StatedLength(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A refusal that says the longest request, as group `tokens`."""

    regex: str
    source: str


class Refusal(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Words of a refusal that only says what a model is not made for."""

    text: str
    source: str


class _LimitFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    schema: str
    date: str
    level: tuple[Level, ...]
    limit: tuple[Limit, ...]


class StartFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """start.toml."""

    schema: str
    date: str
    progress: tuple[StartLine, ...]
    suggestion: tuple[SuggestionLine, ...]
    refusal: tuple[Refusal, ...]
    stated_length: tuple[StatedLength, ...]


@cache
def _limits() -> _LimitFile:
    return read_table("readiness", "limits", _LimitFile, "xpukit.readiness-limits/1")


@cache
def _numbers() -> dict[str, float]:
    return {limit.name: limit.value for limit in _limits().limit}


def list_limits() -> tuple[Limit, ...]:
    """All limits. Raises BadFactsError."""
    return _limits().limit


def find_limit(name: str) -> float:
    """A limit's value in the unit that the data file gives it."""
    return _numbers()[name]


def find_level(name: str) -> Level:
    """quick, normal or long. Raises UsageError."""
    for level in _limits().level:
        if level.name == name:
            return level
    raise UsageError(f"no level {name!r}", hint=", ".join(level.name for level in _limits().level))


@cache
def load_prompts() -> Prompts:
    """What is asked. Raises BadFactsError."""
    return read_table("readiness", "prompts", Prompts, "xpukit.readiness-prompts/1")


@cache
def load_start() -> StartFile:
    """How a start is read. Raises BadFactsError."""
    return read_table("readiness", "start", StartFile, "xpukit.readiness-start/1")


def list_patterns(line: StartLine | SuggestionLine) -> tuple[re.Pattern[str], ...]:
    """The regular expressions of a line: its own, or vLLM's that engine_log.json has under its name.

    Other engines' lines there have other groups than the line's text; they are rows with a regex of their own here.
    """
    if line.regex:
        return (re.compile(line.regex),)
    return tuple(re.compile(row.regex) for row in list_log_patterns() if row.name == line.log and row.engine == "vllm")


def read_stated_length(text: str) -> int | None:
    """The longest request that a refusal names, None where it names none."""
    for line in load_start().stated_length:
        match = re.search(line.regex, text)
        if match is not None:
            return int(match["tokens"])
    return None
