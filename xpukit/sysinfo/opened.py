"""A bundle opened to look into it: what it holds, one answer of it, all answers as files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from xpukit.core.errors import BadRecordingError, CouldNotJudgeError, OutputError, UsageError
from xpukit.core.json_document import BAD_JSON
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
from xpukit.host.mediated import Question
from xpukit.host.recording_format import (
    BLOBS,
    MANIFEST,
    RecordingFiles,
    read_lines,
    read_manifest,
    unpack_answer,
)
from xpukit.sysinfo.collection import SysinfoReport, fill_sizes
from xpukit.sysinfo.entry import measure_answer
from xpukit.sysinfo.limits import name_question

DOCUMENTS = ("summary.md", "probe.json", "findings.json", "collection.json", "redaction.json", MANIFEST)
_TYPES: dict[str, type[msgspec.Struct]] = {
    "run": Ran,
    "read": FileAnswer,
    "list": NamesAnswer,
    "env-names": NamesAnswer,
    "link": LinkAnswer,
    "resolve": LinkAnswer,
    "stat": StatAnswer,
    "which": FoundAnswer,
    "env": FoundAnswer,
    "udev": UdevAnswer,
    "level-zero": LevelZeroAnswer,
    "memory": MemoryAnswer,
    "processes": ProcessesAnswer,
    "identity": IdentityAnswer,
}
_UNSAFE = re.compile(r"[^A-Za-z0-9._+:@=,-]+")
_NAME_CHARS = 120
_SHOWN_MATCHES = 12


class OpenedBundle:
    """The contents of a bundle (or of any recording: then there is no `report`). Raises BadRecordingError.

    What is damaged in it costs only itself: `complaints` says what was passed over.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._files = RecordingFiles(path)
        self.manifest = read_manifest(self._files)
        self._lines, self.damaged_lines = read_lines(self._files)
        self.complaints: list[str] = []
        if self.damaged_lines:
            self.complaints.append(f"{self.damaged_lines} answers are damaged and were passed over")
        self.report = self._read_report()

    def _read_report(self) -> SysinfoReport | None:
        raw = self._files.load("collection.json")
        if raw is None:
            return None
        try:
            report = msgspec.json.decode(raw, type=SysinfoReport)
        except BAD_JSON as err:
            self.complaints.append(f"its collection.json is damaged: {err}")
            return None
        questions = {name_question(question): question for question in self._lines}
        return fill_sizes(report, lambda what: self._measure(questions[what]) if what in questions else 0)

    def _measure(self, question: Question) -> int:
        """Bytes of an answer; 0 for one that is damaged (asked for by itself, it says so)."""
        try:
            answer = self.load_answer(question)
        except BadRecordingError:
            return 0
        # An answer that is no answer has no size.
        return 0 if answer is None or str(getattr(answer, "error", "")) else measure_answer(answer)

    def list_documents(self) -> tuple[tuple[str, int], ...]:
        """(name, size in bytes) of the files beside the answers."""
        loaded = ((name, self._files.load(name)) for name in DOCUMENTS)
        return tuple((name, len(data)) for name, data in loaded if data is not None)

    @property
    def questions(self) -> tuple[Question, ...]:
        """All that was asked, in order."""
        return tuple(self._lines)

    def find_text(self, what: str) -> bytes:
        """A file of the bundle, or the answer to a question: "read /etc/os-release", "/etc/os-release", "uname -a".

        A part of a question does where only one question has it. Raises UsageError, and CouldNotJudgeError where the
        answer is damaged.
        """
        if what in DOCUMENTS:
            data = self._files.load(what)
            if data is None:
                raise UsageError(f"{self.path} has no {what}", hint="it is no bundle, or its making was cut short")
            return data
        question = self._find_question(what)
        try:
            return self.render_answer(question)
        except BadRecordingError as err:
            raise CouldNotJudgeError(
                f"{self.path}: the answer to {name_question(question)} is damaged: {err.message}",
                hint=err.hint or "the other answers can still be read",
            ) from err

    def _find_question(self, what: str) -> Question:
        names = {question: name_question(question) for question in self._lines}
        for exact in (
            [question for question, name in names.items() if name == what],
            # A path or a command alone: what it says before what it is.
            [q for kind in ("read", "run", "list", "resolve") for q in names if names[q] == f"{kind} {what}"],
        ):
            if exact:
                return exact[0]
        found = [question for question, name in names.items() if what in name]
        if len(found) == 1:
            return found[0]
        if not found:
            raise UsageError(
                f"{self.path} holds no answer to: {what}", hint=f"see: xpukit sysinfo show {self.path} --entries"
            )
        shown = "; ".join(names[question] for question in found[:_SHOWN_MATCHES])
        more = f"; and {len(found) - _SHOWN_MATCHES} more" if len(found) > _SHOWN_MATCHES else ""
        raise UsageError(f"{len(found)} questions match {what!r}", hint=f"name one: {shown}{more}")

    def load_answer(self, question: Question) -> msgspec.Struct | None:
        """The (last) answer, None for a kind of question that this version does not know."""
        answer_type = _TYPES.get(question[0]) if question else None
        if answer_type is None:
            return None
        return unpack_answer(self._lines[question][-1], answer_type, self._load_blob)

    def _load_blob(self, name: str) -> bytes:
        blob = self._files.load(f"{BLOBS}/{name}") if "/" not in name else None
        if blob is None:
            raise BadRecordingError(f"{self.path}: {BLOBS}/{name} is missing", hint="the bundle is incomplete")
        return blob

    def render_answer(self, question: Question) -> bytes:
        """An answer as one would have seen it on the machine; a failure in words."""
        answer = self.load_answer(question)
        if answer is None:
            return msgspec.json.encode(self._lines[question][-1]) + b"\n"
        if isinstance(answer, Ran):
            said = b"" if answer.ok else f"[xpukit: {answer.describe_failure()}]\n".encode()
            return _end_line(answer.out) + _end_line(answer.err) + said
        error = str(getattr(answer, "error", ""))
        if error:
            return f"[xpukit: {error}]\n".encode()
        if isinstance(answer, FileAnswer):
            return answer.data
        if isinstance(answer, NamesAnswer):
            return "".join(f"{name}\n" for name in answer.names).encode()
        if isinstance(answer, LinkAnswer):
            return f"{answer.target}\n".encode()
        if isinstance(answer, FoundAnswer):
            return b"[xpukit: not there]\n" if answer.value is None else f"{answer.value}\n".encode()
        return msgspec.json.format(msgspec.json.encode(answer), indent=2) + b"\n"

    def unpack(self, directory: Path) -> int:
        """Write documents, files and command output below a new directory; how many files. Raises OutputError.

        A damaged answer is a file that says so, and one of `complaints`.

        Names come from the bundle, which may be anybody's: nothing is written outside `directory`.
        """
        count = 0
        try:
            directory.mkdir(parents=True, exist_ok=True)
            if any(directory.iterdir()):
                raise UsageError(f"{directory}: not empty", hint="unpack into a new directory")
            for path, content in self._list_files():
                _write_below(directory, path, content)
                count += 1
        except OSError as err:
            raise OutputError(f"{err.filename or directory}: cannot be written: {err.strerror}") from err
        return count

    def _render_or_complain(self, question: Question) -> bytes:
        try:
            return self.render_answer(question)
        except BadRecordingError as err:
            self.complaints.append(f"the answer to {name_question(question)} is damaged: {err.message}")
            return f"[xpukit: damaged: {err.message}]\n".encode()

    def _list_files(self) -> Iterator[tuple[tuple[str, ...], bytes]]:
        for name, _ in self.list_documents():
            yield (name,), self._files.load(name) or b""
        rest = []
        for question in self._lines:
            if question[0] == "read" and len(question) == 2:
                yield ("read", *_split_path(question[1])), self._render_or_complain(question)
            elif question[0] == "run":
                yield ("run", f"{_make_safe(name_question(question[1:]))}.txt"), self._render_or_complain(question)
            else:
                rest.append(b"# " + name_question(question).encode() + b"\n" + self._render_or_complain(question))
        yield ("other.txt",), b"\n".join(rest)


def _end_line(text: bytes) -> bytes:
    return text if not text or text.endswith(b"\n") else text + b"\n"


def _make_safe(name: str) -> str:
    safe = _UNSAFE.sub("_", name).strip("_")[:_NAME_CHARS]
    return "_" if safe in ("", ".", "..") else safe


def _split_path(path: str) -> tuple[str, ...]:
    return tuple(_make_safe(part) for part in path.split("/") if part) or ("_",)


def _write_below(directory: Path, parts: tuple[str, ...], content: bytes) -> None:
    path = directory.joinpath(*parts)
    if path.exists() or any(parent.is_file() for parent in path.parents):
        # Two names that became one, or a file where another needs a directory.
        flat = "_".join(parts)[-_NAME_CHARS:]
        path = next(new for number in range(1, 1 << 20) if not (new := directory / f"{flat}.{number}").exists())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
