"""Goes through logs once and collects known errors, and error lines that nothing explains."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import BinaryIO, NamedTuple

from xpukit.doctor.log_lines import LogLine, may_be_loud, parse_line, shape_line, squeeze, trim_line, unpack_bytes
from xpukit.doctor.log_report import LogReport, LogSourceReport
from xpukit.doctor.log_stream import LogStream
from xpukit.doctor.log_tally import Tally
from xpukit.doctor.log_traceback import Tracebacks, is_exception
from xpukit.doctor.signatures import WINDOW_LIMIT_CHARS, Rule, ShapeSorter, Signatures, Sorted, load_signatures

# A message that was broken mostly stands on two or three lines; a long one on a narrow terminal on more.
_REACH = 4
_WINDOWS = ((0, 0), (-1, 0), (0, 1), (-2, 0), (-1, 1), (0, 2), (-_REACH, _REACH))
_CONTEXT_LINES = 2


def scan_logs(sources: Sequence[tuple[str, BinaryIO]], *, signatures: Signatures | None = None) -> LogReport:
    """Explain logs together: what one says may be the context of what another says. Never raises for their content."""
    scan = LogScan(signatures or load_signatures())
    for name, raw in sources:
        scan.read(name, raw)
    return scan.finish()


class LogScan:
    """One pass over some sources."""

    def __init__(self, signatures: Signatures) -> None:
        self._sorter = ShapeSorter(signatures)
        self._tally = Tally(signatures)
        self._sources: list[LogSourceReport] = []

    def read(self, name: str, raw: BinaryIO) -> None:
        """Go through one source."""
        stream = LogStream(raw)
        source = _SourceScan(name, self._sorter, self._tally)
        for block in stream.blocks():
            source.take(block)
        source.close()
        self._sources.append(
            LogSourceReport(name=name, lines=source.lines, bytes=stream.read_bytes, complaint=stream.complaint)
        )

    def finish(self) -> LogReport:
        """What was found."""
        return self._tally.report(tuple(self._sources))


class _Found(NamedTuple):
    """A rule that matched lines, with the lines around them."""

    rule: Rule
    match: re.Match[str]
    numbers: tuple[int, int]
    shown: Sequence[bytes]
    around: tuple[Sequence[bytes], Sequence[bytes]]


class _SourceScan:
    """Keeps the last lines of each block, so that a message broken at its end is found in the next."""

    def __init__(self, name: str, sorter: ShapeSorter, tally: Tally) -> None:
        self._name = name
        self._sorter = sorter
        self._tally = tally
        self._tracebacks = Tracebacks()
        # Lines that were looked at and are kept as neighbours, then lines that wait for theirs.
        self._kept: list[bytes] = []
        self._done = 0
        # Explained lines; True when by more than a fallback.
        self._covered: dict[int, bool] = {}
        self._fallbacks: list[_Found] = []
        self._loud: list[tuple[int, LogLine, bool]] = []
        self.lines = 0

    def take(self, block: bytes) -> None:
        lines = block.split(b"\n")
        if not lines[-1]:
            lines.pop()
        if b'"MESSAGE"' in block:
            lines = [unpack_bytes(line) for line in lines]
        self._advance([trim_line(line) for line in lines], last=False)

    def close(self) -> None:
        self._advance([], last=True)
        self._settle(self.lines + _REACH)

    def _advance(self, fresh: list[bytes], *, last: bool) -> None:
        lines = self._kept + fresh
        first_number = self.lines - len(self._kept) + 1
        self.lines += len(fresh)
        end = len(lines) if last else max(self._done, len(lines) - _REACH)
        shapes = [shape_line(line) for line in lines]
        self._look(lines, shapes, self._sorter.sort(shapes), (self._done, end), first_number)
        self._settle(first_number + end - 2 * _REACH)
        keep_from = max(0, end - _REACH)
        self._done = end - keep_from
        self._kept = lines[keep_from:]

    def _look(
        self,
        lines: list[bytes],
        shapes: list[bytes],
        found: list[Sorted | None],
        span: tuple[int, int],
        first_number: int,
    ) -> None:
        parsed: dict[int, LogLine] = {}
        texts: dict[int, str] = {}

        def parse(index: int) -> LogLine:
            if index not in parsed:
                parsed[index] = parse_line(lines[index])
            return parsed[index]

        def squeeze_line(index: int) -> str:
            if index not in texts:
                texts[index] = squeeze(parse(index).message)
            return texts[index]

        for index in range(*span):
            worth = found[index]
            follows = self._tracebacks.any_open
            if worth is None and not follows:
                continue
            if worth is not None:
                partly = _keep_complete(worth.partly, shapes, index) if worth.partly else ()
                if worth.whole or partly:
                    self._match(lines, squeeze_line, index, (*worth.whole, *partly), first_number)
            if not follows and not (worth and worth.loud and may_be_loud(lines[index])):
                continue
            line = parse(index)
            part = self._tracebacks.take(line)
            if part != "frame" and line.message.strip() and (part or line.loud or is_exception(line.message)):
                self._loud.append((first_number + index, line, part == "exception"))

    def _match(
        self,
        lines: list[bytes],
        squeeze_line: Callable[[int], str],
        index: int,
        rules: Sequence[Rule],
        first_number: int,
    ) -> None:
        own = squeeze_line(index)
        left = list(rules)
        if not all(rule.pattern.search(own) for rule in rules):
            neighbours = range(max(0, index - _REACH), min(len(lines), index + _REACH + 1))
            widest = "".join(squeeze_line(place) for place in neighbours)[:WINDOW_LIMIT_CHARS]
            left = [rule for rule in rules if rule.pattern.search(own) or rule.pattern.search(widest)]
        for before, after in _WINDOWS:
            low, high = max(0, index + before), min(len(lines) - 1, index + after)
            if not left:
                return
            texts = [squeeze_line(place) for place in range(low, high + 1)]
            window = "".join(texts)[:WINDOW_LIMIT_CHARS]
            for rule in tuple(left):
                found = rule.pattern.search(window)
                if found is None:
                    continue
                touched = _find_touched(texts, found)
                if index - low not in touched:
                    continue  # it lies in a neighbour alone, which is looked at by itself
                left.remove(rule)
                first, final = low + touched[0], low + touched[-1]
                numbers = (first_number + first, first_number + final)
                self._cover(rule, range(numbers[0], numbers[1] + 1))
                found_here = _Found(
                    rule,
                    found,
                    numbers,
                    lines[first : final + 1],
                    (lines[max(0, first - _CONTEXT_LINES) : first], lines[final + 1 : final + 1 + _CONTEXT_LINES]),
                )
                if rule.row.fallback:
                    self._fallbacks.append(found_here)
                else:
                    self._add(found_here)

    def _cover(self, rule: Rule, numbers: range) -> None:
        """Remember that these lines are explained, and whether by more than a fallback."""
        if not rule.row.context:
            for number in numbers:
                self._covered[number] = self._covered.get(number, False) or not rule.row.fallback

    def _add(self, found: _Found) -> None:
        self._tally.add(found.rule, found.match, self._name, found.numbers, found.shown, found.around)

    def _settle(self, before: int) -> None:
        """Lines below this number have been looked at with all their neighbours."""
        loud, self._loud = self._loud, []
        for number, line, traceback in loud:
            if number >= before:
                self._loud.append((number, line, traceback))
            elif number not in self._covered:
                self._tally.add_unexplained(line, self._name, number, traceback=traceback)
        fallbacks, self._fallbacks = self._fallbacks, []
        for found in fallbacks:
            first, last = found.numbers
            if last >= before:
                self._fallbacks.append(found)
            elif not any(self._covered.get(number, False) for number in range(first, last + 1)):
                self._add(found)
        for number in [number for number in self._covered if number < before - _REACH]:
            del self._covered[number]


def _keep_complete(rules: Sequence[Rule], shapes: Sequence[bytes], index: int) -> tuple[Rule, ...]:
    """The rules of which enough pieces lie in a line and its neighbours."""
    around = b"\n".join(shapes[max(0, index - _REACH) : index + _REACH + 1])
    return tuple(rule for rule in rules if sum(piece in around for piece in rule.pieces) >= rule.least_pieces)


def _find_touched(texts: Sequence[str], found: re.Match[str]) -> list[int]:
    start, end = found.span()
    position = 0
    touched = []
    for place, text in enumerate(texts):
        if start < position + len(text) and end > position:
            touched.append(place)
        position += len(text)
    return touched or [0]
