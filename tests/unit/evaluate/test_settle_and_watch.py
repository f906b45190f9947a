"""The gate before a job and the watch during it."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable

from tests.machines.dict_host import DictHost
from xpukit.evaluate.settle import SettleGate, list_temperatures, read_cpu_times
from xpukit.evaluate.watch import DeviceWatch, State, list_throttling, summarize_states
from xpukit.facts.suites import SettleSettings

SETTINGS = SettleSettings(limit_s=5, busy_above=0.25, warmer_by_c=8, cool_below_c=50)


def make_gate(states: list[State], stat: Callable[[], str] = lambda: "cpu 0 0 0 0 0 0 0 0 0 0") -> SettleGate:
    now = itertools.count()

    class Moving(DictHost):
        def read(self, path: str, **rest: object):  # type: ignore[no-untyped-def, override]
            self._files["/proc/stat"] = stat()
            return super().read(path)

    queue = iter([*states, *[states[-1]] * 100])
    return SettleGate(
        Moving({"/proc/stat": stat()}),
        lambda: next(queue),
        SETTINGS,
        sleep=lambda _: None,
        clock=lambda: float(next(now)),
    )


def heat(celsius: float) -> State:
    return {"0000:03:00.0": {"temp pkg [°C]": celsius, "temp pkg crit [°C]": 105.0, "power [W]": 20.0}}


def test_a_calm_machine_does_not_wait() -> None:
    waited, restless = make_gate([heat(45)]).wait()
    assert (waited, restless) == (1.0, "")


def test_a_hot_card_is_waited_for_until_it_cools() -> None:
    waited, restless = make_gate([heat(45), heat(80), heat(70), heat(52)]).wait()
    assert restless == ""
    assert waited > 2


def test_the_limit_ends_the_waiting_and_says_what_was_restless() -> None:
    _, restless = make_gate([heat(45), heat(80)]).wait()
    assert restless == "0000:03:00.0 temp pkg [°C] is at 80 °C (45 °C at the start)"


def test_a_card_that_was_hot_from_the_start_is_not_waited_for() -> None:
    assert make_gate([heat(80), heat(84)]).wait()[1] == ""


def test_other_load_is_seen() -> None:
    ticks = itertools.count(step=50)
    _, restless = make_gate([{}], lambda: f"cpu {next(ticks)} 0 0 100 0 0 0 0 0 0").wait()
    assert "busy" in restless


def test_cpu_times() -> None:
    assert read_cpu_times(DictHost({"/proc/stat": "cpu  10 1 5 80 4 0 0 0 3 0\ncpu0 1 2\n"})) == (16, 100)
    for bad in ("", "cpu", "intr 5 5 5 5 5 5", "cpu a b c d e f"):
        assert read_cpu_times(DictHost({"/proc/stat": bad})) is None
    assert read_cpu_times(DictHost({})) is None


def test_limits_of_sensors_are_no_temperatures() -> None:
    assert list_temperatures(heat(45)) == {"0000:03:00.0 temp pkg [°C]": 45.0}


def test_states_are_summarized() -> None:
    states: list[State] = [
        {"a": {"clock": 2400, "tile0/gt0 throttled_by": [], "link": "2.5 GT/s x8"}},
        {"a": {"clock": 1900, "tile0/gt0 throttled_by": ["power"], "link": "32 GT/s x8"}, "b": {"clock": 1}},
    ]
    summary = summarize_states(states)
    assert summary["a"]["clock"] == {"min": 1900, "max": 2400, "last": 1900}
    assert summary["a"]["link"] == ["2.5 GT/s x8", "32 GT/s x8"]
    assert (summary["a"]["samples"], summary["b"]["samples"]) == (2, 1)
    assert list_throttling(summary) == ["a: power"]
    assert summarize_states([]) == {}


def test_the_watch_samples_while_the_block_runs() -> None:
    count = itertools.count()
    enough = threading.Event()

    def look() -> State:
        number = next(count)
        if number >= 2:
            enough.set()
        return {"a": {"n": number}}

    with DeviceWatch(look, interval_s=0.01) as watch:
        assert enough.wait(timeout=60)
    assert watch.summarize()["a"]["samples"] >= 3


def test_watching_never_ends_a_run() -> None:
    asked = threading.Event()

    def fail() -> State:
        asked.set()
        raise OSError("gone")

    def see_nothing() -> State:
        asked.set()
        return {}

    with DeviceWatch(fail) as watch:
        assert asked.wait(timeout=60)
    assert "gone" in watch.summarize()["problem"]
    asked.clear()
    with DeviceWatch(see_nothing) as nothing:
        assert asked.wait(timeout=60)
    assert nothing.summarize() == {}
