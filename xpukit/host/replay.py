"""`ReplayHost`: a machine that is a recording."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from xpukit import __version__
from xpukit.core.errors import BadRecordingError, UnrecordedQuestionError
from xpukit.host.answers import (
    FileAnswer,
    FoundAnswer,
    IdentityAnswer,
    LinkAnswer,
    MemoryAnswer,
    NamesAnswer,
    ProcessesAnswer,
    Ran,
    StatAnswer,
    UdevAnswer,
)
from xpukit.host.level_zero.snapshot import LevelZeroAnswer
from xpukit.host.mediated import MediatedHost, Question
from xpukit.host.recording_format import BLOBS, RecordingFiles, read_lines, read_manifest, unpack_answer
from xpukit.host.redaction.answers import replace_in_answer
from xpukit.host.redaction.pseudonyms import PseudonymMap

# Of a question in an error message.
_SHOWN_CHARS = 120

A = TypeVar("A", bound=msgspec.Struct)


def _unrecorded(answer_type: type[A], question: Question) -> A:
    """The answer of a bundle made before the question existed: a failure named UNRECORDED."""
    blank: dict[type, Callable[[], msgspec.Struct]] = {
        Ran: lambda: Ran(argv=question[1:], rc=127, failure="UNRECORDED"),
        FileAnswer: lambda: FileAnswer(error="UNRECORDED"),
        NamesAnswer: lambda: NamesAnswer(error="UNRECORDED"),
        LinkAnswer: lambda: LinkAnswer(error="UNRECORDED"),
        FoundAnswer: lambda: FoundAnswer(error="UNRECORDED"),
        StatAnswer: lambda: StatAnswer(error="UNRECORDED"),
        UdevAnswer: lambda: UdevAnswer(error="UNRECORDED"),
        MemoryAnswer: lambda: MemoryAnswer(error="UNRECORDED"),
        ProcessesAnswer: lambda: ProcessesAnswer(error="UNRECORDED"),
        IdentityAnswer: lambda: IdentityAnswer(error="UNRECORDED"),
        LevelZeroAnswer: lambda: LevelZeroAnswer(status="unrecorded", detail="not in this recording"),
    }
    made = blank[answer_type]()
    assert isinstance(made, answer_type)
    return made


def _say_absent(answer_type: type[A]) -> A:
    made = StatAnswer(error="ENOENT")
    assert isinstance(made, answer_type)
    return made


class ReplayHost(MediatedHost):
    """Answers from a recording only.

    Strict when the recording is complete, made by this version of xpukit and covers the `command` that asks: then an
    unrecorded question is our defect or the wrong bundle. Any other recording answers it with the failure
    UNRECORDED, and `unrecorded` lists what was asked in vain so that the user can be told.

    `names` puts the real names back, if it is the map that the recording was made with (`put_back` says so).
    """

    def __init__(
        self, source: Path, *, strict: bool | None = None, command: str = "", names: PseudonymMap | None = None
    ) -> None:
        super().__init__(None)
        self._files = RecordingFiles(source)
        self.manifest = read_manifest(self._files)
        self._answers, self.damaged_lines = read_lines(self._files)
        self._names = names if names is not None and names.id == self.manifest.names_map else None
        if self._names is not None:
            put_back = self._names.put_back
            self.manifest = msgspec.structs.replace(self.manifest, host=put_back(self.manifest.host))
            answers: dict[Question, list[dict[str, Any]]] = {}
            for question, lines in self._answers.items():
                answers.setdefault(tuple(put_back(part) for part in question), []).extend(lines)
            self._answers = answers
        self._cursor: dict[Question, int] = {}
        covered = not command or not self.manifest.covers or command in self.manifest.covers
        ours = self.manifest.xpukit_version == __version__ and self.manifest.complete
        self.strict = strict if strict is not None else covered and ours
        self.unrecorded: list[Question] = []
        # Answers that are there and cannot be read, each with what is wrong: asked for them, UNRECORDED is said.
        self.misshapen: dict[Question, str] = {}

    def mediate(self, question: Question, answer_type: type[A], ask: Callable[[], A]) -> A:
        packed = self._next_answer(question)
        if packed is None:
            if question[0] == "stat" and not question[1].startswith("/"):
                # Below where xpukit was started: no recorded machine has that. (`serve` looks whether Qwen/Qwen3-8B is
                # a folder.)
                return _say_absent(answer_type)
            if self.strict and not self.damaged_lines and not self.misshapen:
                raise UnrecordedQuestionError(question, str(self._files.source))
            self.unrecorded.append(question)
            return _unrecorded(answer_type, question)
        try:
            answer = unpack_answer(packed, answer_type, self._load_blob)
        except BadRecordingError as err:
            self.misshapen.setdefault(question, f"{' '.join(question)[:_SHOWN_CHARS]}: {err.message}")
            return _unrecorded(answer_type, question)
        return replace_in_answer(answer, self._names.put_back) if self._names is not None else answer

    def holds(self, question: Question) -> bool:
        """Whether the question was asked when the recording was made."""
        return question in self._answers

    @property
    def has_real_names(self) -> bool:
        """Whether the names in the answers are this host's own again."""
        return self._names is not None

    def _next_answer(self, question: Question) -> dict[str, Any] | None:
        """Answers of a repeated question come in order; the last one stays."""
        lines = self._answers.get(question)
        if lines is None:
            return None
        position = self._cursor.get(question, 0)
        self._cursor[question] = min(position + 1, len(lines) - 1)
        return lines[position]

    def _load_blob(self, name: str) -> bytes:
        blob = self._files.load(f"{BLOBS}/{name}") if "/" not in name else None
        if blob is None:
            raise BadRecordingError(f"{BLOBS}/{name} is missing", hint="the recording is incomplete")
        return blob


class LenientView(MediatedHost):
    """A recording asked for what its machine need not have had: what is not in it was not there, and nobody is told.

    A strict replay stays strict.
    """

    def __init__(self, replay: ReplayHost) -> None:
        super().__init__(replay)
        self._replay = replay

    def mediate(self, question: Question, answer_type: type[A], ask: Callable[[], A]) -> A:
        if not self._replay.strict and not self._replay.holds(question):
            return _unrecorded(answer_type, question)
        return ask()
