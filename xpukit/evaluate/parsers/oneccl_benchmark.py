"""Output of the oneCCL benchmark: its table (parse_table) and the file that -o writes (parse_csv).

Columns are found by their names, so that all layouts are one: 2021.1 (avg, avg_per_buf), 2021.4 to 2021.12 without
#elem_count, the present one, wait_t_avg with --ext on, algbw and busbw with llm-scaler's patch. Times of a run that
names several collectives are their sum, in the table always and in the CSV since 2021.4 (2021.1's CSV had one time
each): such rows are kept apart and never belong to one collective.
"""

from __future__ import annotations

import re

import msgspec

from xpukit.evaluate.parsers.lines import Diary, Line, Note, Problem, find_silence, read_number, split_lines
from xpukit.evaluate.parsers.mpi_failures import CCL_LOG, FailureReader, find_failures
from xpukit.evaluate.parsers.oneccl_rows import ITEM_BYTES, CclRow, add_bandwidths

# Tables print two decimals.
_TABLE_STEP = 0.01


class CclOutput(msgspec.Struct, frozen=True, kw_only=True):
    """`readings` belong to one collective each, `summed` to several together. `settings` is the options block.

    `is_finished`: each run ended with "# All done" (2021.1 says nothing at its end and counts as finished).
    """

    readings: tuple[CclRow, ...] = ()
    summed: tuple[CclRow, ...] = ()
    settings: tuple[tuple[str, str], ...] = ()
    is_finished: bool = False
    notes: tuple[Note, ...] = ()
    problems: tuple[Problem, ...] = ()


_FIELDS = {
    "#bytes": "bytes",
    "#elem_count": "elements",
    "#repetitions": "repetitions",
    "t_min[usec]": "t_min_us",
    "t_max[usec]": "t_max_us",
    "t_avg[usec]": "t_avg_us",
    "stddev[%]": "stddev_percent",
    "wait_t_avg[usec]": "wait_avg_us",
    "algbw[GB/s]": "printed_algbw",
    "busbw[GB/s]": "printed_busbw",
    # 2021.1 to 2021.3
    "avg[usec]": "t_avg_us",
    "avg_per_buf[usec]": "t_per_buffer_us",
    # the CSV only
    "#ranks": "ranks",
    "collective": "collective",
    "reduction": "reduction",
    "dtype": "datatype",
    "type": "datatype",
    "dtype_size": "item_bytes",
    "typesize": "item_bytes",
    "#elements/buffer": "elements",
    "message_size": "message_bytes",
    "#buffers": "buffers",
    "time": "t_avg_us",
}
_OPTIONAL = ("t_min_us", "t_max_us", "stddev_percent", "wait_avg_us", "printed_algbw", "printed_busbw")
_COUNT = re.compile(r"[0-9]{1,18}")
_SETTING = re.compile(r"\s{1,4}([a-z][a-z0-9_ ]{0,30}):(?:\s+(.*))?")
_DATATYPE = re.compile(r"\s*(?:datatype|dtype): (\w{1,24})")
_REDUCTION = re.compile(r"\s*reduction: (\w{1,24})")
_COLLECTIVES = re.compile(r"# Benchmarking: ([\w ]{1,400})")
_RANKS = re.compile(r"# #?processes: ([0-9]{1,7})")
_HEADER = re.compile(r"\s*#bytes(?:\s+\S+){2,}$")
_ROW = re.compile(r"\s*[0-9]{1,18}(?:\s+\S+){2,16}")
_FIRST_WIDTH = 14


class _Header:
    """Column names and where each ends, counted from the end of the line: rows are aligned to the right."""

    def __init__(self, text: str) -> None:
        self.names: list[str] = []
        self._spans: list[tuple[int, int]] = []
        start = max(0, text.index("#bytes") + len("#bytes") - _FIRST_WIDTH)
        for match in re.finditer(r"\S+", text[start:]):
            begin = self._spans[-1][1] if self._spans else 0
            self.names.append(match[0])
            self._spans.append((begin, match.end()))
        self.width = self._spans[-1][1]

    def cut_tail(self, text: str) -> list[str] | None:
        """The row at the end of a line that begins with something else, if the columns stand where they must."""
        if len(text) < self.width:
            return None
        tail = text[len(text) - self.width :]
        cells = [tail[begin:end] for begin, end in self._spans]
        if any(not cell[:1].isspace() or len(cell.split()) != 1 for cell in cells):
            return None
        return [cell.strip() for cell in cells]


class _TableReader:
    def __init__(self, diary: Diary) -> None:
        self._diary = diary
        self._failures = FailureReader()
        self.rows: list[CclRow] = []
        self.summed: list[CclRow] = []
        self.settings: dict[str, str] = {}
        self._in_settings = False
        self._remarks: set[str] = set()
        self._open_since = 0
        self._ended = 0
        self._has_done_line = True
        self._forget()

    def _forget(self) -> None:
        self._datatype = ""
        self._reduction = ""
        self._collectives: tuple[str, ...] = ()
        self._ranks: int | None = None
        self._header: _Header | None = None

    def take(self, line: Line) -> None:
        log = CCL_LOG.search(line.text)
        text = line.text[: log.start()] if log else line.text
        self._diary.add_problem(self._failures.take(line))
        if log and self._take_after_log(line):
            return
        if not text.strip():
            return
        if not self._take_context(line, text):
            # Before a log line the row is whole if it reaches the last column's end.
            reached = self._header is not None and len(text) == self._header.width
            self._take_row_or_note(line, text, whole=reached if log else line.is_whole)

    def finish(self) -> bool:
        self._diary.add_problem(self._failures.done())
        self._end_run()
        if self._header is None and not self._open_since and not self._ended:
            self._diary.note(0, "no table")
        return self._ended > 0 and not self._open_since

    def _end_run(self) -> None:
        """What stays open at the end of the text, or when another run begins, did not get to its end."""
        if self._open_since and self._has_done_line:
            text = "the run that begins here does not end with '# All done'"
            self._diary.add_problem(Problem(line=self._open_since, kind="aborted", text=text))
        elif self._open_since:
            self._open_since, self._ended = 0, self._ended + 1

    def _take_context(self, line: Line, text: str) -> bool:
        if text.strip() == "options:":
            self._end_run()
            self._open_since, self._has_done_line, self._in_settings = line.number, True, True
            self.settings = {}
            self._forget()
            return True
        if text.strip() == "# All done":
            self._open_since, self._ended = 0, self._ended + 1
            self._forget()
            return True
        if not line.is_whole:
            return False  # a name that may have lost its end names nothing
        if datatype := _DATATYPE.fullmatch(text):
            self._forget()
            self._open_since = self._open_since or line.number
            self._in_settings = False
            self._datatype = datatype[1]
        elif reduction := _REDUCTION.fullmatch(text):
            self._reduction = reduction[1]
        elif named := _COLLECTIVES.fullmatch(text):
            if self._collectives:  # the line that named the next data type was lost
                self._forget()
            self._collectives = tuple(named[1].split())
        elif ranks := _RANKS.fullmatch(text):
            self._ranks = int(ranks[1])
        elif _HEADER.fullmatch(text):
            self._take_header(line, text)
        elif self._in_settings and (setting := _SETTING.fullmatch(text)):
            self.settings[setting[1]] = (setting[2] or "").strip()
        else:
            return set(text.strip()) <= set("#-")
        return True

    def _take_header(self, line: Line, text: str) -> None:
        header = _Header(text)
        unknown = [name for name in header.names if name not in _FIELDS]
        if unknown:
            self._diary.note(line.number, f"columns not known, left out: {' '.join(unknown)}")
        fields = [_FIELDS[name] for name in header.names if name in _FIELDS]
        self._header = None
        if "t_avg_us" not in fields:
            self._diary.note_unread(line, "no average time in microseconds among the columns")
        elif len(set(fields)) != len(fields):
            self._diary.note_unread(line, "a column is named twice")
        else:
            self._header = header
            self._has_done_line = "avg[usec]" not in header.names

    def _take_after_log(self, line: Line) -> bool:
        """A row that was printed onto the end of a log line."""
        if self._header is None or not line.is_whole:
            return False
        cells = self._header.cut_tail(line.text)
        if cells is None or _COUNT.fullmatch(cells[0]) is None:
            return False
        self._take_cells(line, cells)
        return True

    def _take_row_or_note(self, line: Line, text: str, *, whole: bool) -> None:
        if _ROW.fullmatch(text) is None:
            return  # what other libraries print between tables is not ours to report
        if self._header is None:
            if not text.startswith((" ", "\t")):
                return
            self._diary.note_unread(line, "a row before any table head")
        elif not whole:
            self._diary.note_unread(line, "the line is cut off")
        else:
            self._take_cells(line, text.split())

    def _take_cells(self, line: Line, cells: list[str]) -> None:
        assert self._header is not None
        if len(cells) != len(self._header.names):
            self._diary.note_unread(line, f"{len(cells)} values under {len(self._header.names)} columns")
            return
        if not self._collectives:
            self._diary.note_unread(line, "no collective was named for this table")
            return
        named = {_FIELDS[name]: cell for name, cell in zip(self._header.names, cells, strict=True) if name in _FIELDS}
        counts = _read_counts(named, ("bytes", "elements", "repetitions"))
        times = _read_times(named, line, self._diary)
        if counts is None or times is None or "bytes" not in counts:
            if counts is None:
                self._diary.note_unread(line, "not a count")
            return
        total, elements = counts["bytes"], counts.get("elements")
        item_bytes = ITEM_BYTES.get(self._datatype)
        if elements is not None and item_bytes and elements * item_bytes != total:
            self._diary.note_unread(line, f"bytes are not #elem_count times the size of {self._datatype}")
            return
        buffers = self._find_buffers(line)
        if buffers and total % buffers:
            self._diary.note_unread(line, f"bytes do not divide among {buffers} buffers")
            return
        if elements is None and item_bytes:
            elements = total // item_bytes
        row = CclRow(
            line=line.number,
            collectives=self._collectives,
            ranks=self._ranks,
            datatype=self._datatype,
            reduction=self._reduction,
            total_bytes=total,
            buffers=buffers,
            message_bytes=total // buffers if buffers else None,
            elements=elements // buffers if buffers and elements is not None else None,
            repetitions=counts.get("repetitions"),
            t_avg_us=times["t_avg_us"],
        )
        self._add(msgspec.structs.replace(row, **times), line)

    def _find_buffers(self, line: Line) -> int | None:
        said = self.settings.get("buf_count", "")
        if _COUNT.fullmatch(said) and int(said) > 0:
            return int(said)
        if self._has_done_line:  # the default since 2021.4; before it was 16
            self._remark(line, "buf_count is not printed; taken as 1")
            return 1
        self._remark(line, "buf_count is not printed; the size of one message is unknown")
        return None

    def _add(self, row: CclRow, line: Line) -> None:
        if not row.collective:
            self.summed.append(row)
            self._remark(line, f"times are the sum over {', '.join(row.collectives)}: none of them has its own")
            return
        full, remark = add_bandwidths(row, _TABLE_STEP)
        self.rows.append(full)
        if remark:
            self._remark(line, remark)
        if row.ranks == 1:
            self._remark(line, "one rank: nothing crosses a link, busbw says nothing")

    def _remark(self, line: Line, text: str) -> None:
        """Once per text, at the first line that it is true of."""
        if text not in self._remarks:
            self._remarks.add(text)
            self._diary.note(line.number, text)


def parse_table(text: str, err: str = "") -> CclOutput:
    """What the benchmark printed, over one run or several. Readings come from `text` only, problems from both."""
    diary = Diary()
    reader = _TableReader(diary)
    for line in split_lines(text):
        reader.take(line)
    is_finished = reader.finish()
    for problem in find_failures(split_lines(err), "err"):
        diary.add_problem(problem)
    diary.add_problem(find_silence(text, err))
    return CclOutput(
        readings=tuple(reader.rows),
        summed=tuple(reader.summed),
        settings=tuple(reader.settings.items()),
        is_finished=is_finished,
        notes=diary.notes,
        problems=diary.problems,
    )


def parse_csv(text: str, collectives: tuple[str, ...] = ()) -> CclOutput:
    """The file of -o. `collectives`: what the command named, if known.

    Without it, several collectives in one run are found by their rows: one after the other with the same times to the
    last digit. A single row cannot tell.
    """
    diary = Diary()
    names: list[str] = []
    rows: list[CclRow] = []
    for line in split_lines(text):
        if line.text.startswith("#ranks,"):
            names = line.text.split(",") if line.is_whole else []
            if unknown := [name for name in names if name not in _FIELDS]:
                diary.note(line.number, f"columns not known, left out: {' '.join(unknown)}")
        elif line.text.strip():
            row = _read_csv_row(line, names, diary)
            if row is not None:
                rows.append(row)
    has_own_times = "time" in names
    sums = [] if has_own_times else _find_sums(rows)
    together = collectives if len(collectives) > 1 and not has_own_times else ()
    single: list[CclRow] = []
    summed: list[CclRow] = []
    remarks: dict[str, int] = {}
    for place, row in enumerate(rows):
        group = together or next((group for span, group in sums if place in span), ())
        if len(group) > 1:
            summed.append(msgspec.structs.replace(row, collectives=group))
            remarks.setdefault(f"times are the sum over {', '.join(group)}: none of them has its own", row.line)
            continue
        full, remark = add_bandwidths(row, 0.0)
        single.append(full)
        if remark:
            remarks.setdefault(remark, row.line)
    for remark, number in remarks.items():
        diary.note(number, remark)
    if not names:
        diary.note(0, "no table")
    return CclOutput(
        readings=tuple(single),
        summed=tuple(summed),
        is_finished=bool(rows),
        notes=diary.notes,
        problems=diary.problems,
    )


def _read_csv_row(line: Line, names: list[str], diary: Diary) -> CclRow | None:
    cells = line.text.split(",")
    if not names:
        diary.note_unread(line, "before the names of the columns")
    elif not line.is_whole:
        diary.note_unread(line, "the line is cut off")
    elif len(cells) != len(names):
        diary.note_unread(line, f"{len(cells)} values under {len(names)} columns")
    else:
        named = {_FIELDS[name]: cell for name, cell in zip(names, cells, strict=True) if name in _FIELDS}
        counts = _read_counts(named, ("ranks", "item_bytes", "elements", "message_bytes", "buffers", "repetitions"))
        if counts is None or not {"ranks", "item_bytes", "elements", "buffers"} <= counts.keys():
            diary.note_unread(line, "a count is missing or is none")
            return None
        message = counts["elements"] * counts["item_bytes"]
        if counts.get("message_bytes", message) != message or counts["buffers"] < 1:
            diary.note_unread(line, "message_size is not #elements/buffer times dtype_size, or no buffers")
            return None
        collective = named.get("collective", "").strip()
        times = _read_times(named, line, diary)
        if times is None or not re.fullmatch(r"\w{1,40}", collective):
            return None
        row = CclRow(
            line=line.number,
            collectives=(collective,),
            ranks=counts["ranks"],
            datatype=named.get("datatype", "").strip(),
            reduction=named.get("reduction", "").strip(),
            total_bytes=message * counts["buffers"],
            buffers=counts["buffers"],
            message_bytes=message,
            elements=counts["elements"],
            repetitions=counts.get("repetitions"),
            t_avg_us=times["t_avg_us"],
        )
        return msgspec.structs.replace(row, **times)
    return None


def _find_sums(rows: list[CclRow]) -> list[tuple[range, tuple[str, ...]]]:
    """Spans of rows that repeat one time under several names. A last span that was cut off counts like the others."""
    sums: list[tuple[range, tuple[str, ...]]] = []
    start = 0
    for place in range(1, len(rows) + 1):
        if place < len(rows) and _is_same_time(rows[start], rows[place]):
            continue
        group = tuple(dict.fromkeys(row.collectives[0] for row in rows[start:place]))
        if len(group) > 1:
            sums.append((range(start, place), group))
        start = place
    if sums and sums[-1][0].stop < len(rows):
        known = sums[-1][1]
        if all(row.collectives[0] in known for row in rows[sums[-1][0].stop :]):
            sums.append((range(sums[-1][0].stop, len(rows)), known))
    return sums


def _is_same_time(a: CclRow, b: CclRow) -> bool:
    def identity(row: CclRow) -> tuple[object, ...]:
        return (row.ranks, row.datatype, row.elements, row.buffers, row.t_avg_us, row.t_min_us, row.t_max_us)

    return identity(a) == identity(b) and a.collectives != b.collectives


def _read_counts(named: dict[str, str], fields: tuple[str, ...]) -> dict[str, int] | None:
    """The counts among `fields` that are there; None if one of them is not a count."""
    counts = {}
    for field in fields:
        if field in named:
            text = named[field].strip()
            if _COUNT.fullmatch(text) is None:
                return None
            counts[field] = int(text)
    return counts


def _read_times(named: dict[str, str], line: Line, diary: Diary) -> dict[str, float] | None:
    """t_avg_us and what else can be read; None without t_avg."""
    average, reason = read_number(named.get("t_avg_us", ""))
    if average is None:
        diary.note_unread(line, f"t_avg: {reason}")
        return None
    times = {"t_avg_us": average}
    for field in _OPTIONAL:
        if field in named:
            value, reason = read_number(named[field])
            if value is None:
                diary.note(line.number, f"{field}: {reason}: {named[field].strip()}")
            else:
                times[field] = value
    return times
