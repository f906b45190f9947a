"""What `ze_bandwidth` prints, as a table and with --csv, all generations.

    [Device 0] Running H2D with 0,0                        since 2024; one line per device and direction
    HOST-TO-DEVICE BANDWIDTH AND LATENCY
    Host->Device
        [Device 0       4096]:  BW =  0.975814 GBPS  Latency =      4.20 usec
    [Total          4096]:  BW =  0.958079 GBPS  Latency =      4.28 usec      sums over the devices

    Host->Device   1048576]:  BW = ...                     2023 (the bracket was lost); 2022: Host->Device[   1048576]:

With --csv rows are 'bytes,GBPS,usec' without a name: in each block the devices in their order, then their total. The
old generations print one row per size and no total. GBPS is 1e9 bytes per second.
"""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from xpukit.evaluate.parsers.lines import (
    Diary,
    Line,
    Note,
    Problem,
    find_problem,
    find_silence,
    has_digit,
    read_number,
    split_lines,
)
from xpukit.evaluate.parsers.queue_groups import QueueGroup, QueueGroups

Direction = Literal["h2d", "d2h", "bidirectional"]
Form = Literal["table", "csv"]


class TransferReading(msgspec.Struct, frozen=True, kw_only=True):
    """One row: `gbps` in 1e9 bytes/s, latency in microseconds.

    `device` is None in a total and where the generation does not name it. A total's `bytes` and `gbps` are sums.
    `verified`: -v compared the data of this size (a mismatch ends the program, see problems); None: not compared.
    `devices`: how many copy at once, as the run said beforehand (0: it did not).
    `form` "csv": bandwidth has 6, latency only 2 significant digits.
    """

    direction: Direction
    is_total: bool
    device: int | None
    bytes: int
    gbps: float
    latency_us: float
    form: Form
    line: int
    verified: bool | None = None
    devices: int = 0


class TransferOutput(msgspec.Struct, frozen=True, kw_only=True):
    readings: tuple[TransferReading, ...] = ()
    queue_groups: tuple[QueueGroup, ...] = ()
    iterations: int | None = None
    notes: tuple[Note, ...] = ()
    problems: tuple[Problem, ...] = ()


_RULE = re.compile(r"\s*-{10,}")
_SECTIONS: dict[str, Direction] = {
    "HOST-TO-DEVICE BANDWIDTH AND LATENCY": "h2d",
    "DEVICE-TO-HOST BANDWIDTH AND LATENCY": "d2h",
    "BIDIRECTIONAL HOST-TO-DEVICE/DEVICE-TO-HOST BANDWIDTH AND LATENCY": "bidirectional",
}
_MARKS: dict[str, Direction] = {"Host->Device": "h2d", "Device->Host": "d2h", "Host<->Device": "bidirectional"}
_RUNNING = re.compile(r"(?:\[Device ([0-9]{1,6})\] )?Running (H2D|D2H) with [0-9]+,[0-9]+.*")
_ITERATIONS = re.compile(r"Iterations per transfer size = ([0-9]{1,9})")
_MEASURED = r"\s*(?P<bytes>[0-9]{1,18})\]: +BW = *(?P<bw>\S+) GBPS +Latency = *(?P<latency>\S+) usec"
_ROW = re.compile(rf"\s*\[(?:Device (?P<device>[0-9]{{1,6}})|(?P<total>Total)) {_MEASURED}")
_OLD_ROW = re.compile(rf"(?P<mark>Host->Device|Device->Host|Host<->Device)\[?{_MEASURED}")
_ROW_LIKE = re.compile(r"BW = |\]: +BW\b")
_CSV_TITLE = re.compile(r"Transfer_size,Bandwidth_\(GBPS\),Latency_\(usec\)")
_CSV_ROW = re.compile(r"([0-9]{1,18}),([^,]{1,60}),([^,]{1,60})")
_CSV_LIKE = re.compile(r"[0-9]{1,18}[,;].*")


def parse_ze_bandwidth(text: str, err: str = "") -> TransferOutput:
    """Standard output (or a log that holds it), and standard error where it was kept apart."""
    reader = _Reader()
    for line in split_lines(text):
        reader.take(line)
    return reader.finish(text, err)


class _Reader:
    def __init__(self) -> None:
        self._diary = Diary()
        self._groups = QueueGroups()
        self._readings: list[TransferReading] = []
        self._iterations: int | None = None
        self._devices: list[int] = []
        self._is_new_run = True
        self._begun: set[tuple[str, str]] = set()  # device and way of what this run said that it runs
        self._direction: Direction | None = None
        self._sections: list[tuple[int, str, int]] = []  # line, direction, readings before it
        self._in_block = False  # below a line 'Host->Device', before the rule that ends its rows
        self._rows: list[TransferReading] = []  # of the block, --csv
        self._broken = False  # the block's rows cannot be told apart
        self._is_csv = False
        self._verified: bool | None = None

    def take(self, line: Line) -> None:
        text = line.text.strip()
        if not text:
            self._is_csv = False  # each section prints its title again
            return
        if _RULE.fullmatch(text):
            self._end_block()
            return
        if self._take_frame(line, text) or self._groups.take(line.text):
            return
        row = _ROW.fullmatch(line.text) or _OLD_ROW.fullmatch(text)
        csv = _CSV_ROW.fullmatch(text) if self._is_csv else None
        if row:
            self._read_row(line, row)
            return
        if csv:
            self._read_csv(line, csv)
            return
        problem = find_problem(line)
        self._diary.add_problem(problem)
        if _ROW_LIKE.search(text) or (self._is_csv and _CSV_LIKE.fullmatch(text)):
            self._broken = self._in_block
            self._diary.note_unread(line)
        elif self._in_block and has_digit(text) and not problem:
            self._diary.note_unread(line)

    def finish(self, text: str, err: str) -> TransferOutput:
        self._end_block(is_closed=False)
        self._diary.add_stream(err)
        self._diary.add_unmeasured(self._sections, len(self._readings))
        self._diary.add_problem(find_silence(text, err))
        return TransferOutput(
            readings=tuple(self._readings),
            queue_groups=self._groups.done(),
            iterations=self._iterations,
            notes=self._diary.notes,
            problems=self._diary.problems,
        )

    def _take_frame(self, line: Line, text: str) -> bool:
        """Titles, marks and what is printed before the measurement."""
        running = _RUNNING.fullmatch(text)
        iterations = _ITERATIONS.fullmatch(text)
        if running:
            begun = (running[1] or "", running[2])
            if self._is_new_run or begun in self._begun:  # said again: the run before ended early
                self._devices, self._is_new_run, self._is_csv = [], False, False
                self._begun = set()
            self._begun.add(begun)
            if running[1] and int(running[1]) not in self._devices:
                self._devices.append(int(running[1]))
                self._groups.claim(int(running[1]))
        elif iterations and line.is_whole:
            self._iterations = int(iterations[1])
            self._is_new_run = True
        elif text in _SECTIONS:
            self._end_block()
            self._direction = _SECTIONS[text]
            self._verified = None
            if line.is_whole:
                self._sections.append((line.number, self._direction, len(self._readings)))
        elif text in _MARKS:
            self._end_block(keep_verified=True)
            self._direction = _MARKS[text]
            self._in_block = True
        elif _CSV_TITLE.fullmatch(text):
            self._is_csv = True
        elif text == "Verification successful":
            self._verified = True
        else:
            return False
        return True

    def _end_block(self, *, is_closed: bool = True, keep_verified: bool = False) -> None:
        """The rows of a --csv block whose devices were not named before it can be told apart now: the last is the sum.

        One size is verified, then a rule, the mark and its rows: the rule before the mark must not forget it.
        """
        if self._rows and not self._devices and not self._broken:
            *parts, total = self._rows
            if is_closed and parts and total.bytes == sum(part.bytes for part in parts):
                self._readings += [*parts, msgspec.structs.replace(total, is_total=True)]
            else:
                self._diary.note(total.line, "cannot tell devices from their total: rows are missing from this block")
        if self._in_block and not keep_verified:
            self._verified = None
        self._rows, self._broken, self._in_block = [], False, False

    def _read_row(self, line: Line, row: re.Match[str]) -> None:
        names = row.groupdict()
        direction = _MARKS[names["mark"]] if names.get("mark") else self._direction
        device = int(names["device"]) if names.get("device") else None
        reading = self._build(line, direction, names["bytes"], names["bw"], names["latency"], form="table")
        if reading:
            is_total = bool(names.get("total"))
            self._readings.append(msgspec.structs.replace(reading, is_total=is_total, device=device))

    def _read_csv(self, line: Line, row: re.Match[str]) -> None:
        if not line.is_whole:
            self._diary.note_unread(line, "cut off, the number may have lost digits")
            self._broken = True
            return
        reading = self._build(line, self._direction, row[1], row[2], row[3], form="csv")
        if reading is None or self._broken:
            self._broken = self._in_block
            return
        if not self._in_block:  # the old generations: one row per size
            if self._devices:
                self._diary.note_unread(line, "no line above it says whose row this is")
            else:
                self._readings.append(reading)
            return
        self._rows.append(reading)
        if self._devices:
            self._place_csv(reading)

    def _place_csv(self, reading: TransferReading) -> None:
        """The block's newest row, where the devices are known."""
        place, count, first = len(self._rows) - 1, len(self._devices), self._rows[0].bytes
        if place < count and reading.bytes == first:
            self._readings.append(msgspec.structs.replace(reading, device=self._devices[place]))
        elif place == count and reading.bytes == first * count:
            self._readings.append(msgspec.structs.replace(reading, is_total=True))
        else:
            self._diary.note(reading.line, "a row of this block is missing or strange: cannot tell whose it is")
            self._broken = True

    def _build(
        self, line: Line, direction: Direction | None, size: str, bandwidth: str, latency: str, *, form: Form
    ) -> TransferReading | None:
        if direction is None:
            self._diary.note_unread(line, "row without a title above it")
            return None
        gbps, bad_bandwidth = read_number(bandwidth)
        latency_us, bad_latency = read_number(latency)
        if gbps is None or latency_us is None:
            self._diary.note_unread(line, bad_bandwidth or bad_latency)
            return None
        return TransferReading(
            direction=direction, is_total=False, device=None, bytes=int(size), gbps=gbps, latency_us=latency_us,
            form=form, line=line.number, verified=self._verified, devices=len(self._devices),
        )  # fmt: skip
