"""Conditions while a job runs: clocks, heat, power, throttling and link state, sampled and attached to its record."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

# By device label: readings by name; numbers, lists of words, or a word.
State = dict[str, dict[str, Any]]


class DeviceWatch:
    """Samples `read_state` every `interval_s` in a thread while its block runs; nothing to watch costs nothing."""

    def __init__(self, read_state: Callable[[], State], *, interval_s: float = 0.5) -> None:
        self._read_state = read_state
        self._interval_s = interval_s
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._states: list[State] = []
        self._times_s: list[float] = []
        self._problem = ""

    def __enter__(self) -> DeviceWatch:
        self._thread = threading.Thread(target=self._sample, daemon=True, name="xpukit-watch")
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._thread is not None:
            # A reading stuck in a driver is left to its deadline; the job's results do not wait for it.
            self._thread.join(timeout=2)

    def _sample(self) -> None:
        while True:
            try:
                state = self._read_state()
            except Exception as err:  # watching must never end a run
                self._problem = f"{type(err).__name__}: {err}"
                return
            if not state:
                return
            self._states.append(state)
            self._times_s.append(time.monotonic())
            if self._stop.wait(self._interval_s):
                return

    def summarize(self) -> dict[str, Any]:
        """Per device and reading: min, max and last of numbers, the set of words otherwise; {} for nothing."""
        states = list(self._states)
        summary = add_power(summarize_states(states), states, self._times_s[: len(states)])
        return {**summary, "problem": self._problem} if self._problem else summary


def summarize_states(states: list[State]) -> dict[str, Any]:
    """See DeviceWatch.summarize."""
    summary: dict[str, Any] = {}
    for label in sorted({label for state in states for label in state}):
        readings: dict[str, Any] = {}
        for name in sorted({name for state in states for name in state.get(label, {})}):
            values = [state[label][name] for state in states if name in state.get(label, {})]
            numbers = [value for value in values if isinstance(value, int | float)]
            if numbers:
                readings[name] = {"min": min(numbers), "max": max(numbers), "last": numbers[-1]}
            else:
                words = {word for value in values for word in (value if isinstance(value, list) else [value])}
                readings[name] = sorted(str(word) for word in words)
        summary[label] = {"samples": sum(label in state for state in states), **readings}
    return summary


def add_power(summary: dict[str, Any], states: list[State], times_s: list[float]) -> dict[str, Any]:
    """Mean power beside each energy counter (hwmon of xe has no other): 'energy card [J]' -> 'power card [W]'."""
    for label, readings in summary.items():
        for name in [name for name in readings if name.startswith("energy ") and name.endswith(" [J]")]:
            seen = [
                (moment, state[label][name])
                for moment, state in zip(times_s, states, strict=False)
                if isinstance(state.get(label, {}).get(name), int | float)
            ]
            seconds = seen[-1][0] - seen[0][0] if seen else 0.0
            joules = seen[-1][1] - seen[0][1] if seen else 0.0
            if seconds > 0 and joules >= 0:  # a counter that starts again says nothing
                readings[f"power {name.removeprefix('energy ').removesuffix(' [J]')} [W]"] = {
                    "mean": round(joules / seconds, 1)
                }
    return summary


def list_throttling(conditions: dict[str, Any]) -> list[str]:
    """'0000:03:00.0: power, thermal' for each device that was throttled during a job."""
    found = []
    for label, readings in conditions.items():
        if not isinstance(readings, dict):
            continue
        reasons = {
            reason for name, value in readings.items() if name.endswith("throttled_by") and isinstance(value, list)
            for reason in value
        }  # fmt: skip
        if reasons:
            found.append(f"{label}: {', '.join(sorted(reasons))}")
    return found
