"""The data of known errors: complete, sourced, and patterns that cost little."""

from __future__ import annotations

import re
import string
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xpukit.doctor.log_lines import parse_line, shape_line, squeeze
from xpukit.facts.known_errors import (
    KnownError,
    choose_marks,
    choose_pieces,
    compile_pattern,
    find_fault,
    list_literals,
    load_known_errors,
    load_result_codes,
)

try:
    from re import _parser  # type: ignore[attr-defined]
except ImportError:  # Python 3.10
    import sre_parse as _parser

ROWS = load_known_errors()
PATTERNS = sorted({pattern for row in ROWS for pattern in (*row.patterns, *row.context)})
# What one try of a pattern from one place may cost, and what a window holds.
STEPS_AT_MOST = 50_000
WINDOW = 9000

# Every row of the project's corpus of reported errors, by its first reference.
CORPUS = {
    "open-edge-platform/geti-instant-learn#583", "intel/xpumanager#103", "uxlfoundation/oneCCL#121", "intel/xpumanager#2",
    "intel/llm-scaler#578", "intel/llm-scaler vllm/KNOWN_ISSUES.md #03", "intel/compute-runtime#935",
    "intel-gpu/intel-gpu-i915-backports#194", "intel/llm-scaler#382", "intel/llm-scaler#595", "vllm-project/vllm#19370",
    "lxc/incus-os#891", "intel/llm-scaler vllm/README.md 4.2", "intel/ipex-llm#12872", "uxlfoundation/oneCCL#217",
    "intel/compute-runtime#948", "intel/compute-runtime#942", "intel/llm-scaler#633", "intel/llm-scaler#723",
    "uxlfoundation/oneCCL#215", "intel/intel-extension-for-pytorch#266", "intel/llm-scaler#216",
    "intel/compute-runtime#933", "intel/llm-scaler#424", "intel/intel-extension-for-pytorch#863",
    "intel/xpumanager#151", "intel/intel-xpu-backend-for-triton#6056", "intel/media-driver#1917",
    "thor2002ro/unraid_kernel#11", "intel/xpumanager#150", "vllm-project/vllm#50545",
}  # fmt: skip


def test_every_reported_error_is_in() -> None:
    assert {reference for row in ROWS for reference in row.references} >= CORPUS
    assert len(ROWS) > 100
    assert {"kernel", "loader", "ccl", "torch", "engine", "docker", "hub", "tool"} == {row.source_kind for row in ROWS}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_rows_say_enough(row: KnownError) -> None:
    assert find_fault(row) == ""
    assert all((row.cause, row.remedy, row.title))
    assert re.fullmatch(r"20\d\d-\d\d-\d\d", row.date)
    assert row.references or row.status == "open"
    for reference in row.references:
        assert re.search(r"^[\w.-]+/[\w.-]+#\d+$|^intel/llm-scaler vllm/|^vllm v1/|our capture", reference), reference
    assert "http" not in " ".join(row.references)


def test_no_pattern_is_written_twice_without_reason() -> None:
    often = Counter(pattern for row in ROWS if not row.context for pattern in row.patterns)
    assert [pattern for pattern, count in often.items() if count > 1] == []


def _count_steps(tree: object) -> int:
    """An upper bound of what a search from one place tries: the product of all choices of length in it."""
    steps = 1
    for name, value in tree:  # type: ignore[attr-defined]
        if str(name) in ("MAX_REPEAT", "MIN_REPEAT"):
            low, high, inner = value
            high = min(int(high), WINDOW)
            assert high <= 1 or _count_steps(inner) == 1, "a repeat within a repeat"
            steps *= max(1, high - int(low) + 1) * (_count_steps(inner) if high <= 1 else 1)
        elif str(name) == "SUBPATTERN":
            steps *= _count_steps(value[-1])
        elif str(name) == "BRANCH":
            steps *= sum(_count_steps(branch) for branch in value[1])
        else:
            assert "GROUPREF" not in str(name)
    return steps


# Repeats of a small alphabet next to what cannot be in it end at once: what counts is the repeats of any character.
@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns_cannot_run_away(pattern: str) -> None:
    tree = _parser.parse(pattern, re.VERBOSE | re.IGNORECASE)
    wide = re.compile(r"(?<!\\)\.\{(\d+),(\d+)\}").findall("".join(pattern.split()))
    product = 1
    for low, high in wide:
        product *= int(high) - int(low) + 1
    assert product <= STEPS_AT_MOST
    assert "*" not in re.sub(r"\\\*", "", pattern), "unbounded"
    assert not re.search(r"[^\\]\+(?!\])", re.sub(r"\[[^\]]*\]", "c", pattern)), "unbounded"
    _count_steps(tree)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_pieces_are_in_what_the_pattern_matches(pattern: str) -> None:
    """The fast look must never hide a line that the pattern matches."""
    pieces = (*choose_pieces(pattern), *choose_marks(pattern))
    assert pieces
    for row in ROWS:
        for line in row.example.encode().splitlines():
            if compile_pattern(pattern).search(squeeze(parse_line(line).message)):
                assert all(piece.encode() in shape_line(line) for piece in pieces), (row.id, line)


@given(st.text(string.ascii_letters + string.digits + " _./:-", min_size=12, max_size=60))
def test_plain_text_is_its_own_literal(text: str) -> None:
    squeezed = "".join(text.split()).lower()
    expected = "".join(char for char in squeezed if not char.isdigit())
    assert "".join(list_literals(re.escape(text).replace(r"\ ", " "))) == expected


@pytest.mark.parametrize(
    ("pattern", "literals"),
    [
        ("abc (?: def )? ghi", ("abc", "ghi")),
        (r"wrong\? x? yes", ("wrong?", "yes")),
        ("one[abc|]two", ("one", "two")),
        (r"a{0,3}bcd e{2} fgh", ("bcde", "fgh")),
        (r"(?P<n>\d+) \) left", (")left",)),
    ],
)
def test_literals_of_regular_expressions(pattern: str, literals: tuple[str, ...]) -> None:
    assert list_literals(pattern) == literals


def test_result_codes_are_unique_and_named() -> None:
    codes = load_result_codes()
    for table, prefix in ((codes.ze, "ZE_RESULT_"), (codes.ur, "UR_RESULT_ERROR_")):
        assert len({code.code for code in table}) == len(table) > 35
        assert all(code.name.startswith(prefix) and code.meaning for code in table)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"id": "xpk-log-a"}, "ids"),
        ({"references": (), "status": "confirmed"}, "without a reference"),
        ({"example": ""}, "come together"),
        ({"patterns": ("a(",)}, "pattern"),
        ({"patterns": ("something|other thing",)}, "alternatives"),
        ({"patterns": (r"\d+ \w+",)}, "plain text"),
        ({"context": ("elsewhere",)}, "special case"),
    ],
)
def test_faults_are_named(change: dict[str, object], fault: str) -> None:
    good: dict[str, object] = {
        "id": "XPK-LOG-A", "title": "t", "severity": "info", "cause": "c", "remedy": ("r",), "status": "confirmed",
        "origin": "thread", "date": "2026-01-01", "references": ("a/b#1",), "patterns": ("it went wrong",),
        "example": "it went wrong",
    }  # fmt: skip
    assert find_fault(KnownError(**good)) == ""  # type: ignore[arg-type]
    assert fault in find_fault(KnownError(**{**good, **change}))  # type: ignore[arg-type]


def test_the_document_lists_them_all() -> None:
    text = (Path(__file__).resolve().parents[3] / "docs" / "known-errors.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\| (XPK-LOG-[A-Z0-9-]+) \| .* \| (\w+) \| \w+ \| .*\|$", text, re.MULTILINE))
    assert listed == {row.id: row.severity for row in ROWS}
