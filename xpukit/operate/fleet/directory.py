"""The directory of a fleet's run: each host's answer as it comes, enough to go on from.

fleet.json          what was asked: command, hosts, how they are reached; made first
index.jsonl         one line per host when it is done with; the last line of a host counts
hosts/NAME/         its document (results.json, probe.json ...), other files, what it said (log.txt)
index.parquet       rows of all results.json, where pyarrow is installed
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec

from xpukit.core.atomic import write_atomic
from xpukit.core.errors import OutputError, UsageError
from xpukit.core.json_document import BAD_JSON, encode_json, now_utc
from xpukit.operate.fleet.command import FleetCommand
from xpukit.operate.fleet.hosts import FleetHost
from xpukit.operate.fleet.result import HostRecord

SCHEMA = "xpukit.fleet-run/1"
_INDEX = "index.jsonl"


class FleetOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a run was asked to do; kept so that `--resume` does the same. Of the command's files the content too."""

    schema: str = SCHEMA
    xpukit_version: str
    created: str
    command: FleetCommand
    hosts: tuple[FleetHost, ...]
    address: str = ""
    ssh_config: str = ""
    strict_keys: bool = False
    ray: str = ""
    remote_ray: str = ""
    head_address: str = ""
    program: str = ""
    send: bool = False
    python: str = ""
    at_once: int = 200
    limit_s: float = 0.0
    hold: dict[str, str] = {}


class FleetDirectory:
    """Reads and writes one run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, path: Path, options: FleetOptions) -> FleetDirectory:
        """Make a new one. Raises UsageError when it is in use, OutputError when it cannot be made."""
        try:
            path.mkdir(parents=True, exist_ok=True)
            if any(path.iterdir()):
                raise UsageError(f"{path}: not empty", hint="name a new directory, or continue it with --resume")
            (path / "hosts").mkdir()
        except OSError as err:
            raise OutputError(f"{path}: cannot be made: {err.strerror}", hint="choose another with --out") from err
        run = cls(path)
        write_atomic(path / "fleet.json", encode_json(options).encode())
        return run

    @classmethod
    def reopen(cls, path: Path) -> tuple[FleetDirectory, FleetOptions]:
        """Open a run to go on with it. Raises UsageError when it is none."""
        try:
            options = msgspec.json.decode((path / "fleet.json").read_bytes(), type=FleetOptions)
        except (OSError, *BAD_JSON) as err:
            raise UsageError(f"{path}: not a fleet's run ({err})", hint="give the directory of fleet run") from err
        if options.schema != SCHEMA:
            raise UsageError(f"{path}: made by another version ({options.schema})", hint="start a new run")
        return cls(path), options

    def load_records(self) -> dict[str, HostRecord]:
        """The last word on each host. A line that was cut short is passed over."""
        records: dict[str, HostRecord] = {}
        decoder = msgspec.json.Decoder(HostRecord)
        try:
            lines = (self.path / _INDEX).read_bytes().split(b"\n")
        except OSError:
            return records
        for line in lines:
            with contextlib.suppress(*BAD_JSON):
                record = decoder.decode(line)
                records[record.host] = record
        return records

    def list_records(self, hosts: Sequence[FleetHost]) -> tuple[HostRecord, ...]:
        """One for each host, in their order."""
        records = self.load_records()
        return tuple(records.get(host.name) or HostRecord(host=host.name, status="missing") for host in hosts)

    def list_left(self, hosts: Sequence[FleetHost]) -> tuple[FleetHost, ...]:
        """Hosts without a document."""
        records = self.list_records(hosts)
        return tuple(host for host, record in zip(hosts, records, strict=True) if record.status != "done")

    def add(self, record: HostRecord) -> None:
        """Write a host's line. Raises OutputError."""
        line = msgspec.json.encode(msgspec.structs.replace(record, ended=now_utc())) + b"\n"
        try:
            with (self.path / _INDEX).open("ab+") as index:
                # A run that was killed may have left half a line.
                if index.seek(0, 2):
                    index.seek(-1, 2)
                    line = line if index.read(1) == b"\n" else b"\n" + line
                index.write(line)
        except OSError as err:
            raise OutputError(f"{self.path / _INDEX}: cannot be written: {err.strerror}", hint="free space?") from err

    def take(self, host: FleetHost, command: FleetCommand, arrived: Path, record: HostRecord) -> HostRecord:
        """Move what came from a host into its place. Raises OutputError."""
        place = self.path / "hosts" / host.folder
        document, why, verdict = _read_document(arrived / ".out", command)
        log = _read_tail(arrived / ".err")
        files = []
        try:
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir(parents=True, exist_ok=True)
            for path in sorted(arrived.rglob("*")):
                if path.is_file() and path.name not in (".out", ".err"):
                    path.replace(place / path.name)
                    files.append(path.name)
            if log:
                write_atomic(place / "log.txt", log.encode())
                files.append("log.txt")
            if document:
                write_atomic(place / command.facts.document, document)
                files.append(command.facts.document)
        except OSError as err:
            raise OutputError(f"{place}: cannot be written: {err.strerror}", hint="free space?") from err
        shutil.rmtree(arrived, ignore_errors=True)
        if document:
            return msgspec.structs.replace(record, status="done", verdict=verdict, files=tuple(sorted(files)))
        said = next((line for line in reversed(log.splitlines()) if line.strip()), "")
        why = record.why or (said if record.rc else why) or why
        return msgspec.structs.replace(record, status="failed", why=why[:300], files=tuple(sorted(files)))


class _Seen(msgspec.Struct, frozen=True):
    schema: str
    verdict: str = ""


def _read_document(path: Path, command: FleetCommand) -> tuple[bytes, str, str]:
    """The document, or why there is none; and its verdict."""
    try:
        content = path.read_bytes()
    except OSError:
        return b"", "nothing came back", ""
    try:
        seen = msgspec.json.decode(content, type=_Seen)
    except BAD_JSON:
        return b"", "what it printed is no document", ""
    if seen.schema == "xpukit.error/1":
        return b"", _read_error(content), ""
    if seen.schema != command.facts.schema:
        return b"", f"its document is {seen.schema!r}, not {command.facts.schema!r}", ""
    return content, "", seen.verdict


def _read_error(content: bytes) -> str:
    try:
        error = msgspec.json.decode(content, type=dict[str, msgspec.Raw])["error"]
        return str(msgspec.json.decode(error, type=dict[str, object]).get("message", ""))
    except (KeyError, *BAD_JSON):
        return "an error"


def _read_tail(path: Path) -> str:
    try:
        return path.read_bytes()[-(256 << 10) :].decode("utf-8", errors="replace")
    except OSError:
        return ""
