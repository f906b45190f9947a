"""What a log said: the known errors in it, and what looks like an error and is none that we know
(`xpukit.doctor-log/1`)."""

from __future__ import annotations

import msgspec

from xpukit.core.finding import SEVERITY_ORDER, Severity

SCHEMA = "xpukit.doctor-log/1"


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where something stands: the lines from `line` to `last_line` of a source, and their text."""

    source: str
    line: int
    last_line: int
    text: str
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


class LogMatch(msgspec.Struct, frozen=True, kw_only=True):
    """A known error in the log. `values` is what its message named, each with the values seen; `places` the first
    ones, `count` all. `symptom`: another error brings it about. `in_order` is its rank by first appearance."""

    id: str
    title: str
    severity: Severity
    symptom: bool
    source_kind: str
    count: int
    places: tuple[Place, ...]
    last_line: int
    values: dict[str, tuple[str, ...]]
    cause: str
    remedy: tuple[str, ...]
    commands: tuple[str, ...]
    status: str
    product: str
    versions: str
    references: tuple[str, ...]
    date: str
    in_order: int


class Unexplained(msgspec.Struct, frozen=True, kw_only=True):
    """Lines that look like an error and are none that we know; `traceback` when one ended in this line."""

    text: str
    source: str
    line: int
    last_line: int
    count: int
    traceback: bool


class LogSourceReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was read of one source; `complaint` says why it ended early, or that it is empty or no text."""

    name: str
    lines: int
    bytes: int
    complaint: str = ""


class LogReport(msgspec.Struct, frozen=True, kw_only=True):
    """What the logs said: causes before what they bring about, worst first. `unexplained_dropped` counts the error
    lines beyond those listed."""

    sources: tuple[LogSourceReport, ...]
    matches: tuple[LogMatch, ...]
    unexplained: tuple[Unexplained, ...]
    unexplained_dropped: int = 0

    @property
    def exit_code(self) -> int:
        """1 with a critical known error; 3 where error lines stayed unexplained, reading ended early or there was no
        text; else 0."""
        if any(match.severity == "critical" for match in self.matches):
            return 1
        return 3 if self.unexplained or any(source.complaint for source in self.sources) else 0


def sort_matches(matches: list[LogMatch]) -> tuple[LogMatch, ...]:
    """Worst first; among equals causes before symptoms, then in the order in which they came."""
    return tuple(sorted(matches, key=lambda m: (SEVERITY_ORDER[m.severity], m.symptom, m.in_order)))
