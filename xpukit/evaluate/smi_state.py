"""Clocks, power, heat and throttling by `xpu-smi dump`, for devices whose driver's files in sysfs do not say them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from xpukit.core.machine import Machine
from xpukit.evaluate.parsers.xpu_smi_dump import DumpOutput, DumpSample, parse_dump
from xpukit.evaluate.watch import State
from xpukit.facts.tools import load_tools
from xpukit.host import Host
from xpukit.host.answers import Ran

PROGRAM = "xpu-smi"
_TIMEOUT_S = 15.0
_INTERVAL_S = 1.0
_TRIES = 2
# The tool's metric: our reading's name, its unit, and how sysfs' own reading of the same begins.
_NAMES = {
    "frequency": ("frequency", "MHz"),
    "power": ("power", "W"),
    "core_temperature": ("temp core", "C"),
    "memory_temperature": ("temp memory", "C"),
}
# Endings of sensors that are limits, not readings.
_SETTINGS = ("max", "crit", "cap", "min")
_NOT_THROTTLED = ("", "n/a", "not throttled", "none")


class SmiState:
    """`read` gives what `read_sysfs` gives, and xpu-smi's readings where that lacks them. Names say the source."""

    def __init__(
        self, host: Host, machine: Machine, read_sysfs: Callable[[], State], *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._host = host
        self._places = {
            device.xpu_smi_index: device.bdf for device in machine.devices if device.xpu_smi_index is not None
        }
        self._read_sysfs = read_sysfs
        self._clock = clock
        self._form: Callable[[int], list[str]] | None = None
        self._failures = 0
        self._asked_s = float("-inf")
        self._last: State = {}
        self.used_for: set[str] = set()
        self.problem = ""

    def read(self) -> State:
        """The state of this moment; what xpu-smi says may be a second old."""
        state = self._read_sysfs()
        lacking = [index for index, bdf in sorted(self._places.items()) if list_lacking(state.get(bdf, {}))]
        if not lacking or self._failures >= _TRIES:
            return state
        if self._clock() - self._asked_s >= _INTERVAL_S:
            self._asked_s = self._clock()
            self._last = self._ask(lacking)
            self._asked_s = self._clock()
        for bdf, readings in self._last.items():
            own = state.setdefault(bdf, {})
            missing = list_lacking(own)
            added = {name: value for name, (kind, value) in readings.items() if kind in missing}
            own.update(added)
            if added:
                self.used_for.add(bdf)
        return state

    def describe(self) -> dict[str, Any]:
        """For the run's conditions; {} where the tool was not needed."""
        told: dict[str, Any] = {"sampled_for": sorted(self.used_for)} if self.used_for else {}
        return {**told, "problem": self.problem} if self.problem else told

    def _ask(self, indices: Sequence[int]) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for index in indices:
            dump = self._dump(index)
            for sample in dump.readings if dump is not None else ():
                bdf = self._places.get(sample.device) if sample.device is not None else None
                if bdf is not None and sample.tile is None:
                    found[bdf] = _read_sample(sample)
        self._failures = 0 if found else self._failures + 1
        return found

    def _dump(self, index: int) -> DumpOutput | None:
        forms = load_tools().xpu_smi_dump
        ways = [self._form] if self._form else [lambda i, words=words: _fill(words, i) for words in forms.arguments]
        for way in ways:
            ran: Ran = self._host.run([PROGRAM, *way(index)], timeout_s=_TIMEOUT_S)
            dump = parse_dump(ran.text, ran.err_text)
            if dump.readings:
                self._form = way
                return dump
            first = dump.problems[0].text if dump.problems else ran.describe_failure() or "no row"
            self.problem = f"{ran.command}: {first}"
            if ran.failure:  # not there, or hanging: the other form would be too
                return None
        return None


def _fill(words: Sequence[str], index: int) -> list[str]:
    return [str(index) if word == "{device}" else word for word in words]


def list_lacking(readings: dict[str, Any]) -> set[str]:
    """Which kinds of readings are not there: frequency, power, temperature, throttling.

    An energy counter gives power too. Without clocks the driver shows nothing of throttling either.
    """
    kinds = set()
    if not any(name.endswith(("actual_mhz", "requested_mhz")) for name in readings):
        kinds |= {"frequency", "throttling"}
    values = [name.partition(" [")[0] for name in readings if not name.partition(" [")[0].endswith(_SETTINGS)]
    if not any(name.startswith("temp") for name in values):
        kinds.add("temperature")
    if not any(name.startswith(("power", "energy")) for name in values):
        kinds.add("power")
    return kinds


def _read_sample(sample: DumpSample) -> dict[str, Any]:
    """Our name -> (kind, value)."""
    found: dict[str, Any] = {}
    for cell in sample.cells:
        metric = cell.column.metric
        if metric in _NAMES and cell.value is not None:
            name, unit = _NAMES[metric]
            kind = "temperature" if name.startswith("temp") else name
            found[f"{name}, {PROGRAM} [{unit}]"] = (kind, cell.value)
        elif metric == "throttle_reason":
            reason = cell.text.strip()
            found[f"{PROGRAM} throttled_by"] = (
                "throttling",
                [] if reason.lower() in _NOT_THROTTLED else [reason],
            )
    return found
