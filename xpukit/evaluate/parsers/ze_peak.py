"""What `ze_peak` prints, all generations.

    Device :                                               once per run, not with -q
     * name : Intel(R) Arc(TM) Pro B60 Graphics
    Global memory bandwidth (GB/s)                         (GBPS) until 2024-11
    float16 : 366.1 GB/s
    <<<<<<<<<<<<<<<<<<<<<<<<<<<<                            ends every test
    Transfer Bandwidth (GB/s)
    enqueueWriteBuffer : 25.97 GB/s                        host to device; until 2022 with the unit 'GFLOPS'
    Kernel launch latency : 1.84 (us)                      its test has no title

GB/s is 1e9 bytes per second. The title of a test, not the printed unit, says what its values are: old builds print
GFLOPS behind transfers and 'double8' for int8. With -v a value stands lines below its name.
"""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from xpukit.evaluate.parsers.lines import (
    NUMBER,
    Diary,
    Line,
    Note,
    Problem,
    find_problem,
    find_silence,
    has_digit,
    read_number,
    scale_si,
    split_lines,
)
from xpukit.evaluate.parsers.queue_groups import QueueGroup, QueueGroups

Test = Literal[
    "global_bw", "hp_compute", "sp_compute", "dp_compute", "int_compute", "transfer_bw", "kernel_lat"
]  # fmt: skip
PeakUnit = Literal["GB/s", "GFLOPS", "us"]

# A launch takes microseconds; more than this is a timer that wrapped (seen: 2.06158e+08 us in a run of nine seconds).
WRAPPED_US = 1e7


class PeakReading(msgspec.Struct, frozen=True, kw_only=True):
    """One value in `unit` (integer tests: GFLOPS means 1e9 operations/s, as printed).

    `test` is the name that ze_peak's -t takes. `name` is the printed one, except that vector names are corrected for
    the integer test of old builds; `width` is the vector width of float, half, double and int. `device` counts the
    device blocks above it (None: there was none).
    """

    test: Test
    name: str
    value: float
    unit: PeakUnit
    line: int
    width: int | None = None
    device: int | None = None


class PeakDevice(msgspec.Struct, frozen=True, kw_only=True):
    """A device block, as printed. Builds of 2021 print `core_clock_rate` in hexadecimal without saying so."""

    name: str = ""
    vendor_id: str = ""
    device_id: str = ""
    subdevice_id: str = ""
    is_subdevice: bool | None = None
    uuid: str = ""
    core_clock_rate: str = ""
    max_mem_alloc_bytes: int | None = None


class PeakOutput(msgspec.Struct, frozen=True, kw_only=True):
    """`explicit_scaling`: -x was in force, values are those of all tiles together."""

    readings: tuple[PeakReading, ...] = ()
    devices: tuple[PeakDevice, ...] = ()
    queue_groups: tuple[QueueGroup, ...] = ()
    explicit_scaling: bool = False
    notes: tuple[Note, ...] = ()
    problems: tuple[Problem, ...] = ()


_TITLES: tuple[tuple[re.Pattern[str], Test], ...] = (
    (re.compile(r"Global memory bandwidth \((?:GB/s|GBPS)\)"), "global_bw"),
    (re.compile(r"Half Precision Compute \(GFLOPS\)"), "hp_compute"),
    (re.compile(r"Single Precision Compute \(GFLOPS\)"), "sp_compute"),
    (re.compile(r"Double Precision Compute \(GFLOPS\)"), "dp_compute"),
    (re.compile(r"Integer Compute \(GFLOPS\)"), "int_compute"),
    (re.compile(r"Transfer Bandwidth \((?:GB/s|GBPS)\)"), "transfer_bw"),
)
_BASES: dict[Test, str] = {
    "global_bw": "float",
    "hp_compute": "half",
    "sp_compute": "float",
    "dp_compute": "double",
    "int_compute": "int",
}
# (name, is a rate of operations) -> test, for values in a log that lost the title. Of 'double8' it cannot be told.
_UNTITLED: dict[tuple[str, bool], Test] = {
    ("float", False): "global_bw",
    ("half", True): "hp_compute",
    ("float", True): "sp_compute",
    ("int", True): "int_compute",
}
_TRANSFERS = frozenset(
    (
        "enqueueWriteBuffer",
        "enqueueReadBuffer",
        "GPU Copy Shared System Memory to Shared Memory",
        "GPU Copy Shared System Memory from Shared Memory",
        "GPU Copy Shared System Memory to Shared Memory with Memory Advice",
        "GPU Copy Shared System Memory from Shared Memory with Memory Advice",
        "GPU Copy Host to Shared Memory",
        "GPU Copy Shared Memory to Host",
        "System Memory Copy to Shared Memory",
        "System Memory Copy from Shared Memory",
    )
)
_LATENCIES = frozenset(
    ("Kernel launch latency", "Kernel launch latency with Immediate Command List", "Kernel duration")
)  # fmt: skip
_VECTOR = re.compile(r"(float|half|double|int)(2|4|8|16)?")
_NAMED = re.compile(r"([A-Za-z][A-Za-z0-9 ]{1,79}?) ?: ?(.*)")
_UNIT = r"(?P<prefix>[kKMGTP]?)(?P<base>B/s|BPS|FLOPS)"
_MEASURED = re.compile(rf"(?P<value>\S+) +(?:{_UNIT}|(?P<latency>\(u[sS]\)))")
_BARE = re.compile(rf"{NUMBER} +(?:[kKMGTP]?(?:B/s|BPS|FLOPS)|\(u[sS]\))")
_FIELD = re.compile(r" \* (\w{2,30}) : ?(.*)")
_END = re.compile(r"<{8,}|[-=]{10,}")
_TRANSFER_BASES = ("B/s", "BPS", "FLOPS")


def parse_ze_peak(text: str, err: str = "") -> PeakOutput:
    """Standard output (or a log that holds it), and standard error where it was kept apart."""
    reader = _Reader()
    for line in split_lines(text):
        reader.take(line)
    return reader.finish(text, err)


class _Reader:
    def __init__(self) -> None:
        self._diary = Diary()
        self._groups = QueueGroups()
        self._readings: list[PeakReading] = []
        self._devices: list[dict[str, str]] = []
        self._block_line = 0  # of the last device block
        self._test: Test | None = None
        self._titles: list[tuple[int, str, int]] = []  # line, test, readings before it
        self._waiting = ""  # a name whose value comes further down (-v)
        self._explicit = False

    def take(self, line: Line) -> None:
        text = line.text.strip()
        if not text:
            return
        if _END.fullmatch(text):
            self._leave(line)
            self._test = None
            return
        if self._take_frame(line, text) or self._groups.take(line.text):
            return
        problem = find_problem(line)
        self._diary.add_problem(problem)
        named = _NAMED.fullmatch(text)
        if named and _is_known(named[1]):
            self._take_named(line, named[1], named[2].strip())
        elif self._waiting and _BARE.fullmatch(text):
            self._read_value(line, self._waiting, text)
            self._waiting = ""
        elif self._test and not self._waiting and not problem and has_digit(text):
            self._diary.note_unread(line)

    def finish(self, text: str, err: str) -> PeakOutput:
        self._diary.add_stream(err)
        self._diary.add_unmeasured(self._titles, len(self._readings))
        if self._devices and not self._titles and not self._readings:
            # What a crash leaves of redirected output.
            said = "no test follows the device's properties"
            self._diary.add_problem(Problem(line=self._block_line, kind="unmeasured", text=said))
        self._diary.add_problem(find_silence(text, err))
        return PeakOutput(
            readings=tuple(self._readings),
            devices=tuple(_build_device(fields) for fields in self._devices),
            queue_groups=self._groups.done(),
            explicit_scaling=self._explicit,
            notes=self._diary.notes,
            problems=self._diary.problems,
        )

    def _leave(self, line: Line) -> None:
        if self._waiting:
            self._diary.note(line.number, f"{self._waiting}: no value follows")
        self._waiting = ""

    def _take_frame(self, line: Line, text: str) -> bool:
        """The device block and the titles."""
        field = _FIELD.fullmatch(line.text)
        if text == "Device :":
            self._leave(line)
            self._test = None
            self._devices.append({})
            self._block_line = line.number
        elif field and self._devices:
            self._devices[-1].setdefault(field[1], field[2].strip())
        elif text.startswith("Enable explicit scaling"):
            self._explicit = True
        else:
            test = next((test for title, test in _TITLES if title.fullmatch(text)), None)
            if test is None:
                return False
            self._leave(line)
            self._test = test
            self._titles.append((line.number, test, len(self._readings)))
        return True

    def _take_named(self, line: Line, name: str, rest: str) -> None:
        if self._waiting:
            self._leave(line)
        measured = _MEASURED.fullmatch(rest)
        if measured:
            self._read_value(line, name, rest)
        elif not line.is_whole:
            self._diary.note_unread(line, "cut off")
        elif not rest or rest[0].isalpha():  # with -v, 'float : Group size x: 1024'
            _, reason = read_number(rest)
            if reason == "not a number":
                self._waiting = name
            else:
                self._diary.note_unread(line, reason)
        else:
            _, reason = read_number(rest.split(maxsplit=1)[0])
            self._diary.note_unread(line, reason or "unit not understood")

    def _read_value(self, line: Line, name: str, rest: str) -> None:
        measured = _MEASURED.fullmatch(rest)
        if measured is None:
            return
        value, reason = read_number(measured["value"])
        if value is None:
            self._diary.note_unread(line, reason)
            return
        base = measured["base"] or ""
        test = self._find_test(name, base)
        if test is None:
            self._diary.note_unread(line, "name and unit do not belong to the test that was announced")
            return
        vector = _VECTOR.fullmatch(name)
        width = int(vector[2] or 1) if vector else None
        if test in _BASES and vector:
            name = f"{_BASES[test]}{vector[2] or ''}"
        self._readings.append(
            PeakReading(
                test=test,
                name=name,
                value=scale_si(value, measured["prefix"], "G") if base else value,
                unit="us" if not base else "GFLOPS" if test in _BASES and test != "global_bw" else "GB/s",
                line=line.number,
                width=width,
                device=len(self._devices) - 1 if self._devices else None,
            )
        )
        if test == "kernel_lat" and value > WRAPPED_US:
            self._diary.note_unread(line, "longer than any launch: the device's timer wrapped")

    def _find_test(self, name: str, base: str) -> Test | None:
        """The test that a value belongs to; None where its title and what is printed disagree."""
        if name in _LATENCIES:
            return "kernel_lat" if not base else None
        if name in _TRANSFERS:
            return "transfer_bw" if base in _TRANSFER_BASES and self._test in (None, "transfer_bw") else None
        vector = _VECTOR.fullmatch(name)
        if vector is None or not base:
            return None
        is_rate = base == "FLOPS"
        if self._test is None:
            return _UNTITLED.get((vector[1], is_rate))
        wants_rate = self._test != "global_bw"
        is_mislabelled = self._test == "int_compute" and name in ("double8", "double16")
        if self._test not in _BASES or (vector[1] != _BASES[self._test] and not is_mislabelled):
            return None
        return self._test if is_rate == wants_rate else None


def _is_known(name: str) -> bool:
    return name in _TRANSFERS or name in _LATENCIES or _VECTOR.fullmatch(name) is not None


def _build_device(fields: dict[str, str]) -> PeakDevice:
    flag = fields.get("isSubdevice", "")
    size = fields.get("maxMemAllocSize", "").removesuffix("bytes").strip()
    return PeakDevice(
        name=fields.get("name", ""),
        vendor_id=fields.get("vendorId", ""),
        device_id=fields.get("deviceId", "").lower(),
        subdevice_id=fields.get("subdeviceId", ""),
        is_subdevice={"TRUE": True, "FALSE": False}.get(flag),
        uuid=fields.get("UUID", ""),
        core_clock_rate=fields.get("coreClockRate", ""),
        max_mem_alloc_bytes=int(size) if re.fullmatch(r"[0-9]{1,18}", size) else None,
    )
