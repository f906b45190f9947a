"""Which parser of thinking and of tool calls a model needs (data/launch/parsers.toml)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import msgspec

from xpukit.facts.tables import read_table

_SCHEMA = "xpukit.launch-parsers/1"
# llm-scaler's engine is vLLM, and registers its parsers.
_SAME_AS = {"llm-scaler-vllm": "vllm"}


class ParserRow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Names of parsers to try in order, for models whose name has `model` in it."""

    model: str
    engine: str
    source: str
    reasoning: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()


class _Parsers(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    schema: str
    date: str
    parser: tuple[ParserRow, ...]


@cache
def load_parser_rows() -> tuple[ParserRow, ...]:
    """The rows. Raises BadFactsError."""
    return read_table("launch", "parsers", _Parsers, _SCHEMA).parser


def find_parsers(names: Sequence[str], engine: str) -> ParserRow | None:
    """The first row for a model known by any of these names (id, path, architecture)."""
    own = _SAME_AS.get(engine, engine)
    lowered = [name.lower() for name in names if name]
    for row in load_parser_rows():
        if row.engine == own and any(row.model in name for name in lowered):
            return row
    return None
