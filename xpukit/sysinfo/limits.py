"""Time and size limits of a collection, held between the asker and the machine."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from xpukit.core.errors import OutputError
from xpukit.host.answers import FileAnswer, NamesAnswer, Ran
from xpukit.host.door import READ_LIMIT_BYTES, READ_TIMEOUT_S, RUN_LIMIT_BYTES, Host
from xpukit.host.mediated import MediatedHost, Question
from xpukit.sysinfo.entry import BUNDLE_FULL, Entry, judge_answer, measure_answer

A = TypeVar("A", bound=msgspec.Struct)

# Less than this is no answer worth having: the bundle counts as full.
_LAST_BYTES = 4096
# What a question and the shape of its answer take in the recording.
_LINE_BYTES = 100


class Budget:
    """Time (seconds from now) and size (bytes) that are left; a collector has its own time within the whole.

    Threads share it; the collector's time is that of the one that runs in the asking thread. With several threads
    the size may be overdrawn by what they were asking when it ran out.
    """

    def __init__(self, *, timeout_s: float, max_bytes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ends = clock() + timeout_s
        self._local = threading.local()
        self._lock = threading.Lock()
        self.bytes_left = max_bytes

    def start_collector(self, timeout_s: float) -> None:
        """From now on a collector's own limit holds too."""
        self._local.ends = min(self._ends, self._clock() + timeout_s)

    def end_collector(self) -> None:
        """Only the whole's limit holds."""
        self._local.ends = self._ends

    def take_bytes(self, count: int) -> None:
        """What an answer takes up."""
        with self._lock:
            self.bytes_left -= count

    @property
    def seconds_left(self) -> float:
        """Of the collector's time, or of all where no collector runs."""
        ends: float = getattr(self._local, "ends", self._ends)
        return ends - self._clock()

    @property
    def all_used(self) -> bool:
        """Whether the whole collection is out of time."""
        return self._clock() >= self._ends

    @property
    def full(self) -> bool:
        """Whether no further answer fits."""
        return self.bytes_left < _LAST_BYTES


class LimitedHost(MediatedHost):
    """Asks within a budget: what comes too late is a time-out, what no longer fits is `EFBIG`, neither is asked.

    Stands below the recording, so that the bundle says the same.
    """

    def __init__(self, inner: Host, budget: Budget) -> None:
        super().__init__(inner)
        self.budget = budget

    def mediate(self, question: Question, answer_type: type[A], ask: Callable[[], A]) -> A:
        refused = self._refuse(question, answer_type)
        if refused is not None:
            return refused
        answer = ask()
        self.budget.take_bytes(measure_answer(answer) + _LINE_BYTES)
        return answer

    def _refuse(self, question: Question, answer_type: type[A]) -> A | None:
        late = self.budget.seconds_left <= 0
        made: msgspec.Struct
        if answer_type is Ran and (late or self.budget.full):
            made = Ran(argv=question[1:], rc=124, failure="timeout" if late else BUNDLE_FULL)
        elif answer_type is FileAnswer and (late or self.budget.full):
            made = FileAnswer(error="ETIMEDOUT" if late else BUNDLE_FULL)
        elif answer_type is NamesAnswer and question[0] == "list" and (late or self.budget.full):
            made = NamesAnswer(error="ETIMEDOUT" if late else BUNDLE_FULL)
        else:
            return None
        assert isinstance(made, answer_type)
        return made

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float,
        input: bytes = b"",
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        limit_bytes: int = RUN_LIMIT_BYTES,
        log: Path | None = None,
        on_line: Callable[[str], None] | None = None,
    ) -> Ran:
        return super().run(
            argv,
            timeout_s=max(0.1, min(timeout_s, self.budget.seconds_left)),
            input=input,
            env=env,
            cwd=cwd,
            limit_bytes=max(0, min(limit_bytes, self.budget.bytes_left)),
            log=log,
            on_line=on_line,
        )

    def read(
        self,
        path: str,
        *,
        limit_bytes: int = READ_LIMIT_BYTES,
        timeout_s: float = READ_TIMEOUT_S,
        tail: bool = False,
    ) -> FileAnswer:
        return super().read(
            path,
            limit_bytes=max(0, min(limit_bytes, self.budget.bytes_left)),
            timeout_s=max(0.1, min(timeout_s, self.budget.seconds_left)),
            tail=tail,
        )


class StoppedError(BaseException):
    """The collection was ended; it goes through the guards of askers, who shrug off exceptions."""


class NotingHost(MediatedHost):
    """Writes an entry for every question (once), and remembers that something could not be written.

    Askers above shrug off exceptions (a defect in one costs that one); a full disk must not pass for a defect.
    """

    def __init__(
        self,
        inner: Host,
        *,
        clock: Callable[[], float] = time.monotonic,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        super().__init__(inner)
        self._clock = clock
        self._stopped = stopped
        self._noted: set[tuple[Question, str]] = set()
        self.entries: list[Entry] = []
        # What was answered, in order, for whoever writes it down.
        self.answers: list[tuple[Question, msgspec.Struct]] = []
        self.broken: OSError | OutputError | None = None

    def mediate(self, question: Question, answer_type: type[A], ask: Callable[[], A]) -> A:
        if self._stopped():
            raise StoppedError
        started = self._clock()
        try:
            answer = ask()
        except (OSError, OutputError) as err:
            self.broken = self.broken or err
            raise
        if self._stopped():
            # A command that was ended with the collection is no answer.
            raise StoppedError
        self.answers.append((question, answer))
        self.note(question, answer, self._clock() - started)
        return answer

    def note(self, question: Question, answer: msgspec.Struct, seconds: float = 0.0, *, detail: str = "") -> None:
        """Add an entry; `detail` in place of what the answer says of itself."""
        status, said = judge_answer(answer)
        if (question, status) in self._noted:
            return
        self._noted.add((question, status))
        self.entries.append(
            Entry(
                what=name_question(question),
                status=status,
                detail=detail or said,
                seconds=round(seconds, 3),
                size_bytes=measure_answer(answer),
            )
        )

    def take_entries(self) -> tuple[Entry, ...]:
        """The entries since the last call."""
        taken, self.entries = tuple(self.entries), []
        self._noted.clear()
        return taken


def name_question(question: Question) -> str:
    """A question in words: its kind and what it is about; what changes a command's answer stands in brackets."""
    words = list(question)
    extra = ""
    if "\0" in words:
        at = words.index("\0")
        extra = f" [{' '.join(words[at + 1 :])}]"
        words = words[:at]
    return " ".join(words) + extra
