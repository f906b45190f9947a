from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xpukit.evaluate.parsers.lines import (
    LINE_LENGTH,
    LIST_LIMIT,
    Diary,
    Line,
    count_bytes,
    find_problem,
    find_silence,
    read_number,
    scale_si,
    split_lines,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [("26.00", 26.0), (" 8 ", 8.0), ("1.3e+05", 130000.0), ("0.00", 0.0), ("+4.5E-3", 0.0045), ("5.", 5.0)],
)
def test_numbers(text: str, value: float) -> None:
    assert read_number(text) == (value, "")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1.234,5", "local form"), ("26,00", "local form"), ("1,234.5", "local form"), ("1 234,5", "local form"),
        ("1'234,50", "local form"), ("12,5", "local form"),
        ("nan", "infinite"), ("-nan", "infinite"), ("NaN", "infinite"), ("inf", "infinite"), ("-inf", "infinite"),
        ("-nan(ind)", "infinite"), ("1.#INF", "infinite"), ("1e9999", "not a finite"),
        ("-0.00", "below zero"), ("-3.5", "below zero"),
        ("N/A", "not available"), ("n/a", "not available"), ("-", "not available"),
        ("", "not a number"), ("GB/s", "not a number"), ("1.2.3", "not a number"), ("٣", "not a number"),
        ("0x10", "not a number"), ("1" * 40, "not a number"),
    ],
)  # fmt: skip
def test_what_is_no_measurement_says_why(text: str, reason: str) -> None:
    value, said = read_number(text)
    assert value is None
    assert reason in said


@settings(max_examples=300)
@given(st.text(max_size=50))
def test_any_text_is_a_number_or_has_a_reason(text: str) -> None:
    """300 random texts: exactly one of value and reason."""
    value, reason = read_number(text)
    assert (value is None) == bool(reason)


def test_lines_keep_their_numbers_and_lose_decoration() -> None:
    text = "\ufeffone\r\n\x1b[1;31mtwo\x1b[0m  \n\nabc\rfour\nfi\x00ve\nsix"
    lines = split_lines(text)
    assert [(line.number, line.text) for line in lines] == [
        (1, "one"), (2, "two"), (3, ""), (4, "four"), (5, "five"), (6, "six"),
    ]  # fmt: skip
    assert [line.is_whole for line in lines] == [True] * 5 + [False]


def test_a_line_too_long_is_not_trusted() -> None:
    (line, _) = split_lines("7" * (LINE_LENGTH + 1) + "\n")
    assert len(line.text) == LINE_LENGTH
    assert not line.is_whole


def test_units() -> None:
    assert scale_si(1.02, "P", "G") == 1.02e6
    assert scale_si(950.5, "M", "G") == 0.9505
    assert scale_si(88.1234, "T", "T") == 88.1234
    assert count_bytes(128, "MB") == 134217728
    assert count_bytes(8, "B") == 8


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        ("terminate called without an active exception", "aborted", "terminate"),
        ("ze_peer: a.cpp:83: bool f(): Assertion `i < n' failed.", "aborted", "Assertion"),
        ("./run.sh: line 7:  4242 Segmentation fault      (core dumped) ./ze_peer", "aborted", "4242"),
        ("ERROR : zeMemAllocDevice(c, &d, size, 0, e[i], ptr) : 2013265929", "api-error", "0x78000009"),
        ("  what():  zeInit failed: 2013265921", "api-error", "0x78000001 ERROR_UNINITIALIZED"),
        ("  what():  zeDeviceGet failed: 0", "no-device", "found nothing"),
        ("ERROR: More than 1 device needed", "no-device", "More than 1"),
        ("ERROR: there are no peer devices among 2 devices found", "no-device", "peer"),
        ("Error at 7: validate_buffer 255 != host_buffer 21", "bad-data", "Error at 7"),
        ("  what():  Host memory verification failed ", "bad-data", "verification"),
        ("Failed to load binary file: ze_global_bw.spv", "missing-file", "ze_global_bw.spv"),
        ("ze_peer: error while loading shared libraries: libze_loader.so.1: cannot open", "missing-file", "libze"),
        ("bash: ze_peer: command not found", "missing-file", "command not found"),
        ("Specified command queue index 3 is not valid for group 0, defaulting to first index", "not-as-asked", "3"),
        ("dp_compute test skipping for missing support: x", "unsupported", "dp_compute"),
        (" ze_peak [OPTIONS]", "usage", "ze_peak"),
        ("[ERROR] Bidirectional mode with IPC tests not implemented", "error", "IPC"),
        ("SYCL exception: Native API failed. Native API returns: 20", "error", "SYCL"),
    ],
)
def test_failures_are_told_apart(text: str, kind: str, said: str) -> None:
    problem = find_problem(Line(3, text, True), "err")
    assert problem is not None
    assert (problem.kind, problem.line, problem.stream) == (kind, 3, "err")
    assert said in problem.text


def test_a_pair_without_p2p_is_named() -> None:
    problem = find_problem(Line(1, "Devices 10 and 11 do not have P2P capabilities ", True))
    assert problem is not None
    assert (problem.kind, problem.devices) == ("no-p2p", (10, 11))


@pytest.mark.parametrize(
    "text", ["", "BW [GBPS]:  256 MB:    26.00", "Verification successful", "0 errors", "Bandwidth Write : x"]
)
def test_ordinary_lines_are_no_failures(text: str) -> None:
    assert find_problem(Line(1, text, True)) is None


def test_silence() -> None:
    problem = find_silence(" \n", "")
    assert problem is not None
    assert problem.kind == "silent"
    assert find_silence("", "x") is None


def test_lists_do_not_grow_without_end() -> None:
    diary = Diary()
    for number in range(LIST_LIMIT + 5):
        diary.note(number, "x")
    diary.add_stream("ERROR: x\n" * (LIST_LIMIT + 5))
    assert diary.notes[-1].text == "and 5 more"
    assert len(diary.problems) == LIST_LIMIT
