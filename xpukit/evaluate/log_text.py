"""A log file as the text that the tools printed: its encoding, and what loggers put before each line."""

from __future__ import annotations

import codecs
import re
import textwrap
from collections.abc import Sequence

_BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_PACKED = (
    (b"\x1f\x8b", "gzip", "zcat"),
    (b"\xfd7zXZ\x00", "xz", "xzcat"),
    (b"\x28\xb5\x2f\xfd", "zstd", "zstdcat"),
    (b"BZh", "bzip2", "bzcat"),
    (b"PK\x03\x04", "zip", "unzip -p"),
)

_DATE_TIME = r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}(?:[.,]\d{1,9})?(?:Z| ?[+-]\d{2}:?\d{2})?"
_MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
# What is put before each line, and by whom. The group `of` tells sources apart whose lines may be mixed. A time is
# followed by the line itself, not by the comma of a table's next column.
_PREFIXES: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("the journal", re.compile(rf"{_MONTH} {{1,2}}\d{{1,2}} \d{{2}}:\d{{2}}:\d{{2}}(?:\.\d{{1,9}})? \S{{1,64}} "
                               r"(?P<of>[\w.@/()-]{1,64}(?:\[\d{1,9}\])?):")),
    ("the container runtime", re.compile(rf"{_DATE_TIME} (?:stdout|stderr) [FP](?= |$)")),
    ("times", re.compile(rf"{_DATE_TIME}(?=[ \t]|$)|\[ ?{_DATE_TIME} ?\]")),
    ("docker compose", re.compile(r"(?P<of>[A-Za-z0-9][\w.-]{0,62}) {1,40}\|(?= |$)")),
    ("kubectl", re.compile(r"\[(?P<of>pod/[\w.-]{1,128}/[\w.-]{1,64})\]")),
    ("mpirun", re.compile(r"\[(?P<of>\d{1,5})\](?= |$)|\[\d{1,4},(?P<of_rank>\d{1,5})\]<std(?:out|err)>:")),
    ("a quotation", re.compile(r">(?= |$)")),
)  # fmt: skip
_MOST_PREFIXES = 4
_LOOK_BYTES = 4096
_FEWEST_LINES = 3
# Of all lines: what a program prints past its logger has no prefix.
_SHARE = 0.8


def find_packing(raw: bytes) -> tuple[str, str]:
    """('gzip', 'zcat') for a compressed file, ('', '') for another."""
    return next(((name, command) for magic, name, command in _PACKED if raw.startswith(magic)), ("", ""))


def decode_log(raw: bytes) -> str:
    """The text; UTF-16 and UTF-32 (PowerShell writes them) where the file begins with their mark."""
    marked = next((encoding for bom, encoding in _BOMS if raw.startswith(bom)), "utf-8")
    # Latin letters have a zero byte in both; a mark before what is none is noise.
    encoding = marked if b"\x00" in raw[:_LOOK_BYTES] else "utf-8"
    return raw.decode(encoding, errors="replace")


def strip_prefixes(text: str) -> tuple[str, tuple[str, ...]]:
    """The text without what a logger put before nearly every line, and remarks. Line numbers stay.

    Lines of several sources (ranks, containers) that are mixed are left as they are: taken together they would be read
    as one program's output.
    """
    remarks: list[str] = []
    lines = text.split("\n")
    for _ in range(_MOST_PREFIXES):
        found = _find_prefix(lines)
        if found is None:
            break
        name, pattern, sources = found
        if len(sources) > 1:
            shown = ", ".join(sorted(sources)[:4])
            remarks.append(f"lines of several sources are mixed ({shown}): give the lines of each as a log of its own")
            return text, tuple(remarks)
        lines = [_strip(pattern, line) for line in lines]
        remarks.append(f"what {name} put before each line was taken off")
    return textwrap.dedent("\n".join(lines)) if _is_indented(lines) else "\n".join(lines), tuple(remarks)


def _find_prefix(lines: Sequence[str]) -> tuple[str, re.Pattern[str], set[str]] | None:
    filled = [line for line in lines if line.strip()]
    for name, pattern in _PREFIXES:
        matches = [match for line in filled if (match := pattern.match(line))]
        if len(matches) >= max(_FEWEST_LINES, _SHARE * len(filled)):
            groups = [match.groupdict() for match in matches]
            sources = {of for group in groups for of in (group.get("of") or group.get("of_rank"),) if of}
            return name, pattern, sources
    return None


def _strip(pattern: re.Pattern[str], line: str) -> str:
    match = pattern.match(line)
    return line[match.end() :].removeprefix(" ") if match else line


def _is_indented(lines: Sequence[str]) -> bool:
    return all(line[:1] in (" ", "\t") for line in lines if line.strip())
