"""The directory of a run: written as results come, whole files only, enough to resume and to report from.

run.json       what was asked: options, devices, suite; made first
probe.json     the machine
jobs/*.json    one per finished child process: what it measured, what is missing
logs/*.log     its raw output
results.json   `xpukit.evaluate/1`, rewritten after each job
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import msgspec

from xpukit.core.atomic import write_atomic
from xpukit.core.errors import OutputError, UsageError
from xpukit.core.json_document import BAD_JSON, encode_json
from xpukit.core.measurement import Job, Measurement, Promise
from xpukit.evaluate.result import JobRecord

RUN_SCHEMA = "xpukit.run/1"


class RunOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a run was asked to do; kept so that `--resume` does the same."""

    schema: str = RUN_SCHEMA
    xpukit_version: str = ""
    created: str = ""
    suite: str = "standard"
    engine: str = "embedded"
    devices: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    repeat: int = 1
    seed: int = 1
    strict: bool = False
    plant_error: bool = False
    references: tuple[str, ...] = ()


class JobOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a job gave. `fingerprint` ties it to the exact request, so that a resumed run does not mix two."""

    fingerprint: str
    record: JobRecord
    engine: str
    measurements: tuple[Measurement, ...] = ()
    missing: tuple[tuple[Promise, str], ...] = ()
    impossible: tuple[tuple[Promise, str], ...] = ()


def fingerprint_job(job: Job) -> str:
    """A hash of what the job runs (without the interpreter's path, which may move)."""
    parts = msgspec.json.encode([job.argv[1:], sorted(job.env.items()), job.input.decode("utf-8", "replace")])
    return hashlib.sha256(parts).hexdigest()[:16]


class RunDirectory:
    """Reads and writes one run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, path: Path, options: RunOptions) -> RunDirectory:
        """Make a new run directory. Raises UsageError when it is in use, OutputError when it cannot be made."""
        try:
            path.mkdir(parents=True, exist_ok=True)
            if any(path.iterdir()):
                raise UsageError(f"{path}: not empty", hint="name a new directory, or continue it with --resume")
            (path / "jobs").mkdir()
            (path / "logs").mkdir()
        except OSError as err:
            raise OutputError(
                f"{path}: cannot be made: {err.strerror}", hint="choose another place with --out DIR"
            ) from err
        run = cls(path)
        run.write_json("run.json", options)
        return run

    @classmethod
    def reopen(cls, path: Path) -> tuple[RunDirectory, RunOptions]:
        """Open a run to continue it. Raises UsageError when it is none."""
        try:
            raw = (path / "run.json").read_bytes()
            options = msgspec.json.decode(raw, type=RunOptions)
        except (OSError, *BAD_JSON) as err:
            raise UsageError(
                f"{path}: not a run directory ({err})", hint="give the directory that evaluate made"
            ) from err
        if options.schema != RUN_SCHEMA:
            raise UsageError(f"{path}: made by another version ({options.schema})", hint="start a new run")
        return cls(path), options

    def write_json(self, name: str, content: object) -> None:
        write_atomic(self.path / name, encode_json(content).encode())

    def write_text(self, name: str, content: str) -> None:
        write_atomic(self.path / name, content.encode())

    def log_path(self, name: str) -> Path:
        return self.path / "logs" / f"{name}.log"

    def save_outcome(self, name: str, outcome: JobOutcome) -> None:
        self.write_json(f"jobs/{name}.json", outcome)

    def load_outcome(self, name: str, fingerprint: str) -> JobOutcome | None:
        """The finished job of that name, if it is there, whole, and of the same request."""
        try:
            outcome = msgspec.json.decode((self.path / "jobs" / f"{name}.json").read_bytes(), type=JobOutcome)
        except (OSError, *BAD_JSON):
            return None
        return outcome if outcome.fingerprint == fingerprint else None

    def load_json(self, name: str) -> Any:
        """A JSON file of the run, None when it is not there or damaged."""
        try:
            return msgspec.json.decode((self.path / name).read_bytes())
        except (OSError, *BAD_JSON):
            return None


def name_file(text: str) -> str:
    """A job's name as a file name."""
    return re.sub(r"[^A-Za-z0-9_.+-]+", "_", text).strip("_.") or "job"
