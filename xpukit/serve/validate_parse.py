"""argparse's rules, on an engine's schema: which argument takes which words, without stopping at the first mistake.

Rules after CPython's argparse (3.10 to 3.12): a word is an option when it starts with a dash and is known, a unique
prefix of a known one, or looks like none of a negative number or a sentence; words after an option are its values as
far as `nargs` allows, the others are positional.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

import msgspec

from xpukit.facts.engines import EngineProgram, Flag
from xpukit.serve.validate_types import convert_value

_NEGATIVE_NUMBER = re.compile(r"-\d+|-\d*\.\d+")
_HELP = Flag(
    flags=("-h", "--help"),
    dest="help",
    action="HelpAction",
    type="",
    nargs=0,
    choices=None,
    default=None,
    required=False,
    deprecated=False,
)

Fault = Literal["ambiguous", "choice", "type", "argument-count", "missing"]


class Word(msgspec.Struct, frozen=True, kw_only=True):
    """A word as the parser gets it, and the place in the user's argv it came from."""

    text: str
    origin: int


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """An argument that was recognised: as it was typed, and the values it took."""

    typed: str
    flag: Flag
    values: tuple[str, ...]
    origin: int
    option: str = ""

    @property
    def abbreviated(self) -> bool:
        """Whether a prefix was typed for the whole name."""
        return bool(self.option) and self.option != self.typed


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """What argparse would end with, were it the first."""

    fault: Fault
    argument: str
    detail: str
    value: str = ""
    candidates: tuple[str, ...] = ()
    origin: int = -1


class Parsed(msgspec.Struct, frozen=True, kw_only=True):
    """Everything read. `extras` are the words no argument took, in order: what argparse calls unrecognised."""

    given: tuple[Given, ...]
    refusals: tuple[Refusal, ...]
    extras: tuple[Word, ...]

    def find(self, dest: str) -> Given | None:
        """The last use of an argument: the one that counts."""
        for given in reversed(self.given):
            if given.flag.dest == dest:
                return given
        return None


class _Option(msgspec.Struct, frozen=True):
    """A word read as an option: `flag` None when nothing is called so."""

    option: str
    flag: Flag | None
    explicit: str | None


class _Ambiguous(Exception):
    def __init__(self, candidates: tuple[str, ...]) -> None:
        super().__init__()
        self.candidates = candidates


def match_option(text: str, program: EngineProgram) -> tuple[str, ...]:
    """The spellings a word stands for: one when it is known or a unique prefix, several when ambiguous, else none."""
    name = text.partition("=")[0]
    options = all_options(program)
    if text in options or name in options:
        return (text if text in options else name,)
    return tuple(option for option, _ in _prefix_matches(text, options, program.allow_abbrev))


def all_options(program: EngineProgram) -> dict[str, Flag]:
    """Every spelling, argparse's own --help among them."""
    return {**program.options, "-h": _HELP, "--help": _HELP}


def parse_arguments(words: Sequence[Word], program: EngineProgram) -> Parsed:
    """Give each word to the argument that argparse gives it to. Never raises."""
    return _Reader(words, program).read()


def _prefix_matches(text: str, options: dict[str, Flag], allow_abbrev: bool) -> list[tuple[str, str | None]]:
    if text.startswith("--"):
        if not allow_abbrev:
            return []
        prefix, equals, explicit = text.partition("=")
        return [(option, explicit if equals else None) for option in options if option.startswith(prefix)]
    found: list[tuple[str, str | None]] = []
    for option in options:
        if option == text[:2]:
            found.append((option, text[2:]))
        elif option.startswith(text):
            found.append((option, None))
    return found


class _Reader:
    def __init__(self, words: Sequence[Word], program: EngineProgram) -> None:
        self.program = program
        self.options = all_options(program)
        self.given: list[Given] = []
        self.refusals: list[Refusal] = []
        self.extras: list[Word] = []
        self.words = list(words)
        self.waiting = list(program.positionals)
        self.kinds: list[_Option | None] = []
        after_dashes = False
        for place, word in enumerate(self.words):
            if word.text == "--" and not after_dashes:
                after_dashes = True
                self.words[place] = msgspec.structs.replace(word, text="")
                self.kinds.append(None)
                self.dashes = place
                continue
            self.kinds.append(None if after_dashes else self._classify(word))
        if not after_dashes:
            self.dashes = -1

    def _classify(self, word: Word) -> _Option | None:
        text = word.text
        if not text.startswith("-") or len(text) == 1:
            return None
        if text in self.options:
            return _Option(text, self.options[text], None)
        name, equals, explicit = text.partition("=")
        if equals and name in self.options:
            return _Option(name, self.options[name], explicit)
        matches = _prefix_matches(text, self.options, self.program.allow_abbrev)
        if len(matches) == 1:
            option, given = matches[0]
            return _Option(option, self.options[option], given)
        if matches:
            candidates = tuple(option for option, _ in matches)
            self.refusals.append(
                Refusal(
                    fault="ambiguous",
                    argument=name,
                    detail=f"could be {', '.join(candidates)}",
                    candidates=candidates,
                    origin=word.origin,
                )
            )
            # Read on as if it were a flag with a value: one mistake is reported once.
            return _Option(name, _ANY, explicit if equals else None)
        if _NEGATIVE_NUMBER.fullmatch(text) or " " in text:
            return None
        return _Option(text, None, None)

    def read(self) -> Parsed:
        place = 0
        while place < len(self.words):
            kind = self.kinds[place]
            place = self._read_words(place) if kind is None else self._read_option(place, kind)
        seen = {given.flag.dest for given in self.given}
        missing = [
            flag
            for flag in self.program.flags
            if flag.dest not in seen and (flag.required if flag.flags else flag.nargs not in ("?", "*"))
        ]
        for flag in missing:
            self.refusals.append(Refusal(fault="missing", argument=flag.name, detail="is required"))
        return Parsed(given=tuple(self.given), refusals=tuple(self.refusals), extras=tuple(self.extras))

    def _read_words(self, place: int) -> int:
        """Positional words up to the next option."""
        end = place
        while end < len(self.words) and self.kinds[end] is None:
            end += 1
        run = [word for at, word in enumerate(self.words[place:end], place) if at != self.dashes]
        while run and self.waiting:
            flag = self.waiting.pop(0)
            count = {"*": len(run), "+": len(run)}.get(str(flag.nargs), flag.nargs if type(flag.nargs) is int else 1)
            taken, run = run[:count], run[count:]
            self._take(flag.dest, "", flag, taken, taken[0].origin if taken else -1)
        self.extras.extend(run)
        return end

    def _read_option(self, place: int, read: _Option) -> int:
        word, flag = self.words[place], read.flag
        if flag is None:
            self.extras.append(word)
            return place + 1
        typed = word.text.partition("=")[0] if read.option not in (word.text, word.text[:2]) else read.option
        if read.explicit is not None:
            if flag.nargs == 0:
                self._refuse_count(typed, f"takes no value, but got {read.explicit!r}", word)
            elif type(flag.nargs) is int and flag.nargs > 1:
                self._refuse_count(typed, f"expected {flag.nargs} arguments", word)
            else:
                self._take(typed, read.option, flag, [Word(text=read.explicit, origin=word.origin)], word.origin)
            return place + 1
        end = place + 1
        most = _MOST.get(flag.nargs, len(self.words)) if type(flag.nargs) is not int else flag.nargs
        while end < len(self.words) and self.kinds[end] is None and end != self.dashes and end - place - 1 < most:
            end += 1
        count = end - place - 1
        if flag.nargs in (None, "+") and count == 0:
            self._refuse_count(typed, f"expected {'one argument' if flag.nargs is None else 'a value or more'}", word)
        elif type(flag.nargs) is int and count < flag.nargs:
            self._refuse_count(typed, f"expected {flag.nargs} arguments", word)
        else:
            self._take(typed, read.option, flag, self.words[place + 1 : end], word.origin)
        return end

    def _refuse_count(self, typed: str, detail: str, word: Word) -> None:
        self.refusals.append(Refusal(fault="argument-count", argument=typed, detail=detail, origin=word.origin))

    def _take(self, typed: str, option: str, flag: Flag, words: Sequence[Word], origin: int) -> None:
        if flag is _ANY:
            return
        values = tuple(word.text for word in words)
        self.given.append(Given(typed=typed, option=option, flag=flag, values=values, origin=origin))
        for value in values:
            refusal = check_value(flag, value, typed=typed, origin=origin)
            if refusal is not None:
                self.refusals.append(refusal)
                return


_ANY = Flag(
    flags=(), dest="", action="", type="", nargs="?", choices=None, default=None, required=False, deprecated=False
)
_MOST: dict[int | str | None, int] = {None: 1, "?": 1}


def check_value(flag: Flag, value: str, *, typed: str = "", origin: int = -1) -> Refusal | None:
    """Whether the argument refuses the value, and why. Never raises."""
    typed = typed or flag.name
    try:
        converted = convert_value(flag.type, value)
    except (ValueError, OverflowError) as err:
        return Refusal(fault="type", argument=typed, value=value, detail=str(err), origin=origin)
    if flag.choices is None or converted in flag.choices or (converted is None and "None" in flag.choices):
        return None
    return Refusal(
        fault="choice",
        argument=typed,
        value=value,
        detail=f"{value!r} is not one of {', '.join(str(choice) for choice in flag.choices)}",
        candidates=tuple(str(choice) for choice in flag.choices),
        origin=origin,
    )
