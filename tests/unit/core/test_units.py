from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xpukit.core.units import format_bytes, format_cpu_list, format_number, format_seconds, parse_cpu_list


@given(st.sets(st.integers(0, 4096), max_size=200))
def test_cpu_lists_round_trip(cpus: set[int]) -> None:
    text = format_cpu_list(tuple(cpus))
    assert parse_cpu_list(text) == tuple(sorted(cpus))


@pytest.mark.parametrize(
    ("text", "cpus"),
    [
        ("", ()),
        ("\n", ()),
        ("0", (0,)),
        ("0-3,8\n", (0, 1, 2, 3, 8)),
        ("0-6:2", (0, 2, 4, 6)),
        ("0-7:2/4", (0, 1, 4, 5)),
        ("3,1", (1, 3)),
    ],
)
def test_kernel_forms(text: str, cpus: tuple[int, ...]) -> None:
    assert parse_cpu_list(text) == cpus


@pytest.mark.parametrize("text", ["a", "3-1", "1-", "-1", "0-9999999999", "1-4:0", "1-4:3/2", "1;2"])
def test_what_is_no_cpu_list_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_cpu_list(text)


@given(st.text(max_size=30))
def test_any_text_gives_numbers_or_value_error(text: str) -> None:
    try:
        cpus = parse_cpu_list(text)
    except ValueError:
        return
    assert list(cpus) == sorted(set(cpus))


def test_shown_numbers() -> None:
    assert [format_bytes(n) for n in (None, 12, 4096, 1536, 24 << 30, 3 << 40)] == [
        "-", "12 B", "4 KiB", "1.5 KiB", "24 GiB", "3 TiB",
    ]  # fmt: skip
    assert [format_number(v) for v in (0, 2604.4, 123.45, 12.345, 0.012345)] == [
        "0",
        "2604",
        "123.5",
        "12.35",
        "0.0123",
    ]
    assert [format_seconds(s) for s in (0.85, 12.34, 245)] == ["850 ms", "12.3 s", "4 min 05 s"]
