"""What `ze_peer` prints, all generations, and two relatives.

    Bandwidth Write : Device( 0 )->Device( 1 )             since 2022-06; before: Device(0)--->Device(1)
    BW [GBPS]:  256 MB:    26.00                           before: ' Size   | BW [GBPS] ', then ' 256 MB:  26.0012'

    Bandwidth Read :  (0)<-(1) (2)<-(3)                    --parallel_pair_targets
        Device 0 - Device 1 using queue 0: BW [GBPS]:  256 MB:    18.22
    BW [GBPS]:  512 MB:    36.43                           all pairs together: bytes and bandwidth are sums

Sizes are counts of 1024 or 1024**2 bytes, rounded down; GBPS is 1e9 bytes per second. Of a header, the device on the
left is the one that copies (-s): `write` moves data from it to the right, `read` from the right to it.

Relatives: the ze_peer of 2019-2021 (' Device(0)->Device(1):  GBPS 21.9') and a program that users of many-tile nodes
post ('GPU 0 -> GPU 1: Bandwidth = 158.5 GB/s'). Neither prints a size.
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
    count_bytes,
    find_problem,
    find_silence,
    has_digit,
    read_number,
    split_lines,
)
from xpukit.evaluate.parsers.queue_groups import QueueGroup, QueueGroups

Kind = Literal["bandwidth", "latency"]
Operation = Literal["write", "read"]
Direction = Literal["unidirectional", "bidirectional"]
Scope = Literal["one", "member", "total"]


class PeerReading(msgspec.Struct, frozen=True, kw_only=True):
    """One row. `src` and `dst` as ze_peer's -s and -d name them (see the module for which way data moves).

    `scope`: "one" pair alone; "member" of a parallel run (`queue` where printed); "total" of a parallel run, whose
    `bytes` and bandwidth are sums over its members. `pairs` are those of --parallel_pair_targets. `bytes` is None
    where the program prints no size. `together`: of a parallel run, all pairs that ran at once. `unit` is "GB/s" (1e9)
    or "us".
    """

    kind: Kind
    operation: Operation
    direction: Direction
    src: tuple[int, ...]
    dst: tuple[int, ...]
    scope: Scope
    bytes: int | None
    value: float
    unit: str
    line: int
    queue: int | None = None
    pairs: tuple[tuple[int, int], ...] = ()
    ipc: bool = False
    together: str = ""


class PeerOutput(msgspec.Struct, frozen=True, kw_only=True):
    readings: tuple[PeerReading, ...] = ()
    queue_groups: tuple[QueueGroup, ...] = ()
    notes: tuple[Note, ...] = ()
    problems: tuple[Problem, ...] = ()


class _Header(msgspec.Struct, frozen=True, kw_only=True):
    kind: Kind
    operation: Operation
    direction: Direction
    src: tuple[int, ...]
    dst: tuple[int, ...]
    pairs: tuple[tuple[int, int], ...] = ()

    @property
    def together(self) -> str:
        """All that run at once: '0:1,2:3', or '0:1+2' for one to several."""
        if self.pairs:
            return ",".join(f"{src}:{dst}" for src, dst in self.pairs)
        return f"{'+'.join(map(str, self.src))}:{'+'.join(map(str, self.dst))}"

    def holds(self, src: int, dst: int) -> bool:
        if self.pairs:
            return (src, dst) in self.pairs
        return src in self.src and dst in self.dst


_RULE = re.compile(r"\s*[-=]{10,}")
_BANNER = re.compile(r"\s*(?:(IPC) tests|Single Process (?:Uni|Bi)directional tests)")
_TITLE = re.compile(r"\s*Size\s*\|\s*(BW \[GBPS\]|Latency \[us\])")
_HEADER = re.compile(r"(Bandwidth|Latency) (Write|Read) :(.*)")
_ARROW = r"(<-{1,3}>|-{1,3}>|<-{1,3})"
_ENDS = re.compile(rf" *Device\( ?([0-9 ]{{1,200}})\) *{_ARROW} *Device\( ?([0-9 ]{{1,200}})\)")
_PAIR = re.compile(rf" *\(([0-9]{{1,6}})\){_ARROW}\(([0-9]{{1,6}})\)")
_ROW = re.compile(
    r"(?:\s*Device (?P<src>[0-9]{1,6}) - Device (?P<dst>[0-9]{1,6}) (?:using queue (?P<queue>[0-9]{1,6}))? ?: )?"
    r"(?:(?P<label>BW \[GBPS\]|Latency \[us\]): )?"
    r"\s*(?P<size>[0-9]{1,7}) +(?P<unit>[KM]?B): +(?P<value>\S.*)"
)
_ROW_LIKE = re.compile(r"BW \[GBPS\]|Latency \[us\]|^\s*[0-9]{1,9} +[KM]?B:")
_OLDEST_TITLE = re.compile(r"\s*(Uni|Bi)directional (Bandwidth|Latency) P2P (Write|Read)")
_OLDEST_ROW = re.compile(r" *Device\(([0-9]{1,6})\)(<->|->|<-)Device\(([0-9]{1,6})\): +(?:GBPS (\S+)|(\S+) uS)")
_POSTED_TITLE = re.compile(r"\.*\{(WRITE|READ)\} ?GPU.*")
_POSTED_ROW = re.compile(r" *GPU ([0-9]{1,6}) -> GPU ([0-9]{1,6}): Bandwidth = (\S+) GB/s")
_LABELS: dict[str, Kind] = {"BW [GBPS]": "bandwidth", "Latency [us]": "latency"}
_UNITS: dict[Kind, str] = {"bandwidth": "GB/s", "latency": "us"}


def parse_ze_peer(text: str, err: str = "") -> PeerOutput:
    """Standard output (or a log that holds it), and standard error where it was kept apart."""
    reader = _Reader()
    for line in split_lines(text):
        reader.take(line)
    return reader.finish(text, err)


class _Reader:
    def __init__(self) -> None:
        self._diary = Diary()
        self._groups = QueueGroups()
        self._readings: list[PeerReading] = []
        self._header: _Header | None = None
        self._oldest: tuple[Kind, Operation] | None = None
        self._posted: Operation | None = None
        self._inside = False  # a header was seen, and no blank line since: what has numbers here is a row
        self._ipc_next = self._ipc = False
        self._member_bytes = 0
        self._announced: dict[_Header, int] = {}  # at which line
        self._measured: set[_Header] = set()
        self._banner = 0

    def take(self, line: Line) -> None:
        if not line.text.strip():
            self._inside = False
            return
        banner = _BANNER.fullmatch(line.text)
        if _RULE.fullmatch(line.text) or banner:
            self._leave()
            if banner:
                self._open_banner(line, is_ipc=bool(banner[1]))
            return
        row = _ROW.fullmatch(line.text)
        is_row = row is not None and bool(row["label"] or self._header)
        if row and is_row and self._read_row(line, row):
            return
        problem = find_problem(line)
        self._diary.add_problem(problem)
        header = _HEADER.search(line.text)
        if header and not is_row:
            self._open(line, header)
        elif is_row:
            return  # why it could not be read was noted
        elif _ROW_LIKE.search(line.text) and not _TITLE.fullmatch(line.text):
            self._diary.note_unread(line)
        elif self._read_relative(line) or self._groups.take(line.text) or problem:
            return
        elif self._inside and has_digit(line.text):
            self._diary.note_unread(line)

    def finish(self, text: str, err: str) -> PeerOutput:
        self._diary.add_stream(err)
        for header, number in self._announced.items():
            if header not in self._measured:
                self._unmeasured(number, f"{header.kind} {header.operation} {_name_devices(header)}: no value follows")
        if self._banner and not self._announced:
            self._unmeasured(self._banner, "no test follows the banner")
        self._diary.add_problem(find_silence(text, err))
        return PeerOutput(
            readings=tuple(self._readings),
            queue_groups=self._groups.done(),
            notes=self._diary.notes,
            problems=self._diary.problems,
        )

    def _unmeasured(self, line: int, text: str) -> None:
        self._diary.add_problem(Problem(line=line, kind="unmeasured", text=text))

    def _leave(self) -> None:
        self._header = None
        self._inside = False
        self._member_bytes = 0

    def _open_banner(self, line: Line, *, is_ipc: bool) -> None:
        if is_ipc:
            self._ipc_next = True
            return
        self._banner = self._banner or line.number
        self._ipc, self._ipc_next = self._ipc_next, False

    def _open(self, line: Line, match: re.Match[str]) -> None:
        self._leave()
        self._inside = True
        self._oldest = self._posted = None
        self._header = _read_header(match)
        if self._header is None:
            self._diary.note_unread(line, "header not understood")
            return
        if not match[3].endswith(")"):
            self._diary.note_unread(line, "something else on the line of a header")
        if line.is_whole:
            self._announced.setdefault(self._header, line.number)

    def _read_row(self, line: Line, row: re.Match[str]) -> bool:
        """Whether the line gave a reading; if not, a note says why."""
        header = self._header
        if header is None:
            self._diary.note_unread(line, "row without a header above it")
            return False
        if not line.is_whole:
            self._diary.note_unread(line, "cut off, the number may have lost digits")
            return False
        if row["label"] and _LABELS[row["label"]] != header.kind:
            self._diary.note_unread(line, f"does not belong under a header of {header.kind}")
            return False
        if row["src"] and not header.holds(int(row["src"]), int(row["dst"])):
            self._diary.note_unread(line, "devices that the header above does not name")
            return False
        size = count_bytes(int(row["size"]), row["unit"])
        is_single = not header.pairs and len(header.src) == len(header.dst) == 1
        scope: Scope = "member" if row["src"] else "one" if is_single else "total"
        if scope == "member":
            # Of pairs the header says how many there are, whatever rows got lost.
            self._member_bytes = size * len(header.pairs) if header.pairs else self._member_bytes + size
        elif self._member_bytes:
            # 3 x 512 KB is printed as 1 MB: the members above say how much it was.
            if count_bytes(self._member_bytes >> _shift(row["unit"]), row["unit"]) == size:
                size = self._member_bytes
            self._member_bytes = 0
        elif len(header.pairs) & (len(header.pairs) - 1):
            self._diary.note_unread(line, "the rows of its pairs are missing, and the printed size is rounded")
            return False
        value, reason = read_number(row["value"])
        if value is None:
            self._diary.note_unread(line, reason)
            return False
        self._measured.add(header)
        self._readings.append(
            PeerReading(
                kind=header.kind,
                operation=header.operation,
                direction=header.direction,
                src=(int(row["src"]),) if row["src"] else header.src,
                dst=(int(row["dst"]),) if row["src"] else header.dst,
                scope=scope,
                bytes=size,
                value=value,
                unit=_UNITS[header.kind],
                line=line.number,
                queue=int(row["queue"]) if row["queue"] else None,
                pairs=() if row["src"] else header.pairs,
                ipc=self._ipc,
                together="" if scope == "one" else header.together,
            )
        )
        return True

    def _read_relative(self, line: Line) -> bool:
        """The two formats without sizes. Whether the line belongs to one of them."""
        oldest_title = _OLDEST_TITLE.fullmatch(line.text)
        posted_title = _POSTED_TITLE.fullmatch(line.text.strip())
        if oldest_title:
            self._oldest = (_read_kind(oldest_title[2]), _read_operation(oldest_title[3]))
            return True
        if posted_title:
            self._posted = _read_operation(posted_title[1])
            return True
        oldest = _OLDEST_ROW.fullmatch(line.text)
        posted = _POSTED_ROW.fullmatch(line.text)
        if oldest:
            self._read_oldest(line, oldest)
        elif posted:
            self._read_posted(line, posted)
        return bool(oldest or posted)

    def _read_oldest(self, line: Line, row: re.Match[str]) -> None:
        kind: Kind = "bandwidth" if row[4] else "latency"
        if self._oldest is None or self._oldest[0] != kind:
            self._diary.note_unread(line, "row without a title above it")
        elif not line.is_whole:
            self._diary.note_unread(line, "cut off, the number may have lost digits")
        else:
            self._add_unsized(line, kind, self._oldest[1], _read_direction(row[2]), (row[1], row[3]), row[4] or row[5])

    def _read_posted(self, line: Line, row: re.Match[str]) -> None:
        if self._posted is None:
            self._diary.note_unread(line, "row without a title above it")
            return
        # It prints the way of the data; in a read the receiving side copies.
        ends = (row[1], row[2]) if self._posted == "write" else (row[2], row[1])
        self._add_unsized(line, "bandwidth", self._posted, "unidirectional", ends, row[3])

    def _add_unsized(
        self, line: Line, kind: Kind, operation: Operation, direction: Direction, ends: tuple[str, str], token: str
    ) -> None:
        value, reason = read_number(token)
        if value is None:
            self._diary.note_unread(line, reason)
            return
        self._readings.append(
            PeerReading(
                kind=kind, operation=operation, direction=direction, src=(int(ends[0]),), dst=(int(ends[1]),),
                scope="one", bytes=None, value=value, unit=_UNITS[kind], line=line.number,
            )
        )  # fmt: skip


def _read_header(match: re.Match[str]) -> _Header | None:
    operation, rest = _read_operation(match[2]), match[3]
    ends = _ENDS.match(rest)
    pairs: tuple[tuple[int, int], ...] = ()
    if ends:
        src, dst = _read_devices(ends[1]), _read_devices(ends[3])
        arrows, end = {ends[2]}, ends.end()
    else:
        found = []
        end = 0
        while pair := _PAIR.match(rest, end):
            found.append(pair)
            end = pair.end()
        pairs = tuple((int(pair[1]), int(pair[3])) for pair in found)
        src, dst = tuple(pair[0] for pair in pairs), tuple(pair[1] for pair in pairs)
        arrows = {pair[2] for pair in found}
    if not src or not dst or len(arrows) != 1 or "(" in rest[end:]:
        return None
    arrow = arrows.pop()
    direction = _read_direction(arrow)
    if direction == "unidirectional" and arrow.endswith(">") != (operation == "write"):
        return None
    return _Header(
        kind=_read_kind(match[1]), operation=operation, direction=direction, src=src, dst=dst, pairs=pairs
    )  # fmt: skip


def _read_devices(text: str) -> tuple[int, ...]:
    numbers = text.split()
    return tuple(int(number) for number in numbers) if all(len(number) <= 6 for number in numbers) else ()


def _read_kind(word: str) -> Kind:
    return "bandwidth" if word == "Bandwidth" else "latency"


def _read_operation(word: str) -> Operation:
    return "write" if word.lower() == "write" else "read"


def _read_direction(arrow: str) -> Direction:
    return "bidirectional" if arrow.startswith("<") and arrow.endswith(">") else "unidirectional"


def _name_devices(header: _Header) -> str:
    arrow = "<->" if header.direction == "bidirectional" else "->" if header.operation == "write" else "<-"
    if header.pairs:
        return ", ".join(f"{src}{arrow}{dst}" for src, dst in header.pairs)
    return f"{','.join(map(str, header.src))}{arrow}{','.join(map(str, header.dst))}"


def _shift(unit: str) -> int:
    return count_bytes(1, unit).bit_length() - 1
