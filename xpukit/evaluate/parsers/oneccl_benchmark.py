"""Output of the oneCCL benchmark: its table (parse_table). The file that -o writes: oneccl_csv.py.

Columns are found by their names, so that all layouts are one: 2021.1 (avg, avg_per_buf), 2021.4 to 2021.12 without
#elem_count, the present one, wait_t_avg with --ext on, algbw and busbw with llm-scaler's patch. Times of a run that
names several collectives are their sum, in the table always and in the CSV since 2021.4 (2021.1's CSV had one time
each): such rows are kept apart and never belong to one collective.
"""

from __future__ import annotations

import re

import msgspec

from xpukit.evaluate.parsers.lines import Diary, Line, Problem, find_silence, split_lines
from xpukit.evaluate.parsers.mpi_failures import CCL_LOG, FailureReader, find_failures
from xpukit.evaluate.parsers.oneccl_columns import COUNT, FIELDS, read_counts, read_times
from xpukit.evaluate.parsers.oneccl_rows import ITEM_BYTES, CclOutput, CclRow, add_bandwidths

# Tables print two decimals.
_TABLE_STEP = 0.01
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
        unknown = [name for name in header.names if name not in FIELDS]
        if unknown:
            self._diary.note(line.number, f"columns not known, left out: {' '.join(unknown)}")
        fields = [FIELDS[name] for name in header.names if name in FIELDS]
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
        if cells is None or COUNT.fullmatch(cells[0]) is None:
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
        named = {FIELDS[name]: cell for name, cell in zip(self._header.names, cells, strict=True) if name in FIELDS}
        counts = read_counts(named, ("bytes", "elements", "repetitions"))
        times = read_times(named, line, self._diary)
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
        if COUNT.fullmatch(said) and int(said) > 0:
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
