"""The engine's flags of one launch, each with its reason, in the spelling of the version at hand."""

from __future__ import annotations

from collections.abc import Sequence

from xpukit.core.errors import UsageError
from xpukit.facts.engine_rules import find_entry
from xpukit.facts.engines import EngineProgram, EngineSchema
from xpukit.serve.extras_ranks import COPIES
from xpukit.serve.plan_types import Flag, Origin
from xpukit.serve.request_words import FIELDS
from xpukit.serve.validate_intents import parse_words
from xpukit.serve.validate_parse import Parsed, Word, parse_arguments
from xpukit.serve.validate_spell import Value, spell_intent

# What the plan's GPUs and memory rest on, and the option that it is asked for by.
_PLANNED_BY = {field.intent: field.option for field in FIELDS if field.intent}


class WordBuilder:
    """Collects flags. What the user gave himself (`extras`) is never added a second time."""

    def __init__(self, schema: EngineSchema, *, program: str = "serve", extras: Sequence[str] = ()) -> None:
        entry = find_entry(schema.engine, program)
        known = schema.programs.get(entry.program) if entry is not None else None
        if entry is None or known is None:
            raise UsageError(
                f"{schema.engine} {schema.version} has no program for {program!r}",
                hint="another version of the engine has (xpukit serve --engine NAME:VERSION)",
            )
        self.schema = schema
        self.role = program
        self.words = entry.words
        self.program: EngineProgram = known
        self.flags: list[Flag] = []
        self.notes: list[str] = []
        self._mine = _name_dests(parse_words(extras, entry, known, schema)) if extras else frozenset()

    def add(
        self, intent: str, value: Value, why: str, *, kind: Origin = "rule", source: str = "", needed: bool = True
    ) -> bool:
        """Add what is meant. False where it is so already, was given by the user, or this version cannot say it.

        `needed`: the last of these is worth a note.
        """
        spelled = spell_intent(self.schema, intent, value, program=self.role)
        if spelled is None:
            if needed:
                self.notes.append(
                    f"{self.schema.engine} {self.schema.version} has no flag for {intent.replace('_', ' ')}"
                )
            return False
        if not spelled.words:
            return False
        if _list_dests(spelled.words, self.program) & self._mine:
            if intent == "data_parallel" and not self._mine.isdisjoint(COPIES):
                return False  # of all copies those here are planned; what was read of the extras says so
            note = f"{' '.join(spelled.words)} was left out: given after --"
            if self.role == "serve" and (option := _PLANNED_BY.get(intent)):
                note += f"; GPUs and memory are planned for the one left out: {option} plans for another"
            self.notes.append(note)
            return False
        self._drop(spelled.words)
        why = f"{why}; {spelled.note}" if spelled.note else why
        self.flags.append(Flag(words=spelled.words, why=why, kind=kind, source=source, intent=intent))
        return True

    def add_words(self, words: Sequence[str], why: str, *, kind: Origin = "rule", source: str = "") -> None:
        """Add words as they are (a model's own flag), unless the user gave the same argument."""
        if _list_dests(words, self.program) & self._mine:
            return
        self._drop(words)
        self.flags.append(Flag(words=tuple(words), why=why, kind=kind, source=source))

    def add_extras(self, extras: Sequence[str], taken: Sequence[Sequence[str]] = ()) -> tuple[str, ...]:
        """Add what the user gave after --, as it is.

        `taken`: words that the plan was made for; those that no flag of ours says are added too, and returned.
        """
        said = frozenset(dest for flag in self.flags for dest in _list_dests(flag.words, self.program))
        entry = find_entry(self.schema.engine, self.role)
        kept: list[str] = []
        for words in taken:
            if entry is not None and not _name_dests(parse_words(words, entry, self.program, self.schema)) & said:
                kept += words
        if kept:
            self.flags.append(Flag(words=tuple(kept), why="given after --; planned so", kind="asked"))
        if extras:
            self.flags.append(Flag(words=tuple(extras), why="given after --", kind="asked"))
        return tuple(kept)

    def _drop(self, words: Sequence[str]) -> None:
        """Of two flags for one argument the later stands."""
        dests = _list_dests(words, self.program)
        self.flags = [flag for flag in self.flags if not _list_dests(flag.words, self.program) & dests]


def _list_dests(words: Sequence[str], program: EngineProgram) -> frozenset[str]:
    """The arguments that words set, by the parser's own names."""
    if not words:
        return frozenset()
    return _name_dests(parse_arguments([Word(text=word, origin=-1) for word in words], program))


def _name_dests(parsed: Parsed) -> frozenset[str]:
    return frozenset(given.flag.dest or given.flag.name for given in parsed.given)
