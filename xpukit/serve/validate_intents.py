"""The other way round than spelling: what words of an engine's command line mean, by the rows of intents.toml."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from xpukit.facts.engine_rules import Entry, Intent, fill_words, load_intents
from xpukit.facts.engines import EngineProgram, EngineSchema, Flag
from xpukit.serve.validate_command import Command, rewrite_words
from xpukit.serve.validate_parse import Given, Parsed, Word, parse_arguments
from xpukit.serve.validate_spell import spell_intent
from xpukit.serve.validate_types import convert_value

_HOLE = "{value}"
_TRUE, _FALSE = ("true",), ("false",)
_NO = "--no-"


class Meant(msgspec.Struct, frozen=True, kw_only=True):
    """What some words mean: `values` as they would be given to `spell`; `given`: the arguments that say it.

    `unless`: a flag beside them with which they mean something else; nothing should then be made of `values`.
    """

    intent: str
    values: tuple[str, ...]
    given: tuple[Given, ...]
    unless: str = ""


def parse_words(words: Sequence[str], entry: Entry, program: EngineProgram, schema: EngineSchema) -> Parsed:
    """Words of a command line as this version reads them, its own rewriting included. Never raises."""
    command = Command(
        entry=entry, start=0, words=tuple(Word(text=text, origin=at) for at, text in enumerate(words)), env={}
    )
    return parse_arguments(rewrite_words(command, program, schema).words, program)


def read_intents(parsed: Parsed, names: Iterable[str], entry: Entry, schema: EngineSchema) -> tuple[Meant, ...]:
    """Which of these intents the arguments say; only those that this version would spell the same again.

    A name without rows is the engine's own argument of that name.
    """
    program = schema.programs[entry.program]
    last = {given.flag.dest: given for given in parsed.given}
    found: list[Meant] = []
    for name in names:
        rows = [row for row in load_intents() if row.name == name and schema.engine in row.engines]
        rows = [row for row in rows if row.role == entry.role and row.holds(schema.engine, schema.version)]
        tried = (_match(row, last, program) for row in rows) if rows else (_find_argument(name, last),)
        meant = next((one for one in tried if one is not None and _says(one, entry, schema)), None)
        if meant is not None:
            found.append(meant)
    return tuple(found)


def find_unless(parsed: Parsed, intent: str, entry: Entry, schema: EngineSchema) -> str:
    """A flag among the arguments with which the words of an intent mean something else, "" for none."""
    options = schema.programs[entry.program].options
    given = {one.flag.dest for one in parsed.given}
    for row in load_intents():
        if row.name == intent and row.role == entry.role and row.holds(schema.engine, schema.version):
            for flag in row.unless:
                if flag in options and options[flag].dest in given:
                    return flag
    return ""


def says_same(given: Sequence[Given], intent: str, values: Sequence[str], entry: Entry, schema: EngineSchema) -> bool:
    """Whether this version spells the intent with these values by the same arguments."""
    spelled = spell_intent(schema, intent, tuple(values), program=entry.role)
    if spelled is None:
        return False
    program = schema.programs[entry.program]
    again = parse_arguments([Word(text=word, origin=-1) for word in spelled.words], program).given
    if not again:
        # It is so without a word: what says no says the same.
        return tuple(values) == _FALSE and all(_is_off(one) for one in given)
    mine = {one.flag.dest: one for one in given}
    return len(mine) == len(again) and all(
        one.flag.dest in mine and _is_same(mine[one.flag.dest], one) for one in again
    )


def _says(one: Meant, entry: Entry, schema: EngineSchema) -> bool:
    return says_same(one.given, one.intent, one.values, entry, schema)


def _find_argument(name: str, last: Mapping[str, Given]) -> Meant | None:
    given = last.get(name)
    if given is None:
        return None
    values = given.values or (_FALSE if _is_off(given) else _TRUE)
    return Meant(intent=name, values=values, given=(given,))


def _match(row: Intent, last: Mapping[str, Given], program: EngineProgram) -> Meant | None:
    """The row read backwards; None where the words are not (all) there."""
    pattern = parse_arguments([Word(text=word, origin=-1) for word in fill_words(row.write, (_HOLE,))], program)
    if not pattern.given or pattern.extras:
        return None
    values: tuple[str, ...] = row.values[:1] or _TRUE
    used: list[Given] = []
    for wanted in pattern.given:
        given = last.get(wanted.flag.dest)
        if given is None:
            return None
        if wanted.values == (_HOLE,):
            if row.values and given.values not in [(value,) for value in row.values]:
                return None
            values = given.values
        elif not wanted.values and _is_off(given) != _is_off(wanted):
            if len(pattern.given) > 1 or (row.values and row.values != _TRUE):
                return None
            values = _FALSE
        elif not _is_same(given, wanted):
            return None
        used.append(given)
    unless = next((flag for flag in row.unless if flag in program.options and program.options[flag].dest in last), "")
    return Meant(intent=row.name, values=values, given=tuple(used), unless=unless)


def _is_off(given: Given) -> bool:
    """Whether the spelling was used that turns a switch off."""
    two_sided = given.flag.nargs == 0 and any(not option.startswith(_NO) for option in given.flag.flags)
    return two_sided and given.option.startswith(_NO)


def _is_same(one: Given, other: Given) -> bool:
    return _is_off(one) == _is_off(other) and _convert(one.flag, one.values) == _convert(other.flag, other.values)


def _convert(flag: Flag, values: tuple[str, ...]) -> list[object]:
    converted: list[object] = []
    for value in values:
        try:
            converted.append(convert_value(flag.type, value))
        except (ValueError, OverflowError):
            converted.append(value)
    return converted
