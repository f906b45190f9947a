"""What `xpu-smi dump` prints or writes to its file, 1.x and 2.x: comma-separated, aligned columns, or JSON lines.

1.x names columns in words ("GPU Power (W)"), 2.x by field ("power.draw (W)", without units if asked) and aligns them
with spaces on a terminal. Both names become one metric here where they mean the same. "N/A" is no value.
"""

from __future__ import annotations

import json
import re

import msgspec

from xpukit.core.json_document import BAD_JSON
from xpukit.evaluate.parsers.lines import Diary, Line, Note, Problem, read_number, split_lines
from xpukit.evaluate.parsers.xpu_smi_names import SmiMetric, find_smi_problem, name_metric

COLUMN_LIMIT = 200


class DumpCell(msgspec.Struct, frozen=True, kw_only=True):
    """`value` is None for N/A and for text, which `text` then holds as printed."""

    column: SmiMetric
    value: float | None = None
    text: str = ""


class DumpSample(msgspec.Struct, frozen=True, kw_only=True):
    """One row: one device (or tile) at one time. `timestamp` as printed: a clock time, with the date or without."""

    line: int
    timestamp: str
    device: int | None
    tile: int | None = None
    cells: tuple[DumpCell, ...] = ()

    def get(self, metric: str) -> float | None:
        """The first value of a metric; None if it is not there or N/A."""
        return next(
            (cell.value for cell in self.cells if cell.column.metric == metric and cell.value is not None), None
        )


class DumpOutput(msgspec.Struct, frozen=True, kw_only=True):
    """`missing` lists metrics (labels as printed) that no sample has a value of."""

    readings: tuple[DumpSample, ...] = ()
    columns: tuple[SmiMetric, ...] = ()
    missing: tuple[str, ...] = ()
    notes: tuple[Note, ...] = ()
    problems: tuple[Problem, ...] = ()


_TIME = re.compile(r"(?:\d{4}[-/]\d{2}[-/]\d{2}[ T])?\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?Z?")
_DEVICE = re.compile(r"[0-9]{1,6}")
_WORDS = re.compile(
    r"Dump data to file|Dumping is stopped|Press the key ESC|It's better to|"
    r"Warning: |^\s*(?:xpu-smi dump|sudo )",
    re.IGNORECASE,
)


class _Reader:
    def __init__(self, diary: Diary) -> None:
        self._diary = diary
        self.samples: list[DumpSample] = []
        self.columns: list[SmiMetric] = []
        self._places: dict[str, int] = {}  # of Timestamp, DeviceId, TileId
        self._is_aligned = False
        self._is_help = False

    def take(self, line: Line) -> None:
        text = line.text.strip()
        if not text:
            return
        if text.startswith("{"):
            self._take_json(line, text)
        elif text.startswith("Timestamp") and "DeviceId" in text:
            self._take_header(line, text)
        elif _TIME.match(text):
            self._take_row(line, text)
        else:
            problem = find_smi_problem(line)
            self._diary.add_problem(problem)
            self._is_help = self._is_help or (problem is not None and problem.kind == "usage")
            if problem is None and not self._is_help and not _WORDS.search(text):
                self._diary.note_unread(line)

    def _take_header(self, line: Line, text: str) -> None:
        self.columns, self._places = [], {}
        if not line.is_whole:
            self._diary.note_unread(line, "the line is cut off")
            return
        self._is_aligned = "," not in text
        cells = self._cut(text)
        for place, cell in enumerate(cells[:COLUMN_LIMIT]):
            if cell in ("Timestamp", "DeviceId", "TileId"):
                self._places.setdefault(cell, place)
            else:
                self.columns.append(name_metric(cell))
        if len(cells) > COLUMN_LIMIT:
            self._diary.note(line.number, f"more than {COLUMN_LIMIT} columns")
            self.columns = []

    def _cut(self, text: str) -> list[str]:
        pieces = re.split(r"\s{2,}", text) if self._is_aligned else text.split(",")
        return [piece.strip() for piece in pieces]

    def _take_row(self, line: Line, text: str) -> None:
        cells = self._cut(text)
        if not self.columns:
            self._diary.note_unread(line, "a row before the names of the columns")
        elif not line.is_whole:
            self._diary.note_unread(line, "the line is cut off")
        elif len(cells) != len(self.columns) + len(self._places):
            wanted = len(self.columns) + len(self._places)
            self._diary.note_unread(line, f"{len(cells)} values under {wanted} columns")
        else:
            timestamp = cells[self._places["Timestamp"]] if "Timestamp" in self._places else ""
            device, tile = self._cell(cells, "DeviceId"), self._cell(cells, "TileId")
            if not _TIME.fullmatch(timestamp) or not _DEVICE.fullmatch(device):
                self._diary.note_unread(line, "no time of day or no device number")
                return
            values = [cell for place, cell in enumerate(cells) if place not in self._places.values()]
            self._add(line, timestamp, int(device), int(tile) if _DEVICE.fullmatch(tile) else None, values)

    def _cell(self, cells: list[str], name: str) -> str:
        return cells[self._places[name]] if name in self._places else ""

    def _take_json(self, line: Line, text: str) -> None:
        document = _load_object(text)
        metrics = document.get("metrics") if document else None
        if document is None or not isinstance(metrics, dict) or len(metrics) > COLUMN_LIMIT:
            self._diary.note_unread(line, "not a JSON object with metrics")
            return
        device, timestamp = document.get("device"), document.get("timestamp", "")
        if not isinstance(device, int) or isinstance(device, bool) or not 0 <= device < 1_000_000:
            self._diary.note_unread(line, "no device number")
            return
        if not isinstance(timestamp, str):
            self._diary.note_unread(line, "no time of day")
            return
        columns = [name_metric(str(name)) for name in metrics]
        values = [str(value) if isinstance(value, (str, int, float)) else "" for value in metrics.values()]
        if not self.samples or columns != self.columns:
            self.columns = columns
        self._add(line, timestamp[:64], device, None, values)

    def _add(self, line: Line, timestamp: str, device: int | None, tile: int | None, values: list[str]) -> None:
        cells = []
        for column, text in zip(self.columns, values, strict=True):
            value, reason = read_number(text)
            if value is None and reason != "not available" and column.metric != "throttle_reason" and text:
                self._diary.note(line.number, f"{column.label}: {reason}: {text}")
            cells.append(DumpCell(column=column, value=value, text="" if value is not None else text[:120]))
        self.samples.append(
            DumpSample(line=line.number, timestamp=timestamp, device=device, tile=tile, cells=tuple(cells))
        )


def _load_object(text: str) -> dict[str, object] | None:
    try:
        document = json.loads(text)
    except BAD_JSON:
        return None
    return document if isinstance(document, dict) else None


def parse_dump(text: str, err: str = "") -> DumpOutput:
    """Rows of `dump`, in the order printed. Readings come from `text` only, problems from both.

    A 2.x that is told 1.x's short options prints an error and no row: a problem here.
    """
    diary = Diary()
    reader = _Reader(diary)
    for line in split_lines(text):
        reader.take(line)
    for line in split_lines(err):
        diary.add_problem(find_smi_problem(line, "err"))
    if not reader.samples:
        diary.note(0, "no row")
    seen: dict[str, bool] = {}
    for sample in reader.samples:
        for cell in sample.cells:
            has_text = cell.column.metric == "throttle_reason" and cell.text not in ("", "N/A")
            seen[cell.column.label] = seen.get(cell.column.label, False) or cell.value is not None or has_text
    return DumpOutput(
        readings=tuple(reader.samples),
        columns=tuple(reader.columns),
        missing=tuple(label for label, found in seen.items() if not found),
        notes=diary.notes,
        problems=diary.problems,
    )
