"""Failures that Intel MPI's launcher and oneCCL print, most of them to standard output, often with exit code 0."""

from __future__ import annotations

import re

from xpukit.evaluate.parsers.lines import TEXT_LENGTH, Line, Problem, ProblemKind, Stream, find_problem

# oneCCL's log lines; two may share a line, and one may follow a table row without a line break.
CCL_LOG = re.compile(
    r"\d{4}:\d{2}:\d{2}-\d{2}:\d{2}:\d{2}:\s{0,4}\(?\s{0,8}\d{1,10}\)?(?::\[\d{1,7}\])?\s?\|CCL_(\w{1,12})\|"
)

_BLOCK_LINES = 6  # rank, process, signal or exit code of one BAD TERMINATION
_BAD_TERMINATION = re.compile(r"BAD TERMINATION OF ONE OF YOUR APPLICATION PROCESSES")
_RANK = re.compile(r"^=\s+RANK (\d{1,7}) PID \d{1,10}")
_END = re.compile(r"^=\s+(KILLED BY SIGNAL: .{1,80}|EXIT (?:CODE|STATUS): .{1,80})")
_EXIT_STRING = re.compile(r"APPLICATION TERMINATED WITH THE EXIT STRING: (.{1,120})")
_SIGNS: tuple[tuple[re.Pattern[str], ProblemKind], ...] = (
    (re.compile(r"errors? while parsing user options|non-option ARGV-elements|^USAGE:"), "usage"),
    (re.compile(r"\b(?:invalid|unrecognized) option\b|option requires an argument"), "usage"),
    (re.compile(r"\bKILLED BY SIGNAL\b"), "aborted"),
    (re.compile(r"\bAbort\(\d{1,12}\)|\bFatal error in\b|\bMPI_Abort\b"), "aborted"),
    (re.compile(r"\bHYD\w{1,40} \(|\[mpiexec@|\[proxy:\d"), "error"),
    (re.compile(r"\boneCCL: .*\bEXCEPTION\b|\bunknown coll\b"), "error"),
    (re.compile(r"\bgot:? .{1,80}\bexpected\b|\bexpected:? .{1,80}\bgot\b"), "bad-data"),
)  # fmt: skip


class FailureReader:
    """Looks at each line in turn; a BAD TERMINATION block becomes one problem, with the rank and how it ended."""

    def __init__(self, stream: Stream = "out") -> None:
        self._stream: Stream = stream
        self._open: tuple[int, int, str] | None = None  # line, lines left, rank

    def take(self, line: Line) -> Problem | None:
        text = line.text.strip()
        if self._open is not None:
            problem = self._take_block(line, text)
            if problem is not None or self._open is not None:
                return problem
        if _BAD_TERMINATION.search(text):
            self._open = (line.number, _BLOCK_LINES, "")
            return None
        said = _EXIT_STRING.search(text)
        if said:
            return self._make(line.number, "aborted", f"the launcher says: {said[1].strip()}")
        return self._find(line, text)

    def done(self) -> Problem | None:
        """A block that the end of the text cut short."""
        if self._open is None:
            return None
        number, _, rank = self._open
        self._open = None
        return self._make(number, "aborted", f"BAD TERMINATION{rank}")

    def _take_block(self, line: Line, text: str) -> Problem | None:
        assert self._open is not None
        number, left, rank = self._open
        named = _RANK.match(text)
        ended = _END.match(text)
        if ended:
            self._open = None
            return self._make(number, "aborted", f"BAD TERMINATION{rank}: {ended[1].strip()}")
        if named:
            rank = f" of rank {named[1]}"
        if left <= 1 or not text.startswith("="):
            return self.done()
        self._open = (number, left - 1, rank)
        return None

    def _find(self, line: Line, text: str) -> Problem | None:
        logged = [match[1] for match in CCL_LOG.finditer(text)]
        if "ERROR" in logged:
            return self._make(line.number, "error", text)
        if logged:
            return None  # warnings and information, whatever words they use
        for sign, kind in _SIGNS:
            if sign.search(text):
                return self._make(line.number, kind, text)
        return find_problem(line, self._stream)

    def _make(self, number: int, kind: ProblemKind, text: str) -> Problem:
        return Problem(line=number, kind=kind, text=text[:TEXT_LENGTH], stream=self._stream)


def find_failures(text_lines: list[Line], stream: Stream = "out") -> list[Problem]:
    """All failures of a text that holds no readings (standard error)."""
    reader = FailureReader(stream)
    found = [problem for line in text_lines if (problem := reader.take(line))]
    last = reader.done()
    return [*found, last] if last else found
