"""The directory of a stress run.

run.json          what was asked
rounds.jsonl      a line for each round, on disk before the next begins
results.json      `xpukit.bench-stress/1`, rewritten after each round
report.html       the same as a page with curves
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from xpukit.core.atomic import write_atomic
from xpukit.core.errors import OutputError, UsageError
from xpukit.core.json_document import BAD_JSON, build_document, encode_json
from xpukit.operate.bench.matrix import PointPlan
from xpukit.operate.stress.judge import Rules
from xpukit.operate.stress.result import STRESS_SCHEMA, Round, StressReport

RUN_SCHEMA = "xpukit.bench-stress-run/1"


class StressRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What a run was asked to do. How long it may go on is no part of it: it can be continued for longer."""

    schema: str = RUN_SCHEMA
    created: str = ""
    url: str = ""
    points: tuple[PointPlan, ...] = ()
    rules: Rules


class StressDirectory:
    """Reads and writes one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._whole_bytes = 0

    @classmethod
    def open(cls, path: Path, record: StressRecord, *, resume: bool) -> StressDirectory:
        """Make it, or go on with it where it was asked for the same. Raises UsageError, OutputError."""
        directory = cls(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
            started = (path / "run.json").exists()
        except OSError as err:
            raise OutputError(f"{path}: cannot be made: {err.strerror}", hint="name another place with --out") from err
        if started:
            directory._check_same(record, resume=resume)
        else:
            write_atomic(path / "run.json", encode_json(record).encode())
        return directory

    def _check_same(self, record: StressRecord, *, resume: bool) -> None:
        if not resume:
            raise UsageError(f"{self.path}: not empty", hint="name a new directory, or go on with --resume")
        try:
            before = msgspec.json.decode((self.path / "run.json").read_bytes(), type=StressRecord)
        except (OSError, *BAD_JSON) as err:
            raise UsageError(f"{self.path}: no run that can be continued: {err}", hint="name a new directory") from err
        if msgspec.structs.replace(before, created=record.created) != record:
            raise UsageError(
                f"{self.path}: it was asked for something else", hint="run.json holds what; name a new directory"
            )

    def read_rounds(self) -> list[Round]:
        """The rounds in order, up to the first line that is damaged (a power cut tears the last one)."""
        rounds: list[Round] = []
        self._whole_bytes = 0
        try:
            data = (self.path / "rounds.jsonl").read_bytes()
        except OSError:
            return rounds
        for line in data.splitlines(keepends=True):
            try:
                found = msgspec.json.decode(line, type=Round)
            except BAD_JSON:
                break
            if found.number != len(rounds) + 1 or not line.endswith(b"\n"):
                break
            rounds.append(found)
            self._whole_bytes += len(line)
        return rounds

    def append(self, found: Round) -> None:
        """Add a round behind the whole lines; what a torn write left there goes. Raises OutputError."""
        path = self.path / "rounds.jsonl"
        line = msgspec.json.encode(found) + b"\n"
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
            with os.fdopen(handle, "wb") as file:
                file.truncate(self._whole_bytes)
                file.seek(self._whole_bytes)
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as err:
            raise OutputError(f"{path}: cannot be written: {err.strerror}", hint="check the disk") from err
        self._whole_bytes += len(line)

    def write_report(self, report: StressReport, page: str) -> None:
        """Raises OutputError."""
        write_atomic(self.path / "results.json", encode_json(build_document(STRESS_SCHEMA, "", report)).encode())
        write_atomic(self.path / "report.html", page.encode())
