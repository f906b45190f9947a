"""The directory of a context search: run.json, tries.jsonl (one a line, on disk at once), logs, results.json."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from xpukit.core.atomic import write_atomic
from xpukit.core.errors import OutputError, UsageError
from xpukit.core.json_document import BAD_JSON, build_document, encode_json
from xpukit.operate.context.search import CONTEXT_SCHEMA, Bounds, ContextReport, Try

RUN_SCHEMA = "xpukit.bench-context-run/1"


class ContextRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked."""

    schema: str = RUN_SCHEMA
    what: str
    bounds: Bounds


class ContextDirectory:
    """Reads and writes one search."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def open(cls, path: Path, record: ContextRecord, *, resume: bool) -> ContextDirectory:
        """Make it, or go on with it where it was asked for the same. Raises UsageError, OutputError."""
        try:
            path.mkdir(parents=True, exist_ok=True)
            started = (path / "run.json").exists()
        except OSError as err:
            raise OutputError(f"{path}: cannot be made: {err.strerror}", hint="name another place with --out") from err
        if started and not resume:
            raise UsageError(f"{path}: not empty", hint="name a new directory, or go on with --resume")
        if started:
            try:
                before = msgspec.json.decode((path / "run.json").read_bytes(), type=ContextRecord)
            except (OSError, *BAD_JSON) as err:
                raise UsageError(f"{path}: no search that can be continued: {err}", hint="a new directory") from err
            # More tries than before are no other question.
            same = (
                msgspec.structs.replace(before.bounds, most_tries=record.bounds.most_tries) == record.bounds
                and before.what == record.what
            )
            if not same:
                raise UsageError(f"{path}: it was asked for something else", hint="run.json holds what")
        write_atomic(path / "run.json", encode_json(record).encode())
        return cls(path)

    def read_tries(self) -> tuple[Try, ...]:
        """Those on disk that are whole."""
        tries = []
        try:
            lines = (self.path / "tries.jsonl").read_bytes().splitlines()
        except OSError:
            return ()
        for line in lines:
            try:
                tries.append(msgspec.json.decode(line, type=Try))
            except BAD_JSON:
                continue
        return tuple(tries)

    def keep(self, found: Try) -> None:
        """Add a try. One that could not be judged is not kept: it is tried again. Raises OutputError."""
        if found.outcome == "unknown":
            return
        path = self.path / "tries.jsonl"
        try:
            with path.open("ab") as file:
                # A line that a power cut tore ends here.
                file.write((b"\n" if file.tell() else b"") + msgspec.json.encode(found))
                file.flush()
                os.fsync(file.fileno())
        except OSError as err:
            raise OutputError(f"{path}: cannot be written: {err.strerror}", hint="check the disk") from err

    def write_report(self, report: ContextReport) -> None:
        """Raises OutputError."""
        write_atomic(self.path / "results.json", encode_json(build_document(CONTEXT_SCHEMA, "", report)).encode())
