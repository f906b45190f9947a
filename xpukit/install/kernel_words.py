"""A kernel command line as words, each character knowing where it stands in which file: edited word by word.

A word is what the kernel takes for one: split at white space, except between double quotes (lib/cmdline.c, next_arg).
`-` and `_` are the same in a parameter's name (kernel/params.c, parameq). Nothing here raises for what it reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Literal

import msgspec

# How the text around a character is quoted, which says how to write another one there.
Quote = Literal["plain", "bare", "double", "single"]
OPAQUE = "\N{OBJECT REPLACEMENT CHARACTER}"
# What comes after it goes to init (kernel/params.c, parse_args).
_TO_INIT = "--"
# What a shell or GRUB's own script language would read as more than text.
_UNWRITABLE = set("$`\\'\n\r\t" + OPAQUE)
_UNWRITABLE_BARE = set(";&|<>(){}#*?[]~!")


class Atom(msgspec.Struct, frozen=True, kw_only=True):
    """One character of a value, or something that becomes text only later (`text` is OPAQUE, `name` the variable).

    `file` and the span say which source it has; `owner` is the variable in whose assignment it stands. `fixed`: it
    stands where an edit would change more than this value.
    """

    text: str
    file: int = 0
    start: int = -1
    end: int = -1
    quote: Quote = "plain"
    owner: str = ""
    name: str = ""
    fixed: bool = False


class Word(msgspec.Struct, frozen=True, kw_only=True):
    """One argument of the kernel. `begin` and `end` are its places among the value's atoms."""

    atoms: tuple[Atom, ...]
    begin: int
    end: int

    @property
    def text(self) -> str:
        return "".join(atom.text for atom in self.atoms)

    @property
    def editable(self) -> bool:
        """Whether all of it stands as text where it may be changed."""
        return all(atom.text != OPAQUE and not atom.fixed and atom.start >= 0 for atom in self.atoms)


class WantedWord(msgspec.Struct, frozen=True, kw_only=True):
    """A word that shall be there ("" for none), and those that shall not: a word, or `name=*` for any value."""

    token: str
    remove: tuple[str, ...] = ()


class Edit(msgspec.Struct, frozen=True, kw_only=True):
    """Characters `start` to `end` of a file become `text`."""

    file: int
    start: int
    end: int
    text: str = ""


class WordsPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What a wanted word takes. `add`: it must still be appended. `expected` are the words of each value afterwards,
    without an appended one. `problem` says in words what cannot be edited."""

    edits: tuple[Edit, ...] = ()
    add: bool = False
    expected: tuple[tuple[str, ...], ...] = ()
    removed: tuple[str, ...] = ()
    problem: str = ""


def atoms_of(text: str, *, file: int = 0, offset: int = 0) -> tuple[Atom, ...]:
    """Text without any quoting of its own, which begins at `offset` of a file."""
    return tuple(
        Atom(text=char, file=file, start=offset + i, end=offset + i + 1) for i, char in enumerate(text)
    )  # fmt: skip


def split_atoms(atoms: Sequence[Atom]) -> tuple[Word, ...]:
    """The words of a value."""
    words: list[Word] = []
    begin = -1
    quoted = False
    for i, atom in enumerate(atoms):
        if atom.text.isspace() and not quoted:
            if begin >= 0:
                words.append(Word(atoms=tuple(atoms[begin:i]), begin=begin, end=i))
            begin = -1
            continue
        if begin < 0:
            begin = i
        if atom.text == '"':
            quoted = not quoted
    if begin >= 0:
        words.append(Word(atoms=tuple(atoms[begin:]), begin=begin, end=len(atoms)))
    return tuple(words)


def split_words(text: str) -> tuple[str, ...]:
    """The words of a command line, as /proc/cmdline shows it."""
    return tuple(word.text for word in split_atoms(atoms_of(text)))


def plain_word(text: str) -> str:
    """A word in one spelling: without quotes, `_` for `-` in its name."""
    name, equals, value = text.replace('"', "").partition("=")
    return name.replace("-", "_") + equals + value


def word_name(text: str) -> str:
    """The parameter's name, in one spelling."""
    return plain_word(text).partition("=")[0]


def matches(text: str, pattern: str) -> bool:
    """Whether a word is the one meant; `name=*` means any value."""
    if pattern.endswith("=*"):
        return "=" in text and word_name(text) == word_name(pattern)
    return plain_word(text) == plain_word(pattern)


def explain_unwritable(token: str) -> str:
    """Why a word cannot be written into a boot loader's settings, "" when it can."""
    bare, quoted = set(), False
    for char in token:
        quoted ^= char == '"'
        if not quoted:
            bare.add(char)
    if quoted:
        return "a double quote is not closed"
    bad = (set(token) & _UNWRITABLE) | (bare & (_UNWRITABLE_BARE | {" "}))
    return f"{' '.join(sorted(bad)).strip() or 'white space'} cannot be written safely" if bad else ""


def plan_words(values: Sequence[Sequence[Atom]], wanted: WantedWord) -> WordsPlan:
    """Edits that take the contradicting words out and put the wanted one in place of the first of its name."""
    lines = [split_atoms(atoms) for atoms in values]
    counts = count_for_kernel([[word.text for word in words] for words in lines])
    mine = [words[:count] for words, count in zip(lines, counts, strict=True)]
    there = bool(wanted.token) and any(matches(word.text, wanted.token) for words in mine for word in words)
    missing = bool(wanted.token) and not there
    if missing and mine != lines:
        return WordsPlan(problem=f"{_TO_INIT}: what comes after it goes to init; put {wanted.token} before it by hand")
    edits: list[Edit] = []
    expected: list[tuple[str, ...]] = []
    removed: list[str] = []
    for atoms, words, count in zip(values, lines, counts, strict=True):
        kept: list[str] = []
        for i, word in enumerate(words):
            unwanted = i < count and any(matches(word.text, pattern) for pattern in wanted.remove)
            if not unwanted or (wanted.token and matches(word.text, wanted.token)):
                kept.append(word.text)
                continue
            if not word.editable:
                return WordsPlan(problem=f"{word.text}: comes from a place that cannot be edited safely")
            removed.append(word.text)
            if missing and word_name(word.text) == word_name(wanted.token):
                missing = False
                kept.append(wanted.token)
                edits += _replace(word, wanted.token)
            else:
                edits += _delete(atoms, word)
        expected.append(tuple(kept))
    return WordsPlan(edits=tuple(edits), add=missing, expected=tuple(expected), removed=tuple(removed))


def count_for_kernel(values: Sequence[Sequence[str]]) -> tuple[int, ...]:
    """How many words of each value the kernel itself reads, where they follow each other on one command line."""
    counts, open_ = [], True
    for words in values:
        counts.append(list(words).index(_TO_INIT) if open_ and _TO_INIT in words else len(words) if open_ else 0)
        open_ = open_ and _TO_INIT not in words
    return tuple(counts)


def _replace(word: Word, token: str) -> list[Edit]:
    first = word.atoms[0]
    put = Edit(file=first.file, start=first.start, end=first.end, text=quote_text(token, first.quote))
    return [put, *(Edit(file=atom.file, start=atom.start, end=atom.end) for atom in word.atoms[1:])]


def _delete(atoms: Sequence[Atom], word: Word) -> list[Edit]:
    gone = list(word.atoms)
    before = word.begin
    while before > 0 and atoms[before - 1].text.isspace():
        before -= 1
    space = list(atoms[before : word.begin])
    if not before:
        after = word.end
        while after < len(atoms) and atoms[after].text.isspace():
            after += 1
        space = list(atoms[word.end : after])
    if all(not atom.fixed and atom.start >= 0 for atom in space) and _is_one_piece(
        [*space, *gone] if before < word.begin else [*gone, *space]
    ):
        gone += space
    return [Edit(file=atom.file, start=atom.start, end=atom.end) for atom in gone]


def _is_one_piece(atoms: Sequence[Atom]) -> bool:
    """Whether the characters stand beside each other; blanks elsewhere may end a variable's name (`$X word`)."""
    return all(left.file == right.file and left.end == right.start for left, right in pairwise(atoms))


def quote_text(text: str, quote: Quote) -> str:
    """Text as it is written at a place that is quoted so."""
    if quote in ("plain", "single"):
        # explain_unwritable lets no single quote through.
        return text
    escaped = "".join(f"\\{char}" if char in '\\"$`' else char for char in text)
    if quote == "double":
        return escaped
    return text if all(char.isalnum() or char in "_=.,:/@%+-" for char in text) else f'"{escaped}"'


def apply_edits(text: str, edits: Iterable[Edit]) -> str:
    """A file's text with edits made; the same edit twice counts once."""
    unique = sorted({(edit.start, edit.end, edit.text) for edit in edits})
    parts, at = [], 0
    for start, end, new in unique:
        parts += [text[at:start], new]
        at = max(at, end)
    return "".join([*parts, text[at:]])
