"""From what is meant ("max_model_len") to the words that this version of this engine has for it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec

from xpukit.facts.engine_rules import fill_words, find_entry, load_intents
from xpukit.facts.engines import EngineProgram, EngineSchema, Flag
from xpukit.serve.validate_checks import check_registries
from xpukit.serve.validate_parse import Word, parse_arguments

Value = str | int | float | bool | None | Sequence[Any] | dict[str, Any]


class Spelling(msgspec.Struct, frozen=True, kw_only=True):
    """The words to add (none: it is so already). `note`: how their meaning differs in this engine, else ""."""

    words: tuple[str, ...]
    source: str
    note: str = ""
    deprecated: bool = False


def write_values(value: Value) -> tuple[str, ...]:
    """A value as words; True and False as they stand in intents.toml."""
    if value is None:
        return ()
    if isinstance(value, bool):
        return ("true" if value else "false",)
    if isinstance(value, dict):
        return (json.dumps(value, separators=(",", ":")),)
    if isinstance(value, (list, tuple)):
        return tuple(word for item in value for word in write_values(item))
    return (str(value),)


def takes_words(words: Sequence[str], program: EngineProgram, schema: EngineSchema) -> tuple[bool, bool]:
    """(Accepted, deprecated): whether these words pass the parser and the registries as part of a command."""
    parsed = parse_arguments([Word(text=word, origin=-1) for word in words], program)
    faults = [refusal for refusal in parsed.refusals if refusal.fault != "missing"]
    whole = all(given.option in ("", given.typed) for given in parsed.given)
    accepted = whole and not faults and not parsed.extras and not check_registries(parsed, schema)
    return accepted, any(given.flag.deprecated for given in parsed.given)


def spell_intent(schema: EngineSchema, intent: str, value: Value, *, program: str) -> Spelling | None:
    """The first row of intents.toml that this version accepts, else the engine's own argument of that name."""
    entry = find_entry(schema.engine, program)
    known = schema.programs.get(entry.program if entry is not None else program)
    if known is None:
        return None
    role = entry.role if entry is not None else program
    values = write_values(True if value is None else value)
    fallback: Spelling | None = None
    mine = [row for row in load_intents() if row.name == intent and schema.engine in row.engines and row.role == role]
    for row in mine:
        if not row.holds(schema.engine, schema.version):
            continue
        if row.values and (len(values) != 1 or values[0] not in row.values):
            continue
        if not all(flag in known.options for flag in row.has):
            continue
        words = fill_words(row.write, values)
        accepted, deprecated = takes_words(words, known, schema)
        if accepted and not deprecated:
            return Spelling(words=words, source=row.source, note=row.note)
        if accepted and fallback is None:
            fallback = Spelling(words=words, source=row.source, note=row.note, deprecated=True)
    return fallback if mine else _spell_argument(intent, values, known, schema)


def _spell_argument(
    intent: str, values: tuple[str, ...], program: EngineProgram, schema: EngineSchema
) -> Spelling | None:
    for flag in program.flags:
        if flag.dest != intent and f"--{intent.replace('_', '-')}" not in flag.flags:
            continue
        words = _write_flag(flag, intent, values)
        if words is None:
            continue
        accepted, deprecated = takes_words(words, program, schema)
        if accepted:
            return Spelling(words=words, source=f"schemas: {flag.name}", deprecated=deprecated)
    return None


def _write_flag(flag: Flag, intent: str, values: tuple[str, ...]) -> tuple[str, ...] | None:
    if not flag.flags:
        return values
    wanted = f"--{intent.replace('_', '-')}"
    first = (
        wanted if wanted in flag.flags else next((word for word in flag.flags if word.startswith("--")), flag.flags[0])
    )
    if flag.nargs != 0:
        return (first, *values)
    if values == ("true",):
        return (first,)
    off = f"--no-{first[2:]}"
    if values == ("false",):
        return (off,) if off in flag.flags else () if flag.default in (None, False) else None
    return None
