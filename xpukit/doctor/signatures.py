"""Finds known errors in text: which lines are worth a look, and which entries match them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache
from typing import NamedTuple

from xpukit.facts.known_errors import (
    KnownError,
    choose_marks,
    choose_pieces,
    compile_pattern,
    load_known_errors,
    load_result_codes,
)

# Squeezed text longer than this is cut before patterns are applied: what one try can cost is bounded.
WINDOW_LIMIT_CHARS = 9000
_SHAPES_KEPT_BYTES = 24 << 20
# What an error looks like that we know nothing of, as a line's shape; "e::." is glog's E1121 12:00:01.5.
LOUD_PIECES = (
    b"error", b"exception", b"traceback", b"fatal", b"critical", b"panic", b"oops", b"segmentationfault", b"coredumped",
    b"aborted", b"terminatecalled", b"badtermination", b"kernelbug", b"buserror", b"killed", b"protectionfault",
    b"notfound", b"e::.", b"f::.", b"e:unable", b"e:failed", b"e:sub-process", b"e:package", b"exitstatus", b"exitcode",
    b"withcode", b"withstatus", b"withsignal", b"bysignal", b"onsignal", b"receivedsignal", b"severe", b"lvl=", b"[e]",
    b"[f]", b"what():", b"free():", b"alloc():", b"munmap_chunk", b"doublefree", b"corrupted", b"smashing",
    b"purevirtual", b"assertion", b"illegalinstruction", b"oomkilled", b"oom-kill", b"abort()",
)  # fmt: skip
_LOUD = frozenset(LOUD_PIECES)


class Rule(NamedTuple):
    """One pattern of one entry; `context` when it is only something that must occur, too."""

    row: KnownError
    text: str
    marks: tuple[bytes, ...]
    pieces: tuple[bytes, ...]
    context: str

    @property
    def pattern(self) -> re.Pattern[str]:
        """Compiled when a line asks for it: most logs need few of them."""
        return compile_pattern(self.text)

    @property
    def least_pieces(self) -> int:
        """How many pieces must be whole in a line and its neighbours: two breaks spoil two, and a short message is
        broken once."""
        count = len(self.pieces)
        return max(1, count - 2 if count > 4 else count - 1)


class Sorted(NamedTuple):
    """What to try on a line: rules of which it holds every piece, and those that its neighbours may complete; `loud`
    when it holds a mark of an error."""

    whole: tuple[Rule, ...]
    partly: tuple[Rule, ...]
    loud: bool


class Signatures:
    """All patterns of a set of entries."""

    def __init__(self, rows: Iterable[KnownError]) -> None:
        self.rows = tuple(row for row in rows if row.patterns)
        rules: list[Rule] = []
        for row in self.rows:
            rules += [_make_rule(row, pattern, "") for pattern in row.patterns]
            rules += [_make_rule(row, pattern, pattern) for pattern in row.context]
        by_piece: dict[bytes, list[Rule]] = {}
        for rule in rules:
            for piece in rule.marks:
                by_piece.setdefault(piece, []).append(rule)
        self.by_piece = {piece: tuple(found) for piece, found in by_piece.items()}
        self.pieces = (*self.by_piece, *(piece for piece in LOUD_PIECES if piece not in self.by_piece))


class ShapeSorter:
    """Tells lines worth a look from others, remembering the shapes of lines: logs repeat themselves."""

    def __init__(self, signatures: Signatures) -> None:
        self._signatures = signatures
        self._dull: set[bytes] = set()
        self._worth: dict[bytes, Sorted] = {}
        self._kept_bytes = 0

    def sort(self, shapes: Sequence[bytes]) -> list[Sorted | None]:
        """For each line, given as its shape, what to try; None where no rule and no mark of an error is in it."""
        fresh = {shape for shape in shapes if shape not in self._dull and shape not in self._worth}
        if self._kept_bytes + sum(map(len, fresh)) > _SHAPES_KEPT_BYTES:
            self._dull.clear()
            self._worth.clear()
            self._kept_bytes = 0
            fresh = set(shapes)
        self._learn(fresh)
        return [self._worth.get(shape) for shape in shapes]

    def _learn(self, fresh: set[bytes]) -> None:
        if not fresh:
            return
        self._kept_bytes += sum(map(len, fresh))
        joined = b"\n".join(fresh)
        pieces = [piece for piece in self._signatures.pieces if piece in joined]
        by_piece = self._signatures.by_piece
        for shape in fresh:
            inside = [piece for piece in pieces if piece in shape]
            if not inside:
                self._dull.add(shape)
                continue
            rules = {id(rule): rule for piece in inside for rule in by_piece.get(piece, ())}.values()
            whole = tuple(rule for rule in rules if all(piece in shape for piece in rule.pieces))
            partly = tuple(rule for rule in rules if rule not in whole)
            self._worth[shape] = Sorted(whole, partly, any(piece in _LOUD for piece in inside))


@cache
def load_signatures() -> Signatures:
    """The patterns of all known errors."""
    return Signatures(load_known_errors())


_NUMBERS = {"ze_code": 16, "ze_decimal": 10, "ur_code": 10}


def explain_values(values: dict[str, str]) -> dict[str, str]:
    """Captured values, result codes with their names: `ze_code` (hexadecimal), `ze_decimal`, `ur_code`."""
    explained = {}
    for name, value in values.items():
        base = _NUMBERS.get(name)
        meaning = decode_code(value, base, "ur" if name == "ur_code" else "ze") if base else ""
        explained["code" if base else name] = f"{value} = {meaning}" if meaning else value
    return explained


def decode_code(text: str, base: int, table: str) -> str:
    """The name and meaning of a result code, "" when it is none that we know."""
    try:
        number = int(text, base)
    except ValueError:
        return ""
    codes = load_result_codes()
    for code in codes.ur if table == "ur" else codes.ze:
        if code.code == number:
            return f"{code.name} ({code.meaning})"
    return ""


def _make_rule(row: KnownError, pattern: str, context: str) -> Rule:
    marks, pieces = (tuple(text.encode() for text in choose(pattern)) for choose in (choose_marks, choose_pieces))
    return Rule(row, pattern, marks, pieces, context)
