"""What a collection consists of, and an estimate of one. Running it: `run_collection.py`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import msgspec

from xpukit.host.door import Host
from xpukit.sysinfo.asking import EstimateAsker
from xpukit.sysinfo.collector import Collector
from xpukit.sysinfo.entry import Entry

_WORTH_TELLING_S = 0.1

# partial: something that this machine may have is not in the bundle. crashed: a defect of ours.
CollectorStatus = Literal["ok", "partial", "timeout", "crashed", "interrupted", "skipped"]


class CollectorReport(msgspec.Struct, frozen=True, kw_only=True):
    """What one collector asked, and how it went. `root_adds`: what more it gets as root ("" when it ran as root)."""

    name: str
    summary: str
    status: CollectorStatus
    detail: str = ""
    seconds: float = 0.0
    root_adds: str = ""
    notes: tuple[str, ...] = ()
    entries: tuple[Entry, ...] = ()

    @property
    def size_bytes(self) -> int:
        return sum(entry.size_bytes for entry in self.entries)

    @property
    def failed(self) -> tuple[Entry, ...]:
        """Entries that hold no answer though this machine may have one."""
        return tuple(entry for entry in self.entries if entry.failed)


class Collection(msgspec.Struct, frozen=True, kw_only=True):
    """What was collected. `rooms` are the commands whose questions are in the bundle beside the collectors'."""

    preset: str
    root: bool
    complete: bool
    interrupted: bool = False
    seconds: float = 0.0
    rooms: tuple[CollectorReport, ...] = ()
    collectors: tuple[CollectorReport, ...] = ()

    @property
    def reports(self) -> tuple[CollectorReport, ...]:
        return (*self.rooms, *self.collectors)

    @property
    def entry_count(self) -> int:
        return sum(len(report.entries) for report in self.reports)

    @property
    def failed_count(self) -> int:
        return sum(len(report.failed) for report in self.reports)


class SysinfoReport(msgspec.Struct, frozen=True, kw_only=True):
    """What `xpukit sysinfo` did (`xpukit.sysinfo/1`). In the bundle itself path, sizes and redactions are not known.

    `redactions`: how often each rule replaced something; `problems`: files of the bundle that could not be made.
    """

    collection: Collection
    path: str = ""
    archive_bytes: int = 0
    unpacked_bytes: int = 0
    redacted: bool = True
    redactions: dict[str, int] = {}
    problems: tuple[str, ...] = ()


def encode_collection(document: dict[str, Any]) -> str:
    """A `SysinfoReport` in its envelope as compact JSON: a line for each question, without what is as usual.

    There are a thousand entries: indented and in full they were a third of the bundle. Sizes are left out, for the
    answers have them (`fill_sizes`), and times of questions that took next to none.
    """
    collection = dict(document["collection"])
    for kind in ("rooms", "collectors"):
        collection[kind] = [_encode_line(_encode_entries(report)) for report in collection[kind]]
    return msgspec.json.encode({**document, "collection": collection}).decode() + "\n"


def _encode_entries(report: dict[str, Any]) -> dict[str, Any]:
    usual = {field.name: field.default for field in msgspec.structs.fields(Entry)}
    kept = [
        {name: value for name, value in entry.items() if value != usual[name] and name != "size_bytes"}
        for entry in report["entries"]
    ]
    for entry in kept:
        if entry.get("seconds", 0.0) < _WORTH_TELLING_S:
            entry.pop("seconds", None)
    return {**report, "entries": [_encode_line(entry) for entry in kept]}


def fill_sizes(report: SysinfoReport, find_size: Callable[[str], int]) -> SysinfoReport:
    """The report with the size of each answer; `find_size` takes `Entry.what` and gives bytes."""

    def fill(reports: tuple[CollectorReport, ...]) -> tuple[CollectorReport, ...]:
        return tuple(
            msgspec.structs.replace(
                one,
                entries=tuple(
                    entry if entry.size_bytes else msgspec.structs.replace(entry, size_bytes=find_size(entry.what))
                    for entry in one.entries
                ),
            )
            for one in reports
        )

    collection = report.collection
    return msgspec.structs.replace(
        report,
        collection=msgspec.structs.replace(
            collection, rooms=fill(collection.rooms), collectors=fill(collection.collectors)
        ),
    )


def _encode_line(value: object) -> msgspec.Raw:
    return msgspec.Raw(b"\n" + msgspec.json.encode(value))


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """What a collector would ask: commands that are installed, files that are readable, bytes (a guess).

    `questions` are all of them: also listings, links, and what is not there.
    """

    name: str
    summary: str
    commands: int = 0
    files: int = 0
    questions: int = 0
    size_bytes: int = 0
    at_most_s: float = 0.0
    detail: str = ""


class Room(msgspec.Struct, frozen=True, kw_only=True):
    """A command whose questions are recorded before the collectors'; `ask` asks them all and may be thrown away.

    `asks_all`: the command asks nothing else, whatever it is given, so that on the bundle an unrecorded question is a
    defect.
    """

    name: str
    summary: str
    ask: Callable[[Host], object]
    asks_all: bool = True


class BundleEstimate(msgspec.Struct, frozen=True, kw_only=True):
    """Size of a whole bundle, a guess: collectors, what probe and doctor ask, documents, and the form of answers."""

    unpacked_bytes: int
    archive_bytes: int


# Measured on a virtual machine without GPU and on recorded servers: what probe and doctor read, the documents made of
# it, what a question takes in answers.jsonl and in collection.json, and how well it packs.
_ROOMS_BYTES, _ROOMS_QUESTIONS, _DOCUMENTS_BYTES = 50_000, 220, 32_000
_QUESTION_BYTES, _PACKED = 180, 6.5


def estimate_bundle(estimates: Sequence[Estimate]) -> BundleEstimate:
    """How large the bundle of these collectors may become."""
    questions = sum(estimate.questions for estimate in estimates) + _ROOMS_QUESTIONS
    answers = sum(estimate.size_bytes for estimate in estimates) + _ROOMS_BYTES
    unpacked = answers + questions * _QUESTION_BYTES + _DOCUMENTS_BYTES
    return BundleEstimate(unpacked_bytes=unpacked, archive_bytes=round(unpacked / _PACKED))


def estimate_machine(host: Host, collectors: Sequence[Collector]) -> tuple[Estimate, ...]:
    """What each collector would ask; nothing is run or read."""
    return tuple(_estimate_collector(host, collector) for collector in collectors)


def _estimate_collector(host: Host, collector: Collector) -> Estimate:
    asker = EstimateAsker(host)
    detail = ""
    try:
        collector.collect(asker)
    except Exception as err:  # it met an answer that only an estimate gives
        detail = f"could not be estimated to its end: {type(err).__name__}: {err}"
    return Estimate(
        name=collector.name,
        summary=collector.summary,
        commands=asker.commands,
        files=asker.files,
        questions=asker.questions,
        size_bytes=asker.size_bytes,
        at_most_s=collector.timeout_s,
        detail=detail,
    )
