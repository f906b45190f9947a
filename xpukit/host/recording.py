"""`RecordingHost`: asks another host and writes each question and its answer down, scrubbed."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, TypeVar

import msgspec

from xpukit import __version__
from xpukit.core.atomic import write_atomic
from xpukit.core.errors import OutputError, UsageError
from xpukit.core.json_document import encode_json, now_utc
from xpukit.host.door import Host
from xpukit.host.mediated import MediatedHost, Question
from xpukit.host.recording_format import (
    ANSWERS,
    BLOBS,
    FORMAT,
    MANIFEST,
    Manifest,
    pack_answer,
    scrub_named,
    scrub_words,
)
from xpukit.host.redaction.directory import redact_directory
from xpukit.host.redaction.redactor import Redactor
from xpukit.host.scrub import Scrubber, build_scrubber

A = TypeVar("A", bound=msgspec.Struct)


class RecordingHost(MediatedHost):
    """Writes to `directory` as answers come, so that a run that is cut short leaves what it had.

    The asker gets the answer as the machine gave it; the recording gets it scrubbed.
    """

    def __init__(
        self,
        inner: Host,
        directory: Path,
        *,
        command: Sequence[str] = (),
        scrub: Scrubber | None = None,
        covers: Sequence[str] = (),
    ) -> None:
        super().__init__(inner)
        self.directory = directory
        self._command = tuple(command)
        self._covers = tuple(covers)
        self._scrub = scrub or build_scrubber(inner.identity())
        self._last: dict[Question, bytes] = {}
        self._created = now_utc()
        try:
            directory.mkdir(parents=True, exist_ok=True)
            if any(directory.iterdir()):
                raise UsageError(f"{directory}: not empty", hint="record into a new directory")
            self._write_manifest(complete=False)
            self._answers: IO[bytes] = (directory / ANSWERS).open("wb")
        except OSError as err:
            raise OutputError(f"{directory}: cannot record there: {err.strerror}") from err

    def mediate(self, question: Question, answer_type: type[A], ask: Callable[[], A]) -> A:
        answer = ask()
        self.keep(question, answer)
        return answer

    def keep(self, question: Question, answer: msgspec.Struct) -> None:
        """Write an answer down that was got elsewhere. For one thread only. Raises OutputError."""
        if isinstance(self._scrub, Redactor):
            self._scrub.about(" ".join(question))
        packed = pack_answer(answer, self._scrub, self._store_blob, question)
        line = msgspec.json.encode({"question": self._scrub_question(question), "answer": packed})
        if self._last.get(question) != line:
            self._last[question] = line
            try:
                self._answers.write(line + b"\n")
            except OSError as err:
                raise OutputError(f"{self.directory / ANSWERS}: {err.strerror}") from err

    def close(self, *, complete: bool = True) -> None:
        """Finish the recording. Calling it twice does no harm."""
        if self._answers.closed:
            return
        try:
            self._answers.close()
            if isinstance(self._scrub, Redactor):
                self._scrub.about("")
                redact_directory(self.directory, self._scrub)
            self._write_manifest(complete=complete)
        except OSError as err:
            raise OutputError(f"{self.directory}: the recording is incomplete: {err.strerror}") from err

    def _scrub_question(self, question: Question) -> list[str]:
        """Argument lists are scrubbed as a whole; "\\0" stands between a command and its settings."""
        if "\0" not in question:
            return scrub_words(question, self._scrub)
        place = question.index("\0")
        return [*scrub_words(question[:place], self._scrub), "\0", *scrub_words(question[place + 1 :], self._scrub)]

    def _store_blob(self, name: str, content: bytes) -> None:
        blob = self.directory / BLOBS / name
        if not blob.exists():
            blob.parent.mkdir(exist_ok=True)
            blob.write_bytes(content)

    def _write_manifest(self, *, complete: bool) -> None:
        manifest = Manifest(
            format=FORMAT,
            xpukit_version=__version__,
            created=self._created,
            command=tuple(scrub_words(self._command, self._scrub)),
            host=scrub_named("hostname", self.inner.identity().hostname, self._scrub),
            complete=complete,
            covers=self._covers,
            names_map=self._scrub.map.id if isinstance(self._scrub, Redactor) else "",
        )
        write_atomic(self.directory / MANIFEST, encode_json(manifest).encode())


def pack_recording(directory: Path, archive: Path) -> None:
    """Write a recording's directory as one .tar.zst, .tar.xz or .tar.gz (by name), atomically, mode 0600.

    Members are sorted and carry no owner or time: the same recording gives the same archive.
    """
    suffix = "".join(archive.suffixes[-2:])
    buffer = io.BytesIO()
    mode: Any = {".tar.xz": "w:xz", ".tar.gz": "w:gz", ".tar.zst": "w", ".tar": "w"}.get(suffix)
    if mode is None:
        raise UsageError(f"{archive}: name it .tar.zst, .tar.xz, .tar.gz or .tar")
    with tarfile.open(fileobj=buffer, mode=mode) as packed:
        for path in sorted(directory.rglob("*")):
            if path.is_file():
                member = tarfile.TarInfo(str(path.relative_to(directory)))
                content = path.read_bytes()
                member.size = len(content)
                member.mode = 0o600
                packed.addfile(member, io.BytesIO(content))
    content = buffer.getvalue()
    if suffix == ".tar.zst":
        import zstandard

        content = zstandard.ZstdCompressor(level=10, write_checksum=True).compress(content)
    write_atomic(archive, content, mode=0o600)
