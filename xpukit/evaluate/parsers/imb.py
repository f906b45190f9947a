"""Output of the Intel MPI Benchmarks (IMB-MPI1): one table per benchmark and number of processes.

PingPong and its kin print one time and Mbytes/sec, Sendrecv and Exchange three times and Mbytes/sec, collectives three
times, Barrier no size. A Mbyte is 1e6 bytes since IMB 2018 and was 1048576 before: the time in the same row tells.
Exit code 0 says nothing: an unknown benchmark, or PingPong on one rank, prints no row.
"""

from __future__ import annotations

import re

import msgspec

from xpukit.evaluate.parsers.lines import Diary, Line, Note, Problem, find_silence, read_number, split_lines
from xpukit.evaluate.parsers.mpi_failures import FailureReader, find_failures

# Bytes that cross between the two ends per iteration, in messages, and which time IMB divides by.
_MESSAGES = {
    "PingPong": 1, "PingPongSpecificSource": 1, "PingPongAnySource": 1,
    "PingPing": 1, "PingPingSpecificSource": 1, "PingPingAnySource": 1,
    "Sendrecv": 2, "Exchange": 4,
}  # fmt: skip
_UNITS = (1e6, 1048576.0)


class ImbRow(msgspec.Struct, frozen=True, kw_only=True):
    """Times in microseconds. PingPong and PingPing print one time, here t_avg_us. gbps is 1e9 bytes/s.

    `total_bytes` is None for Barrier. `printed_mbytes_s` is as printed; `unit` is its Mbyte in bytes; where
    the row's own time does not tell it, there is no `bandwidth_gbps`. `group` numbers the groups of a -multi run,
    `waiting` the processes that stood aside.
    """

    line: int
    benchmark: str
    processes: int
    total_bytes: int | None
    repetitions: int
    t_avg_us: float
    t_min_us: float | None = None
    t_max_us: float | None = None
    printed_mbytes_s: float | None = None
    unit: float | None = None
    bandwidth_gbps: float | None = None
    group: int | None = None
    waiting: int = 0
    defects: float | None = None


class ImbOutput(msgspec.Struct, frozen=True, kw_only=True):
    """`announced` is the program's own list of what it will run; `is_finished`: it reached MPI_Finalize."""

    readings: tuple[ImbRow, ...] = ()
    version: str = ""
    announced: tuple[str, ...] = ()
    is_finished: bool = False
    notes: tuple[Note, ...] = ()
    problems: tuple[Problem, ...] = ()


_FIELDS = {
    "#bytes": "total_bytes",
    "#repetitions": "repetitions",
    "t[usec]": "t_avg_us",
    "t_avg[usec]": "t_avg_us",
    "t_min[usec]": "t_min_us",
    "t_max[usec]": "t_max_us",
    "Mbytes/sec": "printed_mbytes_s",
    "Group": "group",
    "defects": "defects",
}
_COUNTS = ("total_bytes", "repetitions", "group")
_VERSION = re.compile(r"#\s+Intel\(R\) MPI Benchmarks (\S{1,40}), MPI-1 part")
_ANNOUNCED = re.compile(r"# ([A-Z]\w{1,60})")
_BENCHMARK = re.compile(r"# Benchmarking (?:Multi-)?([A-Z]\w{1,60})")
_PROCESSES = re.compile(r"# #processes = ([0-9]{1,7})")
_GROUPS = re.compile(
    r"# \( ?[0-9]{1,7} groups? of ([0-9]{1,7}) processes? each running simultaneous(?:ly)? ?\)", re.IGNORECASE
)
_WAITING = re.compile(r"# \( ?([0-9]{1,7}) additional process(?:es)? waiting in MPI_Barrier ?\)")
_HEADER = re.compile(r"\s*(?:Group\s+)?(?:#bytes\s+)?#repetitions(?:\s+\S+){1,8}")
_ROW = re.compile(r"\s*[0-9]{1,18}(?:\s+\S+){2,9}")
_REFUSED = re.compile(r"\s*[0-9]{1,18}\s+((?:int-overflow|out-of-mem|time-out)\S{0,3}.*)")
_INVALID = re.compile(r"# !! (Benchmark \S{1,60} invalid for [0-9]{1,7} processes) !!|(Invalid benchmark name .{1,80})")


class _Reader:
    def __init__(self, diary: Diary) -> None:
        self._diary = diary
        self._failures = FailureReader()
        self.rows: list[ImbRow] = []
        self.version = ""
        self.announced: list[str] = []
        self.is_finished = False
        self._in_list = False
        self._benchmark = ""
        self._processes: int | None = None
        self._waiting = 0
        self._columns: list[str] = []

    def take(self, line: Line) -> None:
        text = line.text
        self._diary.add_problem(self._failures.take(line))
        if not text.strip():
            return
        invalid = _INVALID.search(text)
        if invalid:
            said = invalid[1] or invalid[2]
            self._diary.add_problem(Problem(line=line.number, kind="usage", text=said.strip()))
        elif text.startswith("#"):
            if line.is_whole:
                self._take_comment(text)
        elif _HEADER.fullmatch(text):
            self._take_header(line)
        elif refused := _REFUSED.fullmatch(text):
            self._diary.add_problem(Problem(line=line.number, kind="unmeasured", text=refused[1]))
        elif _ROW.fullmatch(text):
            self._take_row(line)

    def finish(self) -> None:
        self._diary.add_problem(self._failures.done())
        if self._columns and not self.is_finished:
            text = "ends before '# All processes entering MPI_Finalize'"
            self._diary.add_problem(Problem(line=0, kind="aborted", text=text))
        measured = {row.benchmark for row in self.rows}
        for name in self.announced:
            if name not in measured:
                text = f"{name} was announced and no row followed"
                self._diary.add_problem(Problem(line=0, kind="unmeasured", text=text))

    def _take_comment(self, text: str) -> None:
        if version := _VERSION.fullmatch(text):
            self.version = version[1]
            self.is_finished = False
        elif text.startswith("# List of Benchmarks to run"):
            self._in_list = True
        elif text.startswith("# All processes entering MPI_Finalize"):
            self.is_finished = True
            self._forget()
        elif benchmark := _BENCHMARK.fullmatch(text):
            self._in_list = False
            self._forget()
            self._benchmark = benchmark[1]
        elif processes := (_PROCESSES.fullmatch(text) or _GROUPS.fullmatch(text)):
            self._processes = int(processes[1])
        elif waiting := _WAITING.fullmatch(text):
            self._waiting = int(waiting[1])
        elif self._in_list and (name := _ANNOUNCED.fullmatch(text)):
            self.announced.append(name[1])

    def _forget(self) -> None:
        self._benchmark, self._processes, self._waiting, self._columns = "", None, 0, []

    def _take_header(self, line: Line) -> None:
        names = line.text.split()
        fields = [_FIELDS.get(name, "") for name in names]
        unknown = [name for name, field in zip(names, fields, strict=True) if not field]
        self._columns = []
        if not line.is_whole:
            return
        if unknown:
            self._diary.note(line.number, f"columns not known, left out: {' '.join(unknown)}")
        if "t_avg_us" in fields and "repetitions" in fields:
            self._columns = fields
        else:
            self._diary.note_unread(line, "no average time in microseconds among the columns")

    def _take_row(self, line: Line) -> None:
        cells = line.text.split()
        if not self._columns or not self._benchmark or self._processes is None:
            self._diary.note_unread(line, "a row before its benchmark, processes or table head")
        elif not line.is_whole:
            self._diary.note_unread(line, "the line is cut off")
        elif len(cells) != len(self._columns):
            self._diary.note_unread(line, f"{len(cells)} values under {len(self._columns)} columns")
        else:
            named = {field: cell for field, cell in zip(self._columns, cells, strict=True) if field}
            values = self._read_values(line, named)
            if values is not None:
                self._add(line, values)

    def _read_values(self, line: Line, named: dict[str, str]) -> dict[str, float] | None:
        values: dict[str, float] = {}
        for field, cell in named.items():
            value, reason = read_number(cell)
            if field in _COUNTS and not re.fullmatch(r"[0-9]{1,18}", cell):
                value, reason = None, "not a count"
            if value is not None:
                values[field] = value
            elif field in ("t_avg_us", *_COUNTS):
                self._diary.note_unread(line, f"{field}: {reason}")
                return None
            else:
                self._diary.note(line.number, f"{field}: {reason}: {cell}")
        return values

    def _add(self, line: Line, values: dict[str, float]) -> None:
        size = int(values["total_bytes"]) if "total_bytes" in values else None
        group = int(values["group"]) if "group" in values else None
        row = ImbRow(
            line=line.number,
            benchmark=self._benchmark,
            processes=self._processes or 0,
            total_bytes=size,
            repetitions=int(values["repetitions"]),
            t_avg_us=values["t_avg_us"],
            t_min_us=values.get("t_min_us"),
            t_max_us=values.get("t_max_us"),
            printed_mbytes_s=values.get("printed_mbytes_s"),
            group=group,
            waiting=self._waiting,
            defects=values.get("defects"),
        )
        if row.defects:
            text = f"{row.benchmark}: {values['defects']:g} defects at {size} bytes"
            self._diary.add_problem(Problem(line=line.number, kind="bad-data", text=text))
        self.rows.append(_add_bandwidth(row))


def _add_bandwidth(row: ImbRow) -> ImbRow:
    if row.printed_mbytes_s is None:
        return row
    unit = _find_unit(row)
    if unit is None:
        return row
    return msgspec.structs.replace(row, unit=unit, bandwidth_gbps=row.printed_mbytes_s * unit / 1e9)


def _find_unit(row: ImbRow) -> float | None:
    """The size of a Mbyte, if exactly one of the two fits the row's time (printed with two decimals)."""
    messages = _MESSAGES.get(row.benchmark)
    time_us = row.t_avg_us if row.t_max_us is None else row.t_max_us
    if not messages or not row.total_bytes or not row.printed_mbytes_s or time_us <= 0:
        return None
    bytes_s = messages * row.total_bytes / time_us * 1e6
    slack = 0.0051 / time_us + 0.0051 / row.printed_mbytes_s
    fitting = [unit for unit in _UNITS if abs(bytes_s / unit / row.printed_mbytes_s - 1) <= slack]
    return fitting[0] if len(fitting) == 1 else None


def parse_imb(text: str, err: str = "") -> ImbOutput:
    """What IMB-MPI1 printed. Readings come from `text` only, problems from both."""
    diary = Diary()
    reader = _Reader(diary)
    for line in split_lines(text):
        reader.take(line)
    reader.finish()
    for problem in find_failures(split_lines(err), "err"):
        diary.add_problem(problem)
    diary.add_problem(find_silence(text, err))
    if not reader.rows:
        diary.note(0, "no row")
    return ImbOutput(
        readings=tuple(reader.rows),
        version=reader.version,
        announced=tuple(reader.announced),
        is_finished=reader.is_finished,
        notes=diary.notes,
        problems=diary.problems,
    )
