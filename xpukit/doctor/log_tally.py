"""Counts what was found in logs, within bounds, and makes the report of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from xpukit.doctor.log_lines import LogLine, parse_line, squeeze
from xpukit.doctor.log_mask import mask_line
from xpukit.doctor.log_report import LogMatch, LogReport, LogSourceReport, Place, Unexplained, sort_matches
from xpukit.doctor.signatures import Rule, Signatures, explain_values
from xpukit.facts.known_errors import KnownError

_PLACES_SHOWN = 3
_SAME_MESSAGE_LINES = 8
_VALUES_SHOWN = 8
_SHAPES_KEPT = 200
_TEXT_CHARS = 600
_NUMBER = re.compile(r"0x[0-9a-fA-F]{1,16}|\d{1,20}")


@dataclass
class _Counted:
    order: int
    count: int = 0
    last_line: int = 0
    last_seen: tuple[str, int, int] = ("", 0, 0)
    places: list[Place] = field(default_factory=list)
    values: dict[str, dict[str, None]] = field(default_factory=dict)


@dataclass
class _Strange:
    text: str
    source: str
    line: int
    last_line: int
    count: int
    traceback: bool


class Tally:
    """What was found so far."""

    def __init__(self, signatures: Signatures) -> None:
        self._rows: dict[str, KnownError] = {row.id: row for row in signatures.rows}
        self._counted: dict[str, _Counted] = {}
        self._contexts: dict[str, set[str]] = {}
        self._strange: dict[str, _Strange] = {}
        self._strange_dropped = 0

    def add(
        self,
        rule: Rule,
        found: re.Match[str],
        source: str,
        numbers: tuple[int, int],
        shown: Sequence[bytes],
        around: tuple[Sequence[bytes], Sequence[bytes]],
    ) -> None:
        """A pattern matched in these lines."""
        row = rule.row
        if rule.context:
            self._contexts.setdefault(row.id, set()).add(rule.context)
            return
        counted = self._counted.setdefault(row.id, _Counted(order=len(self._counted)))
        # Another pattern of the same entry in or right after the same lines is the same message, broken over lines.
        seen_source, seen_line, seen_rule = counted.last_seen
        same = seen_source == source and (
            seen_line == numbers[0] or (seen_rule != id(rule) and abs(numbers[0] - seen_line) <= _SAME_MESSAGE_LINES)
        )
        if not same:
            counted.last_seen = (source, numbers[0], id(rule))
            counted.count += 1
            if len(counted.places) < _PLACES_SHOWN:
                counted.places.append(_make_place(source, numbers, shown, around))
        counted.last_line = numbers[1]
        captured = {name: value for name, value in found.groupdict().items() if value}
        for name, value in explain_values(captured).items():
            seen = counted.values.setdefault(name, {})
            if len(seen) < _VALUES_SHOWN:
                seen[value[:200]] = None

    def add_unexplained(self, line: LogLine, source: str, number: int, *, traceback: bool) -> None:
        """A line that looks like an error and that nothing matched."""
        shape = _NUMBER.sub("#", squeeze(line.message))[:300]
        known = self._strange.get(shape)
        if known is not None:
            known.count += 1
            if known.source == source:
                known.last_line = number
        elif len(self._strange) < _SHAPES_KEPT:
            self._strange[shape] = _Strange(
                mask_line(line.message.strip())[:_TEXT_CHARS], source, number, number, 1, traceback
            )
        else:
            self._strange_dropped += 1

    def report(self, sources: tuple[LogSourceReport, ...]) -> LogReport:
        """The report: special cases replace what they refine."""
        shown = {
            name: counted
            for name, counted in self._counted.items()
            if self._contexts.get(name, set()) >= set(self._rows[name].context)
        }
        refined = {self._rows[name].refines for name in shown if self._rows[name].refines}
        matches = []
        for name, counted in shown.items():
            if name not in refined:
                matches.append(_make_match(self._rows[name], counted))
        return LogReport(
            sources=sources,
            matches=sort_matches(matches),
            unexplained=tuple(
                Unexplained(
                    text=odd.text,
                    source=odd.source,
                    line=odd.line,
                    last_line=odd.last_line,
                    count=odd.count,
                    traceback=odd.traceback,
                )
                for odd in self._strange.values()
            ),
            unexplained_dropped=self._strange_dropped,
        )


def _make_place(
    source: str,
    numbers: tuple[int, int],
    shown: Sequence[bytes],
    around: tuple[Sequence[bytes], Sequence[bytes]],
) -> Place:
    texts = [parse_line(line).message.strip() for line in shown]
    before, after = (tuple(_show(line) for line in side) for side in around)
    return Place(
        source=source,
        line=numbers[0],
        last_line=numbers[1],
        text=mask_line(" ".join(text for text in texts if text))[:_TEXT_CHARS],
        before=before,
        after=after,
    )


def _show(line: bytes) -> str:
    return mask_line(parse_line(line).message.strip())[:200]


def _make_match(row: KnownError, counted: _Counted) -> LogMatch:
    return LogMatch(
        id=row.id,
        title=row.title,
        severity=row.severity,
        symptom=row.symptom,
        source_kind=row.source_kind,
        count=counted.count,
        places=tuple(counted.places),
        last_line=counted.last_line,
        values={name: tuple(values) for name, values in counted.values.items()},
        cause=row.cause,
        remedy=row.remedy,
        commands=row.commands,
        status=row.status,
        product=row.product,
        versions=row.versions,
        references=row.references,
        date=row.date,
        in_order=counted.order,
    )
