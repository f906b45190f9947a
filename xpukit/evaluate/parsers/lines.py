"""What the tool parsers share: numbered lines without terminal decoration, numbers, notes and problems.

A parser never raises: what it could not read becomes a `Note`, what the text itself shows to have gone wrong a
`Problem`, whatever the exit code was. It reads no number from a line that may have been cut in the middle of it, so
the readings of a truncated output are among those of the whole.
"""

from __future__ import annotations

import math
import re
from typing import Literal, NamedTuple

import msgspec

from xpukit.host.level_zero.names import name_result

LINE_LIMIT = 500_000
LINE_LENGTH = 4_000
LIST_LIMIT = 60  # notes, and problems, of one text
TEXT_LENGTH = 240

Stream = Literal["out", "err"]
ProblemKind = Literal[
    "aborted",  # the program ended itself or was ended
    "error",  # an error it printed
    "api-error",  # a Level Zero call that failed, with its result
    "no-device",
    "no-p2p",  # `devices` says which
    "bad-data",  # a verification failed: the data that arrived was not what was sent
    "missing-file",  # a library, a kernel file (.spv) or the program itself
    "usage",  # it printed its help: an option was not understood
    "not-as-asked",  # it measured something else than it was told to
    "unsupported",  # it left a test out
    "unmeasured",  # a test was announced and no value followed
    "silent",  # nothing was printed at all
]


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """Something a parser could not read. `line` counts from 1; 0 is the whole text."""

    line: int
    text: str


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """A failure that the text shows. `line` counts from 1 in `stream`; 0 is the whole text."""

    line: int
    kind: ProblemKind
    text: str
    stream: Stream = "out"
    devices: tuple[int, ...] = ()


class Line(NamedTuple):
    """`is_whole`: it ended in a newline, so that its last number cannot have lost digits."""

    number: int
    text: str
    is_whole: bool


class Diary:
    """Collects notes and problems of one text, at most LIST_LIMIT of each."""

    def __init__(self) -> None:
        self._notes: list[Note] = []
        self._problems: list[Problem] = []
        self._more_notes = 0

    def note(self, line: int, text: str) -> None:
        if len(self._notes) < LIST_LIMIT:
            self._notes.append(Note(line=line, text=text.strip()[:TEXT_LENGTH]))
        else:
            self._more_notes += 1

    def note_unread(self, line: Line, reason: str = "not understood") -> None:
        self.note(line.number, f"{reason}: {line.text.strip()}")

    def add_problem(self, problem: Problem | None) -> None:
        if problem is not None and len(self._problems) < LIST_LIMIT:
            self._problems.append(problem)

    def add_stream(self, text: str, stream: Stream = "err") -> None:
        """Looks for problems in a text that holds no readings (standard error)."""
        for line in split_lines(text):
            self.add_problem(find_problem(line, stream))

    def add_unmeasured(self, titles: list[tuple[int, str, int]], readings: int) -> None:
        """`titles`: where each test was announced, its name, and how many readings there were before it."""
        for place, (number, name, before) in enumerate(titles):
            after = titles[place + 1][2] if place + 1 < len(titles) else readings
            if before == after:
                self.add_problem(Problem(line=number, kind="unmeasured", text=f"{name}: no value follows"))

    @property
    def problems(self) -> tuple[Problem, ...]:
        return tuple(self._problems)

    @property
    def notes(self) -> tuple[Note, ...]:
        if not self._more_notes:
            return tuple(self._notes)
        return (*self._notes, Note(line=0, text=f"and {self._more_notes} more"))


_ESCAPE = re.compile(r"\x1b(?:\[[0-9;:?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def split_lines(text: str) -> list[Line]:
    """Lines without colour codes, control characters and trailing white space; numbers count from 1."""
    # Half characters (from bytes that are no UTF-8) could not be written to a result file.
    clean = _ESCAPE.sub("", text.encode("utf-8", "replace").decode("utf-8").removeprefix("\ufeff"))
    pieces = clean.split("\n")
    lines = []
    for number, piece in enumerate(pieces[:LINE_LIMIT], start=1):
        # A lone CR is a display that overwrites itself: what was last on the line counts.
        last = piece.rstrip("\r").rpartition("\r")[2]
        is_whole = number < len(pieces) and len(last) <= LINE_LENGTH
        lines.append(Line(number, _CONTROL.sub("", last[:LINE_LENGTH]).rstrip(), is_whole))
    return lines


# Digits are bounded: a number of a thousand digits is no measurement.
_NUMBER = re.compile(r"[+-]?[0-9]{1,30}(?:\.[0-9]{0,30})?(?:[eE][+-]?[0-9]{1,4})?")
_LOCALISED = re.compile(r"[+-]?[0-9]{1,3}(?:[.,' \u00a0\u202f][0-9]{3})*,[0-9]+|[+-]?[0-9]+,[0-9]+(?:\.[0-9]+)?")
_ABSENT = re.compile(r"n/?a|-|none|not available", re.IGNORECASE)
_UNDEFINED = re.compile(r"[+-]?(?:nan(?:\([^)]*\))?|inf(?:inity)?)|[+-]?1\.#\w+", re.IGNORECASE)

NUMBER = r"[+-]?(?:[0-9]{1,30}(?:\.[0-9]{0,30})?(?:[eE][+-]?[0-9]{1,4})?)"  # for use inside other expressions


def read_number(text: str) -> tuple[float | None, str]:
    """A measured value, or None and why it is none: absent, undefined, negative, or in a form we do not guess at.

    '1.234,5' and '26,00' are refused: whether a comma divides thousands or decimals cannot be known from one number.
    """
    token = text.strip()
    if _NUMBER.fullmatch(token):
        value = float(token)
        if not math.isfinite(value):
            return None, "not a finite number"
        if math.copysign(1.0, value) < 0:
            return None, "below zero, no measurement"
        return value, ""
    if _ABSENT.fullmatch(token):
        return None, "not available"
    if _UNDEFINED.fullmatch(token):
        return None, "not a number or infinite, no measurement"
    if _LOCALISED.fullmatch(token):
        return None, "number in a local form (decimal comma or divided thousands), refused"
    return None, "not a number"


def has_digit(text: str) -> bool:
    return any("0" <= char <= "9" for char in text)


SI_EXPONENTS = {"": 0, "k": 3, "K": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BYTE_SHIFTS = {"B": 0, "KB": 10, "MB": 20}


def scale_si(value: float, prefix: str, to_prefix: str = "") -> float:
    """`value` of one SI prefix in another: scale_si(1.02, "P", "G") is 1020000."""
    exponent = SI_EXPONENTS[prefix] - SI_EXPONENTS[to_prefix]
    return value * 10.0**exponent if exponent >= 0 else value / 10.0**-exponent


def count_bytes(size: int, unit: str) -> int:
    """The level-zero-tests print sizes divided by 1024 (not 1000), rounded down: '128 MB' is 134217728."""
    return size << _BYTE_SHIFTS[unit]


_API_CALL = re.compile(r"\bERROR ?: ?(\w{2,80})\(.*: ?([0-9]{1,10})$")
_API_THROWN = re.compile(r"what\(\): +(\w{2,80}) failed: ?([0-9]{1,10})\b")
_NO_P2P = re.compile(r"\bDevices ([0-9]{1,6}) and ([0-9]{1,6}) do not have P2P capabilities")
_SIGNS: tuple[tuple[re.Pattern[str], ProblemKind], ...] = (
    (re.compile(r"\bno peer devices among\b|More than 1 device needed"), "no-device"),
    (re.compile(r"Error at [0-9]+: validate_buffer|verification failed|gemm\s+FAILS", re.IGNORECASE), "bad-data"),
    (
        re.compile(r"Failed to load binary file|error while loading shared libraries|: command not found"),
        "missing-file",
    ),
    (re.compile(r"cannot execute|Exec format error|execvp error"), "missing-file"),
    (re.compile(r"is not valid(?: for group [0-9]+)?, (?:will )?default(?:ing)? to"), "not-as-asked"),
    (re.compile(r"test skipping for missing support|no FP64 capability on given"), "unsupported"),
    (re.compile(r"^\s*(?:To execute: )?ze_\w+ \[OPTIONS\]|^Usage:"), "usage"),
    (re.compile(r"\bAssertion\b.*\bfailed\b|\bASSERT\b"), "aborted"),
    (re.compile(r"\bterminate called\b"), "aborted"),
    (re.compile(r"(?:^|[\s:])(?:Segmentation fault|Bus error|Aborted|Killed|Illegal instruction)\b"), "aborted"),
    (re.compile(r"\bSYCL exception\b|\bsynchronous \w+ exception\b|Native API failed|\b(?:UR|PI)_\w*ERROR"), "error"),
    (re.compile(r"\[?\bERROR\b\]?|what\(\): "), "error"),
)


def find_problem(line: Line, stream: Stream = "out") -> Problem | None:
    """The failure that a line reports, if it does. The first sign that fits names the kind."""
    text = line.text.strip()
    if not text:
        return None
    thrown = _API_CALL.search(text) or _API_THROWN.search(text)
    if thrown:
        kind, said = _name_api_error(thrown[1], int(thrown[2]))
        return Problem(line=line.number, kind=kind, text=said, stream=stream)
    peers = _NO_P2P.search(text)
    if peers:
        pair = (int(peers[1]), int(peers[2]))
        return Problem(line=line.number, kind="no-p2p", text=text[:TEXT_LENGTH], stream=stream, devices=pair)
    for sign, kind in _SIGNS:
        if sign.search(text):
            return Problem(line=line.number, kind=kind, text=text[:TEXT_LENGTH], stream=stream)
    return None


def _name_api_error(call: str, code: int) -> tuple[ProblemKind, str]:
    if code == 0:  # the tools throw this when a call succeeded and listed nothing
        return "no-device", f"{call} succeeded and found nothing"
    name = name_result(code)
    return "api-error", f"{call} failed: 0x{code:08x}" + ("" if name.startswith("UNKNOWN") else f" {name}")


def find_silence(text: str, err: str) -> Problem | None:
    """Nothing printed at all (ze_peer -u out of range and ze_bandwidth -d out of range die like this)."""
    if text.strip() or err.strip():
        return None
    return Problem(line=0, kind="silent", text="nothing was printed, on neither standard output nor standard error")
