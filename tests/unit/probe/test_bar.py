from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.machines.recorded_machines import find_device, open_machine, read_machine
from xpukit.core.machine import Bar
from xpukit.host.answers import FileAnswer
from xpukit.host.overlay import OverlayHost
from xpukit.probe.bar import is_small, parse_resources, parse_sizes
from xpukit.probe.machine import probe_machine

MIB = 1 << 20
GIB = 1 << 30
RESOURCE = """\
0x00000000f6000000 0x00000000f6ffffff 0x0000000000140204
0x0000000000000000 0x0000000000000000 0x0000000000000000
0x0000000c00000000 0x0000000fffffffff 0x000000000014220c
0x0000000000000000 0x0000000000000000 0x0000000000000000
0x000000000000e000 0x000000000000e03f 0x0000000000040101
0x0000000000000000 0x0000000000000000 0x0000000000000000
0x00000000f7000000 0x00000000f71fffff 0x0000000000046200
"""


def test_resource_file() -> None:
    bars = parse_resources(RESOURCE)
    assert [(bar.index, bar.size_bytes, bar.prefetchable, bar.is_64bit) for bar in bars] == [
        (0, 16 * MIB, False, True),
        (2, 16 * GIB, True, True),
    ]


def test_sizes_offered() -> None:
    assert parse_sizes("0000000000000f00\n") == (256 * MIB, 512 * MIB, GIB, 2 * GIB)
    assert parse_sizes("nonsense") == ()
    assert parse_sizes("0") == ()


@given(st.text())
def test_any_text_is_survived(text: str) -> None:
    for bar in parse_resources(text):
        assert bar.size_bytes > 0
    assert all(size >= MIB for size in parse_sizes(text))


@given(st.sets(st.integers(0, 43), min_size=1))
def test_a_mask_round_trips(bits: set[int]) -> None:
    mask = sum(1 << bit for bit in bits)
    assert parse_sizes(f"{mask:016x}") == tuple(MIB << bit for bit in sorted(bits))


@given(
    st.lists(
        st.tuples(st.integers(0, 1 << 46), st.integers(0, 45), st.booleans(), st.booleans()), min_size=1, max_size=6
    )
)
def test_a_resource_file_round_trips(windows: list[tuple[int, int, bool, bool]]) -> None:
    lines = []
    expected = []
    for index, (page, power, prefetchable, wide) in enumerate(windows):
        start, size = page << 12, 4096 << power if power < 34 else 4096
        flags = 0x200 | (0x2000 if prefetchable else 0) | (0x100000 if wide else 0)
        lines.append(f"0x{start:016x} 0x{start + size - 1:016x} 0x{flags:016x}")
        expected.append(Bar(index=index, size_bytes=size, prefetchable=prefetchable, is_64bit=wide))
    assert parse_resources("\n".join(lines)) == tuple(expected)


def test_a770_with_resizable_bar_on_and_off() -> None:
    on, off = find_device("a770", "0000:03:00.0"), find_device("a770_small_bar", "0000:03:00.0")
    assert (on.bar_bytes, on.extra["small_bar"]) == (16 * GIB, False)
    assert (off.bar_bytes, off.extra["small_bar"]) == (256 * MIB, True)
    assert [bar.resizable for bar in off.bars] == [False, True]
    findings = [finding for finding in read_machine("a770_small_bar").findings if finding.id == "XPK-PROBE-BAR-SMALL"]
    assert [finding.subject for finding in findings] == ["0000:03:00.0"]
    assert "16 GiB" in findings[0].evidence[1].value
    assert not [finding for finding in read_machine("a770").findings if finding.id == "XPK-PROBE-BAR-SMALL"]


def test_an_integrated_gpu_has_no_small_bar() -> None:
    integrated = find_device("a770", "0000:00:02.0")
    assert integrated.bar_bytes == 256 * MIB
    assert "small_bar" not in integrated.extra


@pytest.mark.parametrize(
    ("size", "possible", "memory", "expected"),
    [
        (256 * MIB, (), None, True),
        (8 * GIB, (), None, None),
        (8 * GIB, (256 * MIB, 8 * GIB), None, False),
        (256 * MIB, (256 * MIB,), None, False),
        (32 * GIB, (), 24 * GIB, False),
        (8 * GIB, (), 24 * GIB, True),
    ],
)
def test_small(size: int, possible: tuple[int, ...], memory: int | None, expected: bool | None) -> None:
    assert is_small(Bar(index=2, size_bytes=size, possible_bytes=possible), memory) is expected


def test_a_resource_file_that_may_not_be_read_is_said() -> None:
    device = read_machine("dual_card").devices[0]
    path = device.sources["bars"]
    host = OverlayHost(open_machine("dual_card"), {("read", path): FileAnswer(error="EACCES")})
    changed = probe_machine(host, include_all=True).devices[0]
    assert changed.bar_bytes is None
    assert [(row.what, row.remedy) for row in changed.unread if row.what == path] == [(path, "run as root")]
