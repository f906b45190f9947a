"""What `matrix_mul_mkl` prints: the public oneMKL sample (2023 and later) and the offline installer's build.

    Device:                  Intel(R) Arc(TM) Pro B60 Graphics      Platform and Driver_version since 2025-02
    Benchmarking (4096 x 2048) x (2048 x 8192) matrix multiplication, half precision
     -> Verification...gemm  passes. for type: half precision       the sample: '... passes.' or '... FAILS!'
    Average performance: 88.1234TF                                  k, M, G, T or P

The installer's build adds int8 and bf16 and, with -c, 'The First Run Average Performance: ...' and a second one.
llm-scaler's patch prints 'gemm Passes for type: ...' or 'gemm FAILS for type: ... on 3 times run!'.
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
    scale_si,
    split_lines,
)

# 'single precision' as printed -> the name that our own gemm benchmark uses.
_PRECISIONS = {
    "half": "fp16", "fp16": "fp16", "float16": "fp16",
    "single": "fp32", "float": "fp32", "fp32": "fp32", "float32": "fp32",
    "double": "fp64", "fp64": "fp64", "float64": "fp64",
    "bf16": "bf16", "bfloat16": "bf16",
    "int8": "int8",
}  # fmt: skip


class MatrixReading(msgspec.Struct, frozen=True, kw_only=True):
    """One GEMM of (m x k) x (k x n): `flops` per second (int8: operations), and `value` in `unit` as printed ("TF").

    `precision` is fp16, fp32, fp64, bf16 or int8, or the printed word where that is another one. `run`: "first" and
    "second" of -c. `verified`: what the program said before this value; None: nothing.
    """

    precision: str
    m: int
    n: int
    k: int
    flops: float
    value: float
    unit: str
    line: int
    run: Literal["", "first", "second"] = ""
    verified: bool | None = None
    device: int | None = None


class MatrixDevice(msgspec.Struct, frozen=True, kw_only=True):
    """`core_count`: what SYCL calls compute units."""

    name: str = ""
    platform: str = ""
    driver_version: str = ""
    core_count: int | None = None
    max_clock_mhz: int | None = None
    has_fp64: bool | None = None


class MatrixOutput(msgspec.Struct, frozen=True, kw_only=True):
    readings: tuple[MatrixReading, ...] = ()
    devices: tuple[MatrixDevice, ...] = ()
    notes: tuple[Note, ...] = ()
    problems: tuple[Problem, ...] = ()


class _Case(msgspec.Struct, kw_only=True):
    """A header and what happened below it."""

    precision: str
    m: int
    n: int
    k: int
    line: int
    verified: bool | None = None
    runs: list[str] = []


_BANNER = re.compile(r"oneMKL DPC\+\+ GEMM benchmark")
_FIELD = re.compile(
    r"(Platform|Device|Driver_version|Core/EU count|Maximum clock frequency|FP64 capability): +(\S.*)"
)  # fmt: skip
_SIZE = r"([0-9]{1,9}) ?x ?([0-9]{1,9})"
_HEADER = re.compile(rf"(?:Benchmarking )?\({_SIZE}\) ?x ?\({_SIZE}\) matrix multiplication, ?(\w{{2,30}}) precision")
_HEADER_LIKE = re.compile(r"\bmatrix multiplication\b")
_RESULT = re.compile(
    r"(?:The (?P<run>First|Second) Run )?Average [Pp]erformance: *"
    r"(?P<value>\S*?) ?(?P<prefix>[kKMGTPE]?)(?P<base>F|FLOPS|FLOP/s|OPS|OP/s)"
)
_RESULT_LIKE = re.compile(r"\bAverage performance\b", re.IGNORECASE)
_VERIFIED = re.compile(r"(?:-> Verification\.\.\.|\bgemm\b).{0,40}?\b(passes|FAILS)\b", re.IGNORECASE)
_CHATTER = re.compile(
    r"-> (?:Initializing|Warmup|Timing|Verification)\b.*|Whether to do comparision: .*|\[[0-9eE .+-]*\]?"
)


def parse_matrix_mul(text: str, err: str = "") -> MatrixOutput:
    """Standard output (or a log that holds it), and standard error where it was kept apart."""
    reader = _Reader()
    for line in split_lines(text):
        reader.take(line)
    return reader.finish(text, err)


class _Reader:
    def __init__(self) -> None:
        self._diary = Diary()
        self._readings: list[MatrixReading] = []
        self._devices: list[dict[str, str]] = []
        self._cases: list[_Case] = []
        self._case: _Case | None = None

    def take(self, line: Line) -> None:
        text = line.text.strip()
        if not text:
            return
        problem = find_problem(line)
        verified = _VERIFIED.search(text)
        if problem:
            self._diary.add_problem(problem)
        elif verified and verified[1].lower() == "fails":
            self._diary.add_problem(Problem(line=line.number, kind="bad-data", text=text))
        if verified and self._case:
            # A later failure outweighs an earlier pass, not the other way round.
            self._case.verified = self._case.verified is not False and verified[1].lower() == "passes"
        header, result, field = _HEADER.fullmatch(text), _RESULT.fullmatch(text), _FIELD.fullmatch(text)
        if _BANNER.fullmatch(text):
            self._devices.append({})
            self._case = None
        elif field and self._devices and self._case is None:
            self._devices[-1].setdefault(field[1], field[2])
        elif header:
            self._open(line, header)
        elif result:
            self._read_result(line, result)
        elif _HEADER_LIKE.search(text) or _RESULT_LIKE.search(text):
            if _HEADER_LIKE.search(text):
                self._case = None
            self._note_unread(line, text)
        elif self._is_strange(text) and not problem and not verified:
            self._diary.note_unread(line)

    def finish(self, text: str, err: str) -> MatrixOutput:
        self._diary.add_stream(err)
        for case in self._cases:
            if not case.runs:
                said = f"{case.precision} {case.m}x{case.n}x{case.k}: no performance follows"
                self._diary.add_problem(Problem(line=case.line, kind="unmeasured", text=said))
        self._diary.add_problem(find_silence(text, err))
        return MatrixOutput(
            readings=tuple(self._readings),
            devices=tuple(_build_device(fields) for fields in self._devices),
            notes=self._diary.notes,
            problems=self._diary.problems,
        )

    def _is_strange(self, text: str) -> bool:
        """A line with numbers, between a header and its result, that no build is known to print."""
        is_open = self._case is not None and not self._case.runs
        return is_open and has_digit(text) and not _CHATTER.fullmatch(text)

    def _note_unread(self, line: Line, text: str) -> None:
        _, _, token = text.partition("erformance:")
        _, reason = read_number(token) if token.strip() else (None, "")
        self._diary.note_unread(line, reason if reason and reason != "not a number" else "not understood")

    def _open(self, line: Line, header: re.Match[str]) -> None:
        m, k, inner, n = (int(header[part]) for part in (1, 2, 3, 4))
        self._case = None
        if k != inner:
            self._diary.note_unread(line, "the matrices do not fit together")
            return
        word = header[5].lower()
        self._case = _Case(precision=_PRECISIONS.get(word, word), m=m, n=n, k=k, line=line.number, runs=[])
        self._cases.append(self._case)

    def _read_result(self, line: Line, result: re.Match[str]) -> None:
        case, run = self._case, (result["run"] or "").lower()
        if case is None:
            self._diary.note_unread(line, "performance without a line above it that says of what")
            return
        if run in case.runs:
            # One more value than was announced: two programs wrote into this text.
            self._diary.note_unread(line, "a second value for the same multiplication")
            return
        value, reason = read_number(result["value"])
        if value is None:
            self._diary.note_unread(line, reason)
            return
        case.runs.append(run)
        self._readings.append(
            MatrixReading(
                precision=case.precision,
                m=case.m,
                n=case.n,
                k=case.k,
                flops=scale_si(value, result["prefix"]),
                value=value,
                unit=f"{result['prefix']}{result['base']}",
                line=line.number,
                run="first" if run == "first" else "second" if run == "second" else "",
                verified=case.verified,
                device=len(self._devices) - 1 if self._devices else None,
            )
        )


def _build_device(fields: dict[str, str]) -> MatrixDevice:
    return MatrixDevice(
        name=fields.get("Device", ""),
        platform=fields.get("Platform", ""),
        driver_version=fields.get("Driver_version", ""),
        core_count=_read_count(fields.get("Core/EU count", "")),
        max_clock_mhz=_read_count(fields.get("Maximum clock frequency", "").removesuffix(" MHz")),
        has_fp64={"yes": True, "no": False}.get(fields.get("FP64 capability", "")),
    )


def _read_count(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else None
