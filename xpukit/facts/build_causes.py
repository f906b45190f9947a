"""Why builds fail (data/images/build_causes.toml): what the failing step's lines say, and what to do about it."""

from __future__ import annotations

import re
from functools import cache
from typing import Literal

import msgspec

from xpukit.facts.tables import damaged, read_table

SCHEMA = "xpukit.build-causes/1"
_FILE = "images/build_causes.toml"


class BuildCause(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One known reason. `patterns` are regular expressions over a line (either case); any of them makes a match.

    `exit_codes` of the failing instruction make one too. `symptom_of` names causes that bring this one about: where
    one of them is found as well, this one is left out. `origin`: captured here, a public thread, or the message as the
    program's source has it.
    """

    id: str
    title: str
    remedy: tuple[str, ...]
    patterns: tuple[str, ...] = ()
    exit_codes: tuple[int, ...] = ()
    symptom_of: tuple[str, ...] = ()
    example: str = ""
    origin: Literal["captured", "thread", "format"]
    source: str
    date: str

    def matches(self, lines: tuple[str, ...], exit_code: int | None) -> bool:
        """Whether any line, or the exit code, speaks for this cause."""
        if exit_code is not None and exit_code in self.exit_codes:
            return True
        compiled = _compile(self.patterns)
        return any(pattern.search(line) for line in lines for pattern in compiled)


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    schema: str
    cause: tuple[BuildCause, ...]


@cache
def load_build_causes() -> tuple[BuildCause, ...]:
    """All causes in the file's order, the most telling first. Raises BadFactsError when the file breaks its schema."""
    causes = read_table("images", "build_causes", _File, SCHEMA).cause
    ids = {cause.id for cause in causes}
    for cause in causes:
        try:
            _compile(cause.patterns)
        except re.error as err:
            raise damaged(_FILE, f"{cause.id}: {err}") from err
        if not cause.patterns and not cause.exit_codes:
            raise damaged(_FILE, f"{cause.id} can never match")
        if unknown := set(cause.symptom_of) - ids:
            raise damaged(_FILE, f"{cause.id}: no such cause: {', '.join(sorted(unknown))}")
    return causes


@cache
def _compile(patterns: tuple[str, ...]) -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(pattern, re.IGNORECASE | re.ASCII) for pattern in patterns)
