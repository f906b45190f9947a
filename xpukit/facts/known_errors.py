"""Known errors: what a message in a log means and what to try (data/known_errors/*.toml).

Patterns are regular expressions over *squeezed* text: the message without its log prefixes and without any white
space, so that a message which a terminal or Docker broke over lines still matches. White space in a pattern is
ignored for the same reason; `#` must be escaped. Named groups are shown to the user.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Literal

import msgspec

from xpukit.core.errors import BadFactsError
from xpukit.core.finding import Severity
from xpukit.facts.paths import data_dir
from xpukit.facts.tables import read_table

SCHEMA = "xpukit.known-errors/1"
CODES_SCHEMA = "xpukit.result-codes/1"
CODES_FILE = "result_codes"

Status = Literal["confirmed", "workaround", "open"]
# thread: an issue says it; corpus: our excerpt of one; format: the program's source prints it; captured: seen here.
Origin = Literal["thread", "corpus", "format", "captured"]
SourceKind = Literal["kernel", "loader", "ccl", "torch", "engine", "docker", "hub", "tool", "host"]

# A line is looked at closely when it holds one of three marks of a pattern: two line breaks spoil two of them.
MARKS = 3
_PIECES_AT_MOST = 8
# Longer pieces are in fewer lines; where a pattern has little plain text they must be short.
_PIECE_CHARS = (9, 6, 4)
_MIN_PIECE = 4
_META = re.compile(r"\\(?P<escaped>.)|(?P<open>\[)|(?P<group>\()|(?P<quantifier>[?*+]|\{\d*,?\d*\})|(?P<other>[.^$])")


class KnownError(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One known error.

    `patterns`: any of them makes a match; none at all for an error that leaves no line (it is only documented).
    `context`: patterns that must all occur elsewhere in the same log, too: the special case of `refines`, whose own
    entry is then left out. `symptom`: what another error brings about; listed after causes. `fallback`: only where no
    other entry matched the line. `also`: ids that rightly match the example as well. `source_kind` comes from the file.
    """

    id: str
    title: str
    severity: Severity
    cause: str
    remedy: tuple[str, ...]
    status: Status
    origin: Origin
    date: str
    references: tuple[str, ...]
    patterns: tuple[str, ...] = ()
    context: tuple[str, ...] = ()
    refines: str = ""
    product: str = ""
    versions: str = ""
    commands: tuple[str, ...] = ()
    symptom: bool = False
    fallback: bool = False
    also: tuple[str, ...] = ()
    example: str = ""
    source_kind: SourceKind = "engine"


class ResultCode(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a number that an interface returned is called, and means."""

    code: int
    name: str
    meaning: str


class ResultCodes(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The result codes of Level Zero (`ze`) and of SYCL's Unified Runtime (`ur`)."""

    schema: str
    date: str
    source: str
    ze: tuple[ResultCode, ...]
    ur: tuple[ResultCode, ...]


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    schema: str
    source_kind: SourceKind
    error: tuple[KnownError, ...]


@cache
def compile_pattern(pattern: str) -> re.Pattern[str]:
    """The pattern as it is applied: to squeezed text, white space ignored, either case."""
    return re.compile(pattern, re.VERBOSE | re.IGNORECASE | re.ASCII)


def list_literals(pattern: str) -> tuple[str, ...]:
    """The stretches of plain text that every match of a pattern holds, lower case, without white space or digits.

    Groups are passed over (they may be optional or alternatives); so is a character that may be absent. Digits are
    left out because lines are sorted by their shape without digits first.
    """
    runs: list[str] = []
    run = ""
    position = 0
    pattern = "".join(pattern.split())
    while position < len(pattern):
        found = _META.match(pattern, position)
        if found is None:
            run += pattern[position]
            position += 1
            continue
        position = found.end()
        escaped = found["escaped"]
        if escaped and not escaped.isalnum():
            run += escaped
            continue
        if found["quantifier"]:
            # {2,3} and + leave one; ? and * and {0,…} may leave none.
            if found["quantifier"] in "?*" or found["quantifier"].startswith("{0"):
                run = run[:-1]
        elif found["open"]:
            position = _skip_class(pattern, position)
        elif found["group"]:
            position = _skip_group(pattern, position)
        runs.append(run)
        run = ""
    runs.append(run)
    cleaned = ("".join(char for char in run.lower() if not char.isdigit()) for run in runs)
    return tuple(run for run in cleaned if run)


def _skip_class(pattern: str, position: int) -> int:
    position += pattern[position : position + 1] == "^"
    position += pattern[position : position + 1] == "]"
    while position < len(pattern) and pattern[position] != "]":
        position += 2 if pattern[position] == "\\" else 1
    return position + 1


def _skip_group(pattern: str, position: int) -> int:
    depth = 1
    while position < len(pattern) and depth:
        char = pattern[position]
        if char == "\\":
            position += 2
            continue
        if char == "[":
            position = _skip_class(pattern, position + 1)
            continue
        depth += (char == "(") - (char == ")")
        position += 1
    return position


def _has_top_level_choice(pattern: str) -> bool:
    position = 0
    while position < len(pattern):
        char = pattern[position]
        position += 2 if char == "\\" else 1
        if char == "|":
            return True
        if char == "[":
            position = _skip_class(pattern, position)
        elif char == "(":
            position = _skip_group(pattern, position)
    return False


def choose_pieces(pattern: str) -> tuple[str, ...]:
    """Disjoint pieces of a pattern's plain text. A match on one line holds them all; each line break spoils one.

    Empty when the pattern has too little plain text to be found fast.
    """
    return _choose(pattern, _PIECES_AT_MOST // 2 + 1)[:_PIECES_AT_MOST]


def choose_marks(pattern: str) -> tuple[str, ...]:
    """The pieces that a line is first looked at for: three (or what there is), as long as they can be."""
    return _choose(pattern, MARKS)[:MARKS]


def _choose(pattern: str, wanted: int) -> tuple[str, ...]:
    runs = sorted(list_literals(pattern), key=len, reverse=True)
    cut: list[str] = []
    for least in _PIECE_CHARS:
        cut = [piece for run in runs for piece in _cut_run(run, least)]
        if len(cut) >= wanted:
            break
    return tuple(sorted(cut, key=len, reverse=True))


def _cut_run(run: str, least: int) -> list[str]:
    count = max(1, min(_PIECES_AT_MOST, len(run) // least))
    width = len(run) // count
    return [run[start * width : start * width + width] for start in range(count)] if width >= _MIN_PIECE else []


@cache
def load_known_errors() -> tuple[KnownError, ...]:
    """All known errors, by id. Raises BadFactsError when a file breaks its schema."""
    rows: dict[str, KnownError] = {}
    for path in sorted((data_dir() / "known_errors").glob("*.toml")):
        if path.stem == CODES_FILE:
            continue
        file = read_table("known_errors", path.stem, _File, SCHEMA)
        for row in file.error:
            placed = msgspec.structs.replace(row, source_kind=file.source_kind)
            wrong = find_row_fault(placed)
            if wrong or placed.id in rows:
                raise BadFactsError(f"{path.name}: {placed.id}: {wrong or 'the id is used twice'}")
            rows[placed.id] = placed
    unknown = {name for row in rows.values() for name in (*row.also, row.refines) if name and name not in rows}
    if unknown:
        raise BadFactsError(f"known_errors: no such id: {', '.join(sorted(unknown))}")
    return tuple(rows[name] for name in sorted(rows))


def find_row_fault(row: KnownError) -> str:
    """What is wrong with an entry beyond its schema and its patterns, "" when nothing is."""
    if not row.id.startswith("XPK-LOG-") or row.id != row.id.upper():
        return "ids are XPK-LOG- and upper-case words"
    if not row.references and row.status != "open":
        return "an entry without a reference is open"
    if bool(row.patterns) != bool(row.example):
        return "patterns and an example come together"
    if bool(row.context) != bool(row.refines):
        return "a context makes a special case of another entry, which refines names"
    return ""


def find_fault(row: KnownError) -> str:
    """What is wrong with an entry and its patterns beyond its schema, "" when nothing is.

    The patterns of our own files are looked at by the tests, not at each start: compiling them all takes longer than
    most logs, which need few of them.
    """
    wrong = find_row_fault(row)
    if wrong:
        return wrong
    for pattern in (*row.patterns, *row.context):
        try:
            compile_pattern(pattern)
        except re.error as err:
            return f"pattern {pattern!r}: {err}"
        if _has_top_level_choice(pattern):
            return f"pattern {pattern!r}: write alternatives as several patterns, or inside a group"
        if not choose_pieces(pattern):
            return f"pattern {pattern!r} has no plain text to find it by"
    return ""


@cache
def load_result_codes() -> ResultCodes:
    """The tables of result codes. Raises BadFactsError when the file breaks its schema."""
    return read_table("known_errors", CODES_FILE, ResultCodes, CODES_SCHEMA)
