"""Errors counted by cards and links before and after a run."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tests.machines.dict_host import DictHost
from xpukit.core.machine import Device, Machine
from xpukit.evaluate.error_counters import ErrorCounters, count_errors
from xpukit.evaluate.error_rows import judge_errors
from xpukit.evaluate.parsers.xpu_smi_names import _NAMES
from xpukit.evaluate.parsers.xpu_smi_tables import parse_stats
from xpukit.facts.error_counters import load_error_counters
from xpukit.host.answers import Ran

BDFS = ("0000:18:00.0", "0000:3a:00.0")
BRIDGE = "0000:16:01.0"
MACHINE = Machine(
    devices=tuple(
        Device(index=i, bdf=bdf, vendor_id="8086", device_id="e211", name="B60", known=True, xpu_smi_index=i,
               path=(BRIDGE,))
        for i, bdf in enumerate(BDFS)
    )
)  # fmt: skip
RULE = "+------------------------------+------------------------------+\n"


def make_table(device: int, counts: dict[str, str]) -> bytes:
    rows = {"Device ID": str(device), **counts}
    return (RULE + "".join(f"| {name:<28} | {value:<28} |\n" for name, value in rows.items()) + RULE).encode()


def aer(total: int, kind: str = "COR") -> str:
    return f"RxErr 0\nBadTLP {total}\nTOTAL_ERR_{kind} {total}\n"


def make_host(counts: dict[str, str], links: int = 0) -> DictHost:
    """Both cards say `counts` when asked with -r; the bridge above them has `links` corrected errors."""
    commands: dict[tuple[str, ...], Ran] = {}
    for number in (0, 1):
        argv = ("xpu-smi", "stats", "-d", str(number), "-r")
        if counts:
            commands[argv] = Ran(argv=argv, rc=0, out=make_table(number, counts))
    files = {f"/sys/bus/pci/devices/{BRIDGE}/aer_dev_correctable": aer(links)}
    return DictHost(files, commands=commands)


def read_twice(first: DictHost, second: DictHost) -> ErrorCounters:
    counters = ErrorCounters(first, MACHINE, BDFS)
    counters.read()
    counters._host = second  # the same machine, later
    counters.read()
    return counters


def judge(counters: ErrorCounters) -> dict[tuple[str, str], tuple[str, float | None, str]]:
    rows = judge_errors(*counters.span, counters.cards, counters.problems)
    return {(row.devices[0], str(row.params.get("counter", ""))): (row.verdict, row.value, row.reason) for row in rows}


def test_every_counter_is_one_that_is_read() -> None:
    for name in load_error_counters():
        assert name.startswith("pcie ") or name in _NAMES


def test_nothing_new_is_well() -> None:
    rows = judge(read_twice(make_host({"Reset": "3"}, links=7), make_host({"Reset": "3"}, links=7)))
    assert rows == {(bdf, ""): ("pass", 0.0, "") for bdf in BDFS}


def test_growth_is_told_and_judged() -> None:
    rows = judge(
        read_twice(
            make_host({"Reset": "0", "Mem Errors Correctable": "40"}, links=7),
            make_host({"Reset": "0", "Mem Errors Correctable": "43"}, links=9),
        )
    )
    memory = rows[BDFS[0], "memory_errors_correctable"]
    assert memory == ("warn", 3.0, "3 corrected errors in the device's memory during the run (40 before, 43 after)")
    assert rows[BDFS[1], "pcie correctable"][:2] == ("warn", 2.0)
    assert rows[BDFS[0], ""][:2] == ("warn", 5.0)


@pytest.mark.parametrize("name", ["Reset", "Mem Errors Uncorrectable", "Cache Errors Uncorrectable"])
def test_what_cannot_be_corrected_fails(name: str) -> None:
    rows = judge(read_twice(make_host({name: "0"}), make_host({name: "1"})))
    assert rows[BDFS[0], ""][:2] == ("fail", 1.0)


def test_a_counter_that_began_again_counts_from_zero() -> None:
    rows = judge(read_twice(make_host({"Driver Errors": "9"}), make_host({"Driver Errors": "2"})))
    verdict, value, reason = rows[BDFS[0], "driver_errors"]
    assert (verdict, value) == ("warn", 2.0)
    assert "began again" in reason
    assert (
        judge(read_twice(make_host({"Driver Errors": "9"}), make_host({"Driver Errors": "0"})))[BDFS[0], ""][0]
        == "warn"
    )


def test_an_older_tool_is_asked_without_the_option() -> None:
    refused = ("xpu-smi", "stats", "-d", "0", "-r")
    plain = ("xpu-smi", "stats", "-d", "0")
    said = b"The following argument was not expected: -r\nRun with --help for more information.\n"
    commands = {
        refused: Ran(argv=refused, rc=106, err=said),
        plain: Ran(argv=plain, rc=0, out=make_table(0, {"Reset": "1"})),
    }
    machine = msgspec.structs.replace(MACHINE, devices=MACHINE.devices[:1])
    host = DictHost(commands=commands)
    counters = ErrorCounters(host, machine, BDFS[:1])
    assert counters.read() == counters.read() == {BDFS[0]: {"resets": 1}}
    assert len([question for question in host.asked if question[0] == "run" and "-r" in question]) == 1


def test_without_counts_the_row_says_why() -> None:
    rows = judge(read_twice(make_host({"Reset": "N/A"}), make_host({"Reset": "N/A"})))
    assert rows[BDFS[0], ""][0] == "pass"  # the bridge counts
    lone = Machine(devices=(msgspec.structs.replace(MACHINE.devices[0], path=()),))
    counters = ErrorCounters(DictHost(), lone, BDFS[:1])
    counters.read()
    counters.read()
    (row,) = judge_errors(*counters.span, counters.cards, counters.problems)
    assert row.verdict == "not-applicable"
    assert "xpu-smi stats -d 0 -r" in row.reason


def test_one_reading_is_no_span() -> None:
    counters = ErrorCounters(make_host({"Reset": "0"}), MACHINE, BDFS)
    counters.read()
    assert counters.span == ({}, {})


def test_tiles_are_added_where_the_card_has_no_figure() -> None:
    text = make_table(0, {"Reset": "Tile 0: 1, Tile 1: 2", "Driver Errors": "Tile 0: 1, total: 4"}).decode()
    assert count_errors(parse_stats(text), 0) == {"resets": 3, "driver_errors": 4}


def test_the_samples_of_each_generation() -> None:
    data = Path(__file__).resolve().parents[2] / "data" / "xpu-smi"
    read = {path.name: parse_stats(path.read_text(encoding="utf-8")) for path in data.glob("*stats*")}
    counted = {name: count_errors(table, table.readings[0].device or 0) for name, table in read.items()}
    assert counted["1.3.7-stats-d1.txt"] == {"resets": 0, "memory_errors_uncorrectable": 2}
    assert counted["2.0-stats-d0.txt"] == {}  # asked without -r


def test_a_tool_that_hangs_is_asked_once() -> None:
    argv = ("xpu-smi", "stats", "-d", "0", "-r")
    host = DictHost(commands={argv: Ran(argv=argv, rc=-15, failure="timeout", seconds=30.0)})
    counters = ErrorCounters(host, MACHINE, BDFS)
    counters.read()
    counters.read()
    assert len([question for question in host.asked if question[0] == "run"]) == 1
    rows = judge(counters)
    assert {rows[bdf, ""][0] for bdf in BDFS} == {"not-applicable"}
