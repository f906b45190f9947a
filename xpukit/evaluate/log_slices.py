"""Which tool printed which lines of a log that holds the output of several.

A stretch begins at a line that only one tool prints and ends where another tool begins, or at what scripts and
launchers print between them. Lines outside every stretch are kept, to be looked through for errors.
"""

from __future__ import annotations

import re

import msgspec

from xpukit.evaluate.parsers.lines import LINE_LENGTH, Line, split_lines

# The first that fits names the tool.
_STARTS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("imb", re.compile(r"#\s+Intel\(R\) MPI Benchmarks .*|# Benchmarking [A-Z]\w+|# List of Benchmarks to run.*")),
    ("oneccl-csv", re.compile(r"#ranks,.*")),
    ("oneccl", re.compile(r"options:|\s*(?:datatype|dtype): \w{1,24}|# Benchmarking: [\w ]+|\s*#bytes\s+#\S+.*")),
    (
        "matrix_mul",
        re.compile(r"oneMKL DPC\+\+ GEMM benchmark|(?:Benchmarking )?\(\d+ ?x ?\d+\) ?x ?\(.*multiplication.*"),
    ),
    (
        "ze_bandwidth",
        re.compile(
            r"Iterations per transfer size = .*|\[Device \d+\] Running (?:H2D|D2H) with .*"
            r"|(?:BIDIRECTIONAL )?(?:HOST-TO-DEVICE|DEVICE-TO-HOST)\S* BANDWIDTH AND LATENCY"
            r"|(?:Host|Device)<?->(?:Device|Host)\[? *\d+\]:.*"
        ),
    ),
    (
        "ze_peak",
        re.compile(
            r"Device :|Enable explicit scaling.*|Global memory bandwidth \(.*|Transfer Bandwidth \(.*"
            r"|(?:Half|Single|Double) Precision Compute \(.*|Integer Compute \(.*"
            r"|(?:GPU Copy|System Memory Copy|enqueue(?:Write|Read)Buffer|Kernel launch latency)\b.* : .*"
        ),
    ),
    (
        "ze_peer",
        re.compile(
            r"(?:IPC|Single Process (?:Uni|Bi)directional) tests|(?:Bandwidth|Latency) (?:Write|Read) :.*"
            r"|(?:Uni|Bi)directional (?:Bandwidth|Latency) P2P (?:Write|Read).*|\.*\{(?:WRITE|READ)\} ?GPU.*"
            r"|.*Devices \d+ and \d+ do not have P2P capabilities.*|.*More than 1 device needed.*"
        ),
    ),
    ("xpu-smi dump", re.compile(r"Timestamp(?:, *| +)DeviceId\b.*")),
    ("xpu-smi discovery", re.compile(r"\|? *Device ID *\|? *Device Information.*")),
    ("xpu-smi topology", re.compile(r"(?:GPU \d+/\d+|NIC ?\d+)[ |].*CPU Affinity")),
    (
        "xpu-smi table",
        re.compile(
            r"\| *Device ID:? *\|? *\d+ *\|?|\| *Component *\| *(?:Details|Status) *\||(?:Metric|Component) {2,}Value"
        ),
    ),
    ("sycl-ls", re.compile(r"\[(?:ext_oneapi_)?(?:level_zero|opencl|cuda|hip|native_cpu):\w+\].*")),
)
# Printed around the tools by scripts (llm-scaler's platform_basic_evaluation.sh), shells and launchers.
_BETWEEN = re.compile(
    r"\[(?:INFO|SUCCESS|FAILED COMMAND|DEBUG|WARN(?:ING)?)\].*|\[ERROR\] (?:Script|Command|1CCL).*|--- ze_\w+ .*---"
    r"|Detected GPU count:.*|GPU count < 2.*|:: .*|[$+] \S.*|Report generated:.*"
)
_MODE = re.compile(r"\bCCL_TOPO_P2P_ACCESS\b\s*[=:]?\s*([01])\b")
_MODES = {"1": "p2p", "0": "usm"}
# A rule or a blank line may belong to what follows it.
_RULE = re.compile(r"[-=#+]*")
_BANNER = re.compile(r"={10,}")
_GROUPS = re.compile(r"\s*Group \d+ \(|\s*\| *Group")


class LogSlice(msgspec.Struct, frozen=True, kw_only=True):
    """Lines `first` to `last` (from 1) of a log. `mode` of oneCCL where the log says it: p2p or usm."""

    tool: str
    first: int
    last: int
    text: str
    mode: str = ""


class SlicedLog(msgspec.Struct, frozen=True, kw_only=True):
    """`outside`: lines that belong to no tool."""

    slices: tuple[LogSlice, ...]
    outside: tuple[Line, ...]


def slice_log(text: str) -> SlicedLog:
    """Cut a log by tool. Line numbers are those of the log."""
    cutter = _Cutter()
    for line in split_lines(text):
        cutter.take(line)
    return cutter.finish()


class _Cutter:
    def __init__(self) -> None:
        self._slices: list[LogSlice] = []
        self._outside: list[Line] = []
        self._held: list[Line] = []  # rules, queue groups: of the tool that comes, if one comes
        self._lines: list[Line] = []
        self._tool = ""
        self._has_device = False
        self._mode = ""
        self._own_mode = ""

    def take(self, line: Line) -> None:
        text = line.text.strip()
        mode = _MODE.search(text)
        if mode:
            if self._tool == "oneccl":
                self._own_mode = _MODES[mode[1]]
            else:
                self._mode = _MODES[mode[1]]
        if _BETWEEN.fullmatch(text):
            self._close()
            self._outside.append(line)
            return
        tool = next((tool for tool, start in _STARTS if start.fullmatch(text)), "")
        if tool == "oneccl" and self._tool == "imb" and text.startswith("#bytes"):
            tool = "imb"  # its table head begins alike
        is_new_run = text == "options:" or (text == "Device :" and self._has_device)
        if tool and (tool != self._tool or is_new_run):
            held, self._held = self._held, []
            while self._lines and _BANNER.fullmatch(self._lines[-1].text.strip()):
                held.insert(0, self._lines.pop())
            self._close()
            self._tool, self._lines = tool, held
            self._lines.append(line)
            self._has_device = text == "Device :"
        elif self._tool:
            self._lines.append(line)
            self._has_device |= text == "Device :"
            if self._tool == "oneccl" and text == "# All done":
                self._close()
        elif _RULE.fullmatch(text) or _GROUPS.match(line.text):
            self._held.append(line)
        else:
            self._outside += [*self._held, line]
            self._held = []

    def finish(self) -> SlicedLog:
        self._close()
        return SlicedLog(slices=tuple(self._slices), outside=tuple(self._outside))

    def _close(self) -> None:
        if self._tool:
            pieces = self._lines
            self._slices.append(
                LogSlice(
                    tool=self._tool,
                    first=pieces[0].number,
                    last=pieces[-1].number,
                    text="".join(_rebuild(line) for line in pieces),
                    mode=self._own_mode or self._mode,
                )
            )
        self._outside += self._held
        self._tool, self._lines, self._held, self._own_mode = "", [], [], ""


def _rebuild(line: Line) -> str:
    """The line as a parser takes it again: what was cut stays cut."""
    # What is longer than a line may be is cut at the same place again, and known for cut.
    return (line.text if line.is_whole else line.text.ljust(LINE_LENGTH + 1)) + "\n"
