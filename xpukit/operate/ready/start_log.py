"""What an engine's start-up log tells of progress, and what it proposes itself after a failure."""

from __future__ import annotations

import re
from functools import cache

import msgspec

from xpukit.facts.readiness import StartLine, SuggestionLine, list_patterns, load_start

_LINE_LIMIT = 4000  # characters; a longer line is a dump, not a message
_PERCENT_STEP = 25
_COLOR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """A step of the start: its stable name, and a sentence."""

    name: str
    text: str


class Suggestion(msgspec.Struct, frozen=True, kw_only=True):
    """A retry that the log proposes: the engine's flag, `xpukit serve`'s option, the value, and the line."""

    flag: str
    option: str
    value: str
    why: str
    line: str


@cache
def _steps() -> tuple[tuple[StartLine, re.Pattern[str]], ...]:
    return tuple((row, pattern) for row in load_start().progress for pattern in list_patterns(row))


@cache
def _suggestions() -> tuple[tuple[SuggestionLine, re.Pattern[str]], ...]:
    return tuple((row, pattern) for row in load_start().suggestion for pattern in list_patterns(row))


class StartLog:
    """Takes the lines of one start, in order. Each step is told once, whatever the number of ranks."""

    def __init__(self) -> None:
        self._told: set[str] = set()
        self._percent: dict[str, int] = {}
        self._suggested: dict[str, Suggestion] = {}

    def take(self, line: str) -> tuple[Progress, ...]:
        """What is new in this line. Never raises."""
        line = _COLOR.sub("", line[:_LINE_LIMIT])
        self._note_suggestion(line)
        found = []
        for row, pattern in _steps():
            match = pattern.search(line)
            if match is None:
                continue
            text = row.text.format(**{name: value or "?" for name, value in match.groupdict().items()})
            if self._is_new(row.name, text, match.groupdict().get("percent")):
                found.append(Progress(name=row.name, text=text))
        return tuple(found)

    def _is_new(self, name: str, text: str, percent: str | None) -> bool:
        if percent is not None:
            step = int(percent) // _PERCENT_STEP
            if step <= self._percent.get(name, -1):
                return False
            self._percent[name] = step
            return True
        if text in self._told:
            return False
        self._told.add(text)
        return True

    def _note_suggestion(self, line: str) -> None:
        for row, pattern in _suggestions():
            match = pattern.search(line)
            value = match.groupdict().get(row.group) if match else None
            if not value:
                continue
            before = self._suggested.get(row.flag)
            # Ranks differ: what suits the smallest suits all. 0 would be no length.
            if value.isdecimal() and (int(value) < 1 or (before is not None and int(before.value) <= int(value))):
                continue
            self._suggested[row.flag] = Suggestion(
                flag=row.flag, option=row.option, value=value, why=row.why.format(value=value), line=line.strip()
            )

    @property
    def suggestions(self) -> tuple[Suggestion, ...]:
        """What the log proposes so far."""
        return tuple(self._suggested.values())
