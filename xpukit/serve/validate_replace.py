"""What to write instead: rows of the replacement table that the version at hand accepts, and names that look alike."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from xpukit.facts.engine_history import find_same_argument, takes_value
from xpukit.facts.engine_rules import Replacement, load_replacements
from xpukit.facts.engines import EngineProgram, EngineSchema, Flag
from xpukit.serve.validate_parse import Word, parse_arguments


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """The words to write, how many old values they stand for, and why.

    `by_hand`: something in them has to be filled in first, so that nobody but the user can put them in.
    """

    words: tuple[str, ...]
    taken: int
    reason: str
    source: str
    by_hand: bool = False

    @property
    def ready(self) -> tuple[str, ...]:
        """The words where they can be put in as they are."""
        return () if self.by_hand else self.words

    @property
    def removable(self) -> bool:
        """Whether the old words can go and nothing takes their place."""
        return not self.words


def find_replacement(flag: str, values: Sequence[str], program: str, schema: EngineSchema) -> Found | None:
    """The first row that fits the flag and its value and whose new words this version accepts.

    Without a row: another spelling of the same argument, where the schemas of all versions show that it is the same.
    """
    known = schema.programs.get(program)
    if known is None:
        return None
    for row in load_replacements():
        if row.flag != flag or program not in row.programs or not row.holds(schema.engine, schema.version):
            continue
        old = tuple(values) if row.takes < 0 else tuple(values[: row.takes])
        if row.values and (not old or old[0] not in row.values):
            continue
        if row.takes > 0 and len(old) < row.takes:
            continue
        words = row.write(old)
        if row.by_hand and words[0] in known.options:
            return Found(words=words, taken=len(old), reason=row.reason, source=row.source, by_hand=True)
        if not _is_same_again(words, row) and accepts_words(known, words):
            return Found(words=words, taken=len(old), reason=row.reason, source=row.source)
    return _find_renamed(flag, values, known, schema)


def _is_same_again(words: tuple[str, ...], row: Replacement) -> bool:
    # A flag may be its own replacement with another value, never with the same.
    return len(words) > 1 and words[0] == row.flag and words[1] in row.values


def accepts_words(program: EngineProgram, words: tuple[str, ...]) -> bool:
    """Whether the parser takes these words, spelt out and not deprecated; what else a command needs does not count."""
    parsed = parse_arguments([Word(text=word, origin=-1) for word in words], program)
    faults = [refusal for refusal in parsed.refusals if refusal.fault != "missing"]
    whole = all(given.option in words for given in parsed.given if given.option)
    return not faults and not parsed.extras and whole and not any(given.flag.deprecated for given in parsed.given)


def _find_renamed(flag: str, values: Sequence[str], program: EngineProgram, schema: EngineSchema) -> Found | None:
    if flag in program.options and not program.options[flag].deprecated:
        return None
    dests, spellings = find_same_argument(schema.engine, program.name, flag)
    same = [program.options[other] for other in spellings if other in program.options]
    # A deprecated spelling is stored under the new name before it goes.
    same += [known for known in program.flags if known.flags and known.dest in dests]
    takes = takes_value(schema.engine, program.name, flag)
    for known in same:
        word = _choose_spelling(known, flag)
        if known.deprecated or (known.nargs != 0) != takes or not word:
            continue
        taken = tuple(values) if takes and known.nargs in ("+", "*") else tuple(values[: int(takes)])
        if (taken or not takes) and accepts_words(program, (word, *taken)):
            return Found(
                words=(word, *taken),
                taken=len(taken),
                reason="the same argument under another name",
                source=f"schemas: {flag} and {word} are stored as {known.dest}",
            )
    return None


def _choose_spelling(known: Flag, flag: str) -> str:
    """The spelling with the same sense as `flag`: a switch is not turned round."""
    if known.nargs == 0 and _is_off(flag) != _is_off(known.flags[0]):
        return next((word for word in known.flags if word.startswith("--") and _is_off(word) == _is_off(flag)), "")
    return next((word for word in known.flags if word.startswith("--")), known.flags[0])


def _is_off(word: str) -> bool:
    return word.startswith(("--no-", "--disable-"))


def find_nearest(name: str, known: Sequence[str], *, most: int = 3) -> tuple[str, ...]:
    """Known names that look like this one, best first."""
    from difflib import get_close_matches

    return tuple(get_close_matches(name[:80], known, n=most, cutoff=0.75))
