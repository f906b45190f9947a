"""What an engine does beyond argparse, and what replaces a flag it no longer has (data/engines/*.toml)."""

from __future__ import annotations

from functools import cache
from typing import Literal

import msgspec

from xpukit.facts.engine_versions import version_key
from xpukit.facts.tables import read_table

QuirkName = Literal["flexible", "model-option-refused", "deprecated-refused"]


class _Row(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    engines: tuple[str, ...]
    source: str
    since: str = ""
    until: str = ""

    def holds(self, engine: str, version: str) -> bool:
        """Whether the row is about this version of this engine."""
        if engine not in self.engines:
            return False
        key = version_key(version, engine=engine)
        first = version_key(self.since, engine=engine) if self.since else None
        last = version_key(self.until, engine=engine) if self.until else None
        if key is None:
            return not self.since and not self.until
        return (first is None or first <= key) and (last is None or key <= last)


class Entry(_Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a parser is started. `role`: serve, bench, proxy... `model_option`: --model is read before parsing."""

    words: tuple[str, ...]
    program: str
    role: str
    model_option: bool = False


class Quirk(_Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: QuirkName


class RegistryRule(_Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Values that the engine looks up after parsing; `key`: inside a JSON value."""

    dest: str
    registries: tuple[str, ...]
    key: str = ""
    unless: str = ""


class Combination(_Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Arguments that need or exclude each other."""

    program: str
    dest: str
    reason: str
    severity: Literal["error", "warning"]
    value: str = ""
    needs: str = ""
    needs_values: tuple[str, ...] = ()
    excludes: str = ""
    excludes_values: tuple[str, ...] = ()
    unless_value: str = ""


class Arithmetic(_Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Numbers that must fit: the product of `left` (flags; one the version lacks counts as 1) against `right`.

    Nothing is said where one of `unless` was given: the engine then has another rule.
    """

    program: str
    left: tuple[str, ...]
    relation: Literal["multiple-of", "at-most"]
    right: str
    reason: str
    unless: tuple[str, ...] = ()


class EnvironmentRule(_Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Variables of this prefix are the engine's own, listed in a registry."""

    prefix: str
    registry: str


class RuleFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    schema: str
    date: str
    entry: tuple[Entry, ...]
    quirk: tuple[Quirk, ...]
    registry: tuple[RegistryRule, ...]
    combination: tuple[Combination, ...]
    arithmetic: tuple[Arithmetic, ...]
    environment: tuple[EnvironmentRule, ...]


class Replacement(_Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to write instead. `takes`: values of the old flag (-1: as many as follow).

    `by_hand`: it needs a value that is not in the old words, so that it is said and never put in.
    """

    programs: tuple[str, ...]
    flag: str
    takes: int
    to: tuple[str, ...]
    reason: str
    values: tuple[str, ...] = ()
    by_hand: bool = False

    def write(self, values: tuple[str, ...]) -> tuple[str, ...]:
        """The new words for the old values."""
        return fill_words(self.to, values)


class ReplacementFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    schema: str
    date: str
    replacement: tuple[Replacement, ...]


class Intent(_Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How an engine is told something. `values`: only for these; `has`: only where these flags exist.

    `note`: how its meaning differs in this engine. `unless`: flags beside which the words mean something else.
    """

    name: str
    write: tuple[str, ...]
    values: tuple[str, ...] = ()
    has: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()
    role: str = "serve"
    note: str = ""


class IntentFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    schema: str
    date: str
    intent: tuple[Intent, ...]


@cache
def load_rules() -> RuleFile:
    """data/engines/rules.toml. Raises BadFactsError."""
    return read_table("engines", "rules", RuleFile, "xpukit.engine-rules/1")


@cache
def load_replacements() -> tuple[Replacement, ...]:
    """data/engines/replacements.toml. Raises BadFactsError."""
    return read_table("engines", "replacements", ReplacementFile, "xpukit.engine-replacements/1").replacement


@cache
def load_intents() -> tuple[Intent, ...]:
    """data/engines/intents.toml. Raises BadFactsError."""
    return read_table("engines", "intents", IntentFile, "xpukit.engine-intents/1").intent


def fill_words(form: tuple[str, ...], values: tuple[str, ...]) -> tuple[str, ...]:
    """The words of a row: `{values}` is all values, a word each; `{value}` the first, anywhere in a word."""
    words: list[str] = []
    for word in form:
        if word == "{values}":
            words.extend(values)
        else:
            words.append(word.replace("{value}", values[0] if values else ""))
    return tuple(words)


def find_entry(engine: str, program: str) -> Entry | None:
    """How we start a program of this engine, by its role or its whole name."""
    for entry in load_rules().entry:
        if engine in entry.engines and program in (entry.role, entry.program, " ".join(entry.words)):
            return entry
    return None


def has_quirk(name: QuirkName, engine: str, version: str) -> bool:
    """Whether this version does so."""
    return any(quirk.name == name and quirk.holds(engine, version) for quirk in load_rules().quirk)
