"""Collectors fail alone; Ctrl-C ends all and keeps what is there."""

from __future__ import annotations

import itertools
import signal
import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from tests.machines.dict_host import DictHost
from xpukit.core.errors import OutputError, UsageError
from xpukit.core.json_document import build_document
from xpukit.host.answers import IdentityAnswer
from xpukit.host.interrupt import hold_interrupts
from xpukit.sysinfo.choose import choose_collectors, parse_preset, split_names
from xpukit.sysinfo.collection import (
    Collection,
    Estimate,
    Room,
    SysinfoReport,
    encode_collection,
    estimate_bundle,
    estimate_machine,
    fill_sizes,
)
from xpukit.sysinfo.collector import Asker, Collector, Preset
from xpukit.sysinfo.limits import Budget, LimitedHost
from xpukit.sysinfo.run_collection import _form_lanes, _Step, collect_machine

FILES = {"/etc/os-release": "ID=debian", "/etc/two": "2"}
ORDINARY = IdentityAnswer(hostname="machine", username="alice", uid=1000)


def read_one(asker: Asker) -> None:
    asker.read("/etc/os-release")


def crash(asker: Asker) -> None:
    asker.read("/etc/two")
    raise ZeroDivisionError("of our own making")


def interrupt(asker: Asker) -> None:
    asker.read("/etc/two")
    raise KeyboardInterrupt


def speak(asker: Asker) -> None:
    asker.note("no Docker here")
    asker.read("/nowhere")


def make_collector(name: str, collect: object, preset: Preset = "default") -> Collector:
    return Collector(name=name, summary=f"{name}.", preset=preset, collect=collect, root_adds="more")  # type: ignore[arg-type]


ONE, CRASH, STOP, SPEAK = (
    make_collector(name, collect)
    for name, collect in (("one", read_one), ("crash", crash), ("stop", interrupt), ("speak", speak))
)


def collect(
    *collectors: Collector,
    rooms: tuple[Room, ...] = (),
    host: DictHost | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Collection:
    budget = Budget(timeout_s=60, max_bytes=1 << 20)
    limited = LimitedHost(host or DictHost(FILES), budget)
    return collect_machine(limited, budget, collectors, preset="default", rooms=rooms, clock=clock)


def test_a_crash_costs_that_collector_only() -> None:
    made = collect(CRASH, ONE, SPEAK)
    assert [report.status for report in made.collectors] == ["crashed", "ok", "ok"]
    assert "ZeroDivisionError: of our own making" in made.collectors[0].detail
    # What it asked before it crashed is there.
    assert [entry.what for entry in made.collectors[0].entries] == ["read /etc/two"]
    assert made.collectors[2].notes == ("no Docker here",)
    assert made.collectors[2].entries[0].status == "missing"
    assert made.complete
    assert (made.entry_count, made.failed_count) == (3, 0)


def test_ctrl_c_keeps_what_is_there() -> None:
    room = Room(name="probe", summary="x", ask=lambda host: host.read("/etc/two"))
    made = collect(ONE, STOP, SPEAK, rooms=(room,))
    assert made.interrupted
    assert not made.complete
    assert [report.status for report in made.rooms] == ["ok"]
    assert [report.status for report in made.collectors] == ["ok", "interrupted", "skipped"]
    assert made.collectors[1].entries[0].what == "read /etc/two"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_while_an_answer_is_written_down_loses_nothing_of_it(number: signal.Signals) -> None:
    written: list[tuple[str, ...]] = []

    def keep(question: tuple[str, ...], answer: object) -> None:
        if "/etc/os-release" in question:
            signal.raise_signal(number)
        written.append(question)

    budget = Budget(timeout_s=60, max_bytes=1 << 20)
    limited = LimitedHost(DictHost(FILES), budget)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        made = collect_machine(limited, budget, (ONE, SPEAK), preset="default", keep=keep)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert made.interrupted
    assert any("/etc/os-release" in question for question in written)


def test_a_second_ctrl_c_while_an_answer_is_written_down_does_not_wait() -> None:
    reached: list[int] = []

    def write() -> None:
        with hold_interrupts():
            for number in range(3):
                signal.raise_signal(signal.SIGINT)
                reached.append(number)

    with pytest.raises(KeyboardInterrupt):
        write()
    assert reached == [0]


def test_ctrl_c_in_the_first_room() -> None:
    def stop(_: object) -> None:
        raise KeyboardInterrupt

    made = collect(ONE, rooms=(Room(name="probe", summary="x", ask=stop), Room(name="doctor", summary="x", ask=stop)))
    assert [report.status for report in made.reports] == ["interrupted", "skipped", "skipped"]


def test_root_adds_only_where_root_is_missing() -> None:
    assert collect(ONE).collectors[0].root_adds == ""
    ordinary = DictHost(FILES, answers={("identity",): ORDINARY})
    made = collect(ONE, host=ordinary)
    assert made.collectors[0].root_adds == "more"
    assert not made.root


def test_a_full_disk_is_no_defect_of_a_collector() -> None:
    class FullDisk(LimitedHost):
        def mediate(self, question, answer_type, ask):  # type: ignore[no-untyped-def]
            if question[0] == "read":
                raise OutputError("no space")
            return super().mediate(question, answer_type, ask)

    def shrug(asker: Asker) -> None:
        try:
            asker.read("/etc/two")
        except Exception:  # as the guard of probe does
            return

    budget = Budget(timeout_s=60, max_bytes=1 << 20)
    limited = FullDisk(DictHost(FILES), budget)
    with pytest.raises(OutputError, match="no space"):
        collect_machine(limited, budget, (make_collector("shrug", shrug),), preset="default")


def test_out_of_time_collectors_are_skipped() -> None:
    now = [0.0]

    def slow(asker: Asker) -> None:
        now[0] += 61

    budget = Budget(timeout_s=60, max_bytes=1 << 20, clock=lambda: now[0])
    limited = LimitedHost(DictHost(FILES), budget)
    made = collect_machine(limited, budget, (make_collector("slow", slow), ONE), preset="default", clock=lambda: now[0])
    assert [report.status for report in made.collectors] == ["timeout", "skipped"]
    assert "--timeout" in made.collectors[1].detail


def test_progress_counts_rooms_and_collectors() -> None:
    seen: list[tuple[str, int, int]] = []
    budget = Budget(timeout_s=60, max_bytes=1 << 20)
    limited = LimitedHost(DictHost(FILES), budget)
    collect_machine(limited, budget, (ONE, SPEAK), preset="default", progress=lambda *step: seen.append(step))
    assert seen == [("one", 0, 2), ("speak", 1, 2), ("", 2, 2)]


def test_a_crash_in_an_estimate_is_said() -> None:
    one, broken = estimate_machine(DictHost(FILES), (ONE, CRASH))
    assert (one.files, one.detail) == (1, "")
    assert "ZeroDivisionError" in broken.detail


ALL = (
    make_collector("small", read_one, "minimal"),
    make_collector("usual", read_one, "default"),
    make_collector("large_one", read_one, "full"),
)


@pytest.mark.parametrize(
    ("preset", "only", "skip", "names"),
    [
        ("minimal", (), (), ["small"]),
        ("default", (), (), ["small", "usual"]),
        ("full", (), ("usual",), ["small", "large_one"]),
        ("minimal", ("large_one",), (), ["large_one"]),
        ("full", ("usual", "small"), ("small",), ["usual"]),
        ("minimal", (), ("small",), []),
    ],
)
def test_choosing(preset: Preset, only: tuple[str, ...], skip: tuple[str, ...], names: list[str]) -> None:
    assert [one.name for one in choose_collectors(ALL, preset=preset, only=only, skip=skip)] == names


def test_a_wrong_name_gets_the_nearest() -> None:
    with pytest.raises(UsageError) as caught:
        choose_collectors(ALL, preset="default", only=("large-on",))
    assert "did you mean large_one" in caught.value.hint
    with pytest.raises(UsageError, match="no such preset"):
        parse_preset("everything")
    with pytest.raises(UsageError, match="no collector"):
        choose_collectors(ALL, preset="default", only=("small",), skip=("small",))
    assert split_names(("a,b", "b, c,")) == ("a", "b", "c")


def test_collection_json_is_compact_and_reads_back() -> None:
    # Each look at the clock is a quarter of a second later: long enough to be told.
    ticks = (tick / 4 for tick in itertools.count())
    room = Room(name="probe", summary="x", ask=lambda host: host.read("/etc/two"))
    made = collect(CRASH, ONE, SPEAK, rooms=(room,), clock=lambda: next(ticks))
    report = SysinfoReport(collection=made, problems=("p",))
    text = encode_collection(build_document("xpukit.sysinfo/1", "h", report))
    sizes = {entry.what: entry.size_bytes for one in made.reports for entry in one.entries}
    assert any(sizes.values())
    assert "size_bytes" not in text, "the answers say it"
    assert fill_sizes(msgspec.json.decode(text, type=SysinfoReport), sizes.__getitem__) == report
    # A line for each report and each question, and nothing that is as usual.
    assert text.count("\n") == 4 + made.entry_count + 1
    assert '"status":"ok","detail":"","seconds"' in text, "of a collector all is said"
    assert not any('"ok"' in line for line in text.splitlines() if line.startswith('{"what"'))


def test_a_collector_that_waits_long_begins_first() -> None:
    begun: list[str] = []

    def make(name: str, **settings: Any) -> Collector:
        return Collector(name=name, summary="s", preset="minimal", collect=lambda _: begun.append(name), **settings)

    lanes = _form_lanes([_Step(make("a")), _Step(make("slow", begins_first=True)), _Step(make("b", lane="gpu"))], 2)
    assert [[step.task.name for step in lane] for lane in lanes] == [["b"], ["slow"], ["a"]]


def test_an_estimate_of_a_bundle_counts_what_probe_and_doctor_ask() -> None:
    one = Estimate(name="a", summary="s", questions=100, size_bytes=50_000)
    small, large = estimate_bundle((one,)), estimate_bundle((one,) * 10)
    assert small.unpacked_bytes > 130_000
    assert large.unpacked_bytes - small.unpacked_bytes == 9 * (50_000 + 100 * 180)
    assert small.archive_bytes < small.unpacked_bytes / 4
