"""Judge the log of a run that was made without xpukit: any of the tools' outputs, or several in one file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from xpukit.core.measurement import Measurement, MetricKey, Target
from xpukit.evaluate.limits import gather_specified_limits
from xpukit.evaluate.link_rows import judge_links
from xpukit.evaluate.link_way import Links
from xpukit.evaluate.log_devices import (
    KnownDevice,
    guess_device_id,
    list_listed_devices,
    list_peak_devices,
    settle_devices,
)
from xpukit.evaluate.log_slices import LogSlice, slice_log
from xpukit.evaluate.log_smi import SmiParsed, convert_smi, judge_counted, list_counted, list_smi_numbers, parse_smi
from xpukit.evaluate.parsers.imb import parse_imb
from xpukit.evaluate.parsers.lines import Line, Note, Problem, find_problem
from xpukit.evaluate.parsers.matrix_mul import MatrixOutput, parse_matrix_mul
from xpukit.evaluate.parsers.oneccl_benchmark import parse_table
from xpukit.evaluate.parsers.oneccl_csv import parse_csv
from xpukit.evaluate.parsers.oneccl_rows import CclOutput
from xpukit.evaluate.parsers.xpu_smi_dump import parse_dump
from xpukit.evaluate.parsers.xpu_smi_tables import StatsTable
from xpukit.evaluate.parsers.ze_bandwidth import TransferOutput, parse_ze_bandwidth
from xpukit.evaluate.parsers.ze_peak import PeakOutput, parse_ze_peak
from xpukit.evaluate.parsers.ze_peer import PeerOutput, parse_ze_peer
from xpukit.evaluate.reference import Limits, ReferenceBook
from xpukit.evaluate.result import Evaluation, JobRecord, Result
from xpukit.evaluate.run import summarize_target
from xpukit.evaluate.tools.convert import (
    convert_matrix_mul,
    convert_oneccl,
    convert_ze_bandwidth,
    convert_ze_peak,
    convert_ze_peer,
    name_device,
)
from xpukit.evaluate.tools.pool import MeasurementPool
from xpukit.evaluate.verdict import judge_all, judge_run
from xpukit.evaluate.wiring import list_fabric_pairs
from xpukit.facts.references import ReferenceRow
from xpukit.facts.suites import JudgeSettings

ENGINE = "log"
_BENCHMARKS = {
    "ze_peer": "p2p", "ze_bandwidth": "transfer", "ze_peak": "transfer", "matrix_mul": "gemm",
    "oneccl": "collectives", "oneccl-csv": "collectives", "xpu-smi topology": "p2p", "xpu-smi table": "health",
}  # fmt: skip
# What a line outside every tool's output would look like if it were a measurement.
_MEASURED = re.compile(r"\d\s?(?:[kMGTP]?B/s|GBPS|[GTP]?FLOPS|[GTP]F|TOPS|us|usec|\(u[sS]\))(?![A-Za-z])")
_HARMLESS = ("unsupported", "no-p2p")
_NOTE_LIMIT = 40

Parsed = PeerOutput | TransferOutput | PeakOutput | MatrixOutput | CclOutput | SmiParsed


class LogSource(msgspec.Struct, frozen=True, kw_only=True):
    """A log and how to call it. `remarks`: on how its text was had."""

    name: str
    text: str
    remarks: tuple[str, ...] = ()


class Stretch(msgspec.Struct, frozen=True, kw_only=True):
    """One tool's output within a log, read. `notes` and `problems` count lines as the log does."""

    source: str
    slice: LogSlice
    parsed: Parsed | None
    readings: int
    notes: tuple[Note, ...]
    problems: tuple[Problem, ...]
    devices: tuple[int, ...] = ()  # of ze_peak's blocks, in order; of matrix_mul one


class ReadLog(msgspec.Struct, frozen=True, kw_only=True):
    """All logs together. `outside`: what lines between the tools say, as (log, note)."""

    stretches: tuple[Stretch, ...]
    known: tuple[KnownDevice, ...]
    outside: tuple[tuple[str, Note], ...]


def read_logs(sources: Sequence[LogSource]) -> ReadLog:
    """Find the tools' outputs and read them. Never raises for what a text holds."""
    stretches: list[Stretch] = []
    known: list[KnownDevice] = []
    outside: list[tuple[str, Note]] = []
    for source in sources:
        cut = slice_log(source.text)
        listed = list_listed_devices(cut.slices)
        known += listed
        names: dict[str, int] = {}  # a device of ze_peak -> its number, in order of appearance
        for piece in cut.slices:
            stretch = _read_slice(source.name, piece)
            if isinstance(stretch.parsed, PeakOutput):
                numbers = []
                for identity, device in list_peak_devices(stretch.parsed):
                    number = names.setdefault(identity, len(names))
                    numbers.append(number)
                    known.append(msgspec.structs.replace(device, number=number))
                stretch = msgspec.structs.replace(stretch, devices=tuple(numbers))
            elif isinstance(stretch.parsed, MatrixOutput):
                for shown in stretch.parsed.devices:
                    found = guess_device_id(shown.name)
                    known.append(KnownDevice(number=0, name=shown.name, device_id=found, said_by="matrix_mul_mkl"))
            stretches.append(stretch)
        outside += [(source.name, note) for line in cut.outside if (note := _look_outside(line)) is not None]
    # ze_peak prints the id itself; the others a name, or what xpu-smi counts.
    known.sort(key=lambda device: device.said_by != "ze_peak")
    return ReadLog(stretches=tuple(stretches), known=tuple(known), outside=tuple(outside[:_NOTE_LIMIT]))


def _read_slice(source: str, piece: LogSlice) -> Stretch:
    parsed: Parsed | None = None
    rest: tuple[int, tuple[Note, ...], tuple[Problem, ...]] = (0, (), ())
    match piece.tool:
        case "ze_peer":
            parsed = parse_ze_peer(piece.text)
        case "ze_bandwidth":
            parsed = parse_ze_bandwidth(piece.text)
        case "ze_peak":
            parsed = parse_ze_peak(piece.text)
        case "matrix_mul":
            parsed = parse_matrix_mul(piece.text)
        case "oneccl":
            parsed = parse_table(piece.text)
        case "oneccl-csv":
            parsed = parse_csv(piece.text)
        case "imb":
            imb = parse_imb(piece.text)
            said = Note(
                line=0, text=f"{len(imb.readings)} rows of IMB, read but not judged: it times MPI, not the GPUs"
            )
            rest = (len(imb.readings), (said, *imb.notes), imb.problems)
        case "xpu-smi dump":
            dump = parse_dump(piece.text)
            rest = (len(dump.readings), dump.notes, dump.problems)
        case _:
            parsed = parse_smi(piece.tool, piece.text)
    if parsed is not None:
        rest = (len(parsed.readings), parsed.notes, parsed.problems)
    shift = piece.first - 1
    return Stretch(
        source=source,
        slice=piece,
        parsed=parsed,
        readings=rest[0],
        notes=tuple(Note(line=_move(note.line, shift), text=note.text) for note in rest[1]),
        problems=tuple(msgspec.structs.replace(item, line=_move(item.line, shift)) for item in rest[2]),
    )


def _move(line: int, shift: int) -> int:
    return line + shift if line else 0


def _look_outside(line: Line) -> Note | None:
    problem = find_problem(line)
    if problem is not None:
        return Note(line=line.number, text=f"{problem.kind}: {problem.text}")
    if _MEASURED.search(line.text):
        return Note(line=line.number, text=f"belongs to no tool that is known: {line.text.strip()[:160]}")
    return None


def _list_numbers(read: ReadLog) -> set[int]:
    numbers = {device.number for device in read.known}
    for stretch in read.stretches:
        parsed = stretch.parsed
        if isinstance(parsed, PeerOutput):
            numbers |= {number for row in parsed.readings for number in (*row.src, *row.dst)}
            numbers |= {number for problem in parsed.problems for number in problem.devices}
        elif isinstance(parsed, TransferOutput):
            numbers |= {row.device or 0 for row in parsed.readings}
        elif isinstance(parsed, CclOutput):
            numbers |= set(range(min(max((row.ranks or 0 for row in parsed.readings), default=0), 1024)))
        elif isinstance(parsed, PeakOutput | MatrixOutput) and parsed.readings:
            numbers |= set(stretch.devices) or {0}
        elif isinstance(parsed, SmiParsed):
            numbers |= list_smi_numbers(parsed)
    return numbers


def convert_stretch(stretch: Stretch, labels: dict[int, str]) -> tuple[Measurement, ...]:
    """The measurements of one stretch; nothing where its tool has none."""
    parsed = stretch.parsed
    if isinstance(parsed, PeerOutput):
        return convert_ze_peer(parsed, labels)
    if isinstance(parsed, TransferOutput):
        return convert_ze_bandwidth(parsed, labels)
    if isinstance(parsed, PeakOutput):
        blocks = {place: name_device(labels, number) for place, number in enumerate(stretch.devices)}
        return convert_ze_peak(parsed, blocks or labels)
    if isinstance(parsed, MatrixOutput):
        return convert_matrix_mul(parsed, name_device(labels, 0))
    if isinstance(parsed, CclOutput):
        return convert_oneccl(parsed, [labels[number] for number in sorted(labels)], stretch.slice.mode)
    if isinstance(parsed, SmiParsed):
        return convert_smi(parsed, labels)
    return ()


def judge_logs(
    sources: Sequence[LogSource],
    *,
    rows: Sequence[ReferenceRow],
    settings: JudgeSettings,
    strict: bool = False,
    asked_id: str = "",
    targets: Sequence[Target] = (),
    limits: Limits | None = None,
    links: Links | None = None,
    started: str = "",
) -> Evaluation:
    """Rows with verdicts, as of a run. `targets`, `limits` and `links` are those of the machine, if known.

    What is measured several times is pooled. A stretch with errors, or without the values that it announced, has a
    row `output` of its own that says so: `unknown`, or `fail` where it found wrong data.
    """
    read = read_logs(sources)
    devices, remarks = settle_devices(_list_numbers(read), read.known, targets, asked_id)
    labels = dict(zip(sorted(_list_numbers(read)), (target.label for target in devices), strict=True))
    pool = MeasurementPool()
    tables: set[MetricKey] = set()
    problems: list[Result] = []
    for stretch in read.stretches:
        found = convert_stretch(stretch, labels)
        if stretch.slice.tool == "oneccl":
            tables |= {measurement.key for measurement in found}
        for measurement in found:
            # The file of -o says again what the table of the same run says.
            if stretch.slice.tool != "oneccl-csv" or measurement.key not in tables:
                pool.merge(measurement)
        if (row := _judge_output(stretch, found)) is not None:
            problems.append(row)
    measured = pool.done()
    if links is not None:
        links = links.with_fabrics(list_fabric_pairs((item.key, item.samples[0]) for item in measured))
    judged = judge_all(
        [(ENGINE, measurement) for measurement in measured],
        (),
        (),
        book=ReferenceBook(rows, devices, links=links),
        limits=limits if limits is not None and targets else gather_specified_limits(devices),
        settings=settings,
    )
    tables_counted = [stretch.parsed for stretch in read.stretches if isinstance(stretch.parsed, StatsTable)]
    counted = judge_counted(tables_counted, labels, ENGINE)
    results = (*judged, *(judge_links(links, devices, judged) if links is not None else ()), *counted, *problems)
    return Evaluation(
        engine=ENGINE,
        suite=ENGINE,
        devices=tuple(summarize_target(target) for target in devices),
        results=results,
        verdict=judge_run(results, strict=strict),
        complete=not problems,
        conditions=_describe_logs(sources, read, remarks),
        jobs=tuple(_record(stretch) for stretch in read.stretches),
        started=started,
    )


def _judge_output(stretch: Stretch, found: Sequence[Measurement]) -> Result | None:
    """The row that says what went wrong in a stretch; None when nothing did, or another row says it."""
    benchmark = _BENCHMARKS.get(stretch.slice.tool)
    bad = [problem for problem in stretch.problems if problem.kind not in _HARMLESS]
    said_wrong = any(measurement.verified is False for measurement in found)
    bad = [problem for problem in bad if not (problem.kind == "bad-data" and said_wrong)]
    if benchmark is None:
        return None
    reason = "; ".join(dict.fromkeys(f"line {item.line}: {item.kind}: {item.text}" for item in bad[:3]))
    counts = isinstance(stretch.parsed, StatsTable) and stretch.readings > 0
    if counts or (found and isinstance(stretch.parsed, SmiParsed)):
        return None  # what a table says of a component is in its row; statistics have none
    if not bad and not found:
        reason = "nothing that was printed could be read"
    if not reason:
        return None
    is_wrong = any(problem.kind == "bad-data" for problem in bad)
    return Result(
        benchmark=benchmark,
        metric="output",
        devices=(),
        params={"tool": stretch.slice.tool, "line": stretch.slice.first, "log": stretch.source},
        value=None,
        unit="",
        engine=ENGINE,
        verified=False if is_wrong else None,
        verify_detail="the tool says that its data is wrong" if is_wrong else "",
        verdict="fail" if is_wrong else "unknown",
        reason=reason,
    )


def _describe_logs(sources: Sequence[LogSource], read: ReadLog, remarks: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {"logs": [source.name for source in sources]}
    remarks = [*(f"{source.name}: {remark}" for source in sources for remark in source.remarks), *remarks]
    if remarks:
        found["assumed"] = remarks
    tables = [stretch.parsed for stretch in read.stretches if isinstance(stretch.parsed, StatsTable)]
    if counted := list_counted(tables):
        found["errors_counted"] = counted
    if read.outside:
        found["outside"] = [f"{source}:{note.line}: {note.text}" for source, note in read.outside]
    return found


def _record(stretch: Stretch) -> JobRecord:
    piece = stretch.slice
    return JobRecord(
        name=f"{piece.tool} lines {piece.first}-{piece.last}",
        benchmark=_BENCHMARKS.get(piece.tool, ""),
        seconds=0.0,
        rc=0,
        failure="; ".join(f"line {problem.line}: {problem.text}" for problem in stretch.problems[:3]),
        log=stretch.source,
        notes=tuple(f"line {note.line}: {note.text}" if note.line else note.text for note in stretch.notes),
    )
