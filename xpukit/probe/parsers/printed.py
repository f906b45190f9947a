"""What a program printed, as numbered lines without terminal decoration."""

from __future__ import annotations

import re

import msgspec

# Lines beyond this are no list of devices any more; a note says that they were left out.
LINE_LIMIT = 20_000
LINE_LENGTH = 4_000
NOTE_LIMIT = 20

_ESCAPE = re.compile(r"\x1b(?:\[[0-9;:?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_NUMBER = re.compile(r"[0-9]{1,18}")


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """Something a parser could not read. `line` counts from 1; 0 is the whole text."""

    line: int
    text: str


class Notes:
    """Collects notes, at most NOTE_LIMIT of them."""

    def __init__(self) -> None:
        self._notes: list[Note] = []
        self._more = 0

    def add(self, line: int, text: str) -> None:
        if len(self._notes) < NOTE_LIMIT:
            self._notes.append(Note(line=line, text=text[:200]))
        else:
            self._more += 1

    def done(self) -> tuple[Note, ...]:
        if not self._more:
            return tuple(self._notes)
        return (*self._notes, Note(line=0, text=f"and {self._more} more"))


def split_lines(data: bytes, notes: Notes) -> list[tuple[int, str]]:
    """(line number, text) without colour codes, control characters and trailing white space."""
    text = _ESCAPE.sub("", data.decode("utf-8", errors="replace").removeprefix("\ufeff"))
    # A lone CR is a progress display that overwrites itself: what was last on the line counts.
    lines = [line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n")]
    if len(lines) > LINE_LIMIT:
        notes.add(LINE_LIMIT, f"{len(lines) - LINE_LIMIT} lines left out")
    return [
        (number, _CONTROL.sub("", line[:LINE_LENGTH]).rstrip())
        for number, line in enumerate(lines[:LINE_LIMIT], start=1)
    ]


def read_count(text: str) -> int | None:
    """A plain decimal number of at most 18 digits, else None."""
    stripped = text.strip()
    return int(stripped) if _NUMBER.fullmatch(stripped) else None


def normalize_bdf(text: str) -> str:
    """'0000:4d:00.0' in lower case with domain; "" for anything that is no PCI address."""
    match = re.fullmatch(r"(?:([0-9a-fA-F]{4,8}):)?([0-9a-fA-F]{2}):([0-9a-fA-F]{2})\.([0-7])", text.strip())
    if match is None:
        return ""
    domain, bus, device, function = match.groups(default="0000")
    return f"{domain}:{bus}:{device}.{function}".lower()


def normalize_device_id(text: str) -> str:
    """'0x20a' and 'E211' as four hex digits in lower case; "" for anything else."""
    match = re.fullmatch(r"(?:0x)?([0-9a-fA-F]{1,4})", text.strip())
    return match.group(1).lower().rjust(4, "0") if match else ""


_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,6})?)\s*([KMGT]i?)?B(?:ytes)?", re.IGNORECASE)
_SIZES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def read_size_bytes(text: str) -> int | None:
    """'32768.00 MiB' in bytes. Intel's tools mean powers of two also where they print MB."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        return None
    return round(float(match.group(1)) * _SIZES[(match.group(2) or "").upper().rstrip("I")])
