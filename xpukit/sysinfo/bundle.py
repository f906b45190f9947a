"""Makes the bundle: records into a directory beside the target, packs it, scans it, and only then gives it its name."""

from __future__ import annotations

import contextlib
import errno
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from xpukit.core.errors import ExternalError, OutputError
from xpukit.core.json_document import build_document, encode_json
from xpukit.core.units import format_bytes
from xpukit.host.asked_once import AskedOnceHost
from xpukit.host.door import Host
from xpukit.host.recording import RecordingHost
from xpukit.host.replay import ReplayHost
from xpukit.sysinfo.collection import Collection, Room, SysinfoReport, encode_collection
from xpukit.sysinfo.collector import Collector
from xpukit.sysinfo.limits import Budget, LimitedHost
from xpukit.sysinfo.packing import find_free_bytes, measure_directory, pack_directory
from xpukit.sysinfo.run_collection import WORKERS, Progress, collect_machine

SCHEMA = "xpukit.sysinfo/1"
COLLECTION = "collection.json"
REDACTION = "redaction.json"
# Below this, answers are asked for one after the other: several at a time would overdraw it.
_SMALL_BYTES = 8 << 20
_FULL = (errno.ENOSPC, errno.EDQUOT)

S = TypeVar("S", bound=msgspec.Struct)


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """A file of the bundle made from what was recorded; it sees the machine as a reader of the bundle will."""

    name: str
    make: Callable[[Host, Collection], str]


class Redaction(msgspec.Struct, frozen=True, kw_only=True):
    """How the bundle is made safe to post.

    `scrub` replaces in text; `about(file)` says which file the next texts belong to; `report()` is redaction.json,
    `count()` how often each rule replaced something; `scan(archive)` names what got through, "file: rule" each.
    """

    scrub: Callable[[str], str]
    about: Callable[[str], object] = lambda _: None
    report: Callable[[], object] = lambda: {"redacted": False}
    count: Callable[[], Mapping[str, int]] = dict
    scan: Callable[[Path], Sequence[str]] = lambda _: ()
    enabled: bool = True


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What bundle to make. `target` is the archive's path; limits in seconds and bytes."""

    target: Path
    collectors: tuple[Collector, ...]
    preset: str
    timeout_s: float
    max_bytes: int
    rooms: tuple[Room, ...] = ()
    documents: tuple[Document, ...] = ()
    command: tuple[str, ...] = ()


def write_bundle(
    host: Host,
    order: Order,
    redaction: Redaction,
    *,
    progress: Progress | None = None,
    finishing: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> SysinfoReport:
    """Collect and write `order.target`; whole, scanned and mode 0600, or not at all.

    `finishing` guards the time between the last answer and the finished file (a Ctrl-C there should not lose it).
    Raises OutputError when it cannot be written, ExternalError when the scan of the finished archive found something.
    """
    part: Path | None = None
    try:
        part = Path(tempfile.mkdtemp(prefix=".xpukit-sysinfo-", suffix=".part", dir=order.target.parent))
        return _fill_bundle(host, order, redaction, part, progress, finishing)
    except (OSError, OutputError) as err:
        raise _explain_write_error(err, order, part) from err
    finally:
        if part is not None:
            shutil.rmtree(part, ignore_errors=True)


def _fill_bundle(
    host: Host,
    order: Order,
    redaction: Redaction,
    part: Path,
    progress: Progress | None,
    finishing: Callable[[], AbstractContextManager[object]],
) -> SysinfoReport:
    content = part / "recording"
    budget = Budget(timeout_s=order.timeout_s, max_bytes=order.max_bytes)
    # A command is covered when it was asked through the recording itself. Any other reads a bundle leniently.
    covers = tuple(room.name for room in order.rooms if room.asks_all)
    recording = RecordingHost(host, content, command=order.command, scrub=redaction.scrub, covers=covers)
    limited = AskedOnceHost(LimitedHost(host, budget))
    try:
        collection = collect_machine(
            limited,
            budget,
            order.collectors,
            preset=order.preset,
            rooms=order.rooms,
            keep=recording.keep,
            progress=progress,
            workers=1 if order.max_bytes < _SMALL_BYTES else WORKERS,
        )
        with finishing():
            recording.close(complete=collection.complete)
            return _finish_bundle(content, collection, order, redaction)
    finally:
        # After an error: what it holds unwritten would be tried again, and complained about, at interpreter exit.
        with contextlib.suppress(OutputError):
            recording.close(complete=False)


def _finish_bundle(content: Path, collection: Collection, order: Order, redaction: Redaction) -> SysinfoReport:
    redaction.about(COLLECTION)
    collection = scrub_struct(collection, redaction.scrub)
    problems = _write_documents(content, collection, order.documents)
    hostname = ReplayHost(content, strict=False).identity().hostname
    report = SysinfoReport(collection=collection, redacted=redaction.enabled, problems=problems)
    (content / COLLECTION).write_text(encode_collection(build_document(SCHEMA, hostname, report)))
    (content / REDACTION).write_text(encode_json(redaction.report()))
    archive = content.parent / order.target.name
    unpacked = pack_directory(content, archive)
    leaks = redaction.scan(archive)
    if leaks:
        shown = "; ".join(leaks[:8]) + (f"; and {len(leaks) - 8} more" if len(leaks) > 8 else "")
        raise ExternalError(
            f"no bundle written: the finished archive was scanned, and something private may be left in it: {shown}",
            hint="leave its collector out with --skip, and please report the rule that failed",
        )
    size = archive.stat().st_size
    archive.replace(order.target)
    return msgspec.structs.replace(
        report,
        path=str(order.target),
        archive_bytes=size,
        unpacked_bytes=unpacked,
        redactions=dict(redaction.count()),
    )


def _write_documents(content: Path, collection: Collection, documents: Sequence[Document]) -> tuple[str, ...]:
    """What went wrong while making them: a defect in one costs that file."""
    problems = []
    for document in documents:
        # Each sees the recording from its start, as a command of its own will.
        replay = ReplayHost(content, strict=False)
        try:
            text = document.make(replay, collection)
        except OSError:
            raise
        except Exception as err:
            problems.append(f"{document.name}: not written, a defect in xpukit: {type(err).__name__}: {err}")
            continue
        (content / document.name).write_text(text)
    return tuple(problems)


def scrub_struct(value: S, scrub: Callable[[str], str]) -> S:
    """The same with every text scrubbed, except its keys and the words that its type lists."""
    return msgspec.convert(_scrub_plain(msgspec.to_builtins(value), scrub), type(value))


def _scrub_plain(value: Any, scrub: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return scrub(value)
    if isinstance(value, list | tuple):
        return [_scrub_plain(item, scrub) for item in value]
    if isinstance(value, dict):
        return {key: _scrub_plain(item, scrub) for key, item in value.items()}
    return value


def _explain_write_error(err: OSError | OutputError, order: Order, part: Path | None) -> OutputError:
    cause = err if isinstance(err, OSError) else err.__cause__
    if not isinstance(cause, OSError):
        return err if isinstance(err, OutputError) else OutputError(str(err))
    directory = order.target.parent
    if cause.errno not in _FULL:
        return OutputError(
            f"{order.target}: cannot be written: {cause.strerror or cause}",
            hint="check the directory and its permissions, or name another place with -o",
        )
    written = measure_directory(part) if part is not None else 0
    free = find_free_bytes(directory)
    said = f", {format_bytes(free)} free" if free is not None else ""
    return OutputError(
        f"{order.target}: no space left in {directory} after {format_bytes(written)}{said}; nothing was left there",
        hint=f"it needs more than {format_bytes(written)} there and at most {format_bytes(order.max_bytes * 2)}: free "
        "some, name another place with -o, or take less (--preset minimal, --max-size)",
    )
