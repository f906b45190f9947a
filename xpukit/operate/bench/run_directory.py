"""The directory of a benchmark run: whole files only, enough to go on after an interruption.

run.json          what was asked
runs/*.json       one per finished run of a point: its result
logs/*.log        what the engine's benchmark printed
results.json      `xpukit.bench/1`, rewritten after each run
report.html       the same as a page
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from xpukit.core.atomic import write_atomic
from xpukit.core.errors import OutputError, UsageError
from xpukit.core.json_document import BAD_JSON, build_document, encode_json
from xpukit.operate.bench.matrix import PointPlan
from xpukit.operate.bench.report import REPORT_SCHEMA, BenchReport
from xpukit.operate.bench.result import BenchResult

RUN_SCHEMA = "xpukit.bench-run/1"


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What a run was asked to do. `client`: builtin or the engine whose benchmark drives it."""

    schema: str = RUN_SCHEMA
    created: str = ""
    client: str = "builtin"
    url: str = ""
    repeats: int = 1
    warmup: int = 1
    points: tuple[PointPlan, ...] = ()


class RunOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """A finished run of a point, or why there is no result. `key` ties it to the exact point."""

    key: str
    repeat: int
    result: BenchResult | None = None
    failure: str = ""


class BenchRunDirectory:
    """Reads and writes one run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def open(cls, path: Path, record: RunRecord, *, resume: bool) -> BenchRunDirectory:
        """Make it, or go on with it where it was asked for the same. Raises UsageError, OutputError."""
        directory = cls(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
            if any(path.iterdir()):
                directory._check_same(record, resume=resume)
                return directory
            for name in ("runs", "logs"):
                (path / name).mkdir()
        except OSError as err:
            raise OutputError(f"{path}: cannot be made: {err.strerror}", hint="name another place with --out") from err
        write_atomic(path / "run.json", encode_json(record).encode())
        return directory

    def _check_same(self, record: RunRecord, *, resume: bool) -> None:
        if not resume:
            raise UsageError(f"{self.path}: not empty", hint="name a new directory, or go on with --resume")
        try:
            before = msgspec.json.decode((self.path / "run.json").read_bytes(), type=RunRecord)
        except (OSError, *BAD_JSON) as err:
            raise UsageError(f"{self.path}: no run that can be continued: {err}", hint="name a new directory") from err
        same = msgspec.structs.replace(before, created=record.created, repeats=record.repeats)
        if same != record:
            raise UsageError(
                f"{self.path}: it was asked for something else", hint="run.json holds what; name a new directory"
            )

    def log_path(self, plan: PointPlan, repeat: int) -> Path:
        return self.path / "logs" / f"{plan.name}-{plan.key}-{repeat}.log"

    def _outcome_path(self, plan: PointPlan, repeat: int) -> Path:
        return self.path / "runs" / f"{plan.name}-{plan.key}-{repeat}.json"

    def read_outcome(self, plan: PointPlan, repeat: int) -> RunOutcome | None:
        """A finished run; None where there is none or its file is damaged."""
        try:
            found = msgspec.json.decode(self._outcome_path(plan, repeat).read_bytes(), type=RunOutcome)
        except (OSError, *BAD_JSON):
            return None
        return found if (found.key, found.repeat) == (plan.key, repeat) else None

    def write_outcome(self, plan: PointPlan, outcome: RunOutcome) -> None:
        """Raises OutputError."""
        write_atomic(self._outcome_path(plan, outcome.repeat), encode_json(outcome).encode())

    def write_report(self, report: BenchReport, page: str) -> None:
        """Raises OutputError."""
        write_atomic(self.path / "results.json", encode_json(build_document(REPORT_SCHEMA, "", report)).encode())
        write_atomic(self.path / "report.html", page.encode())
