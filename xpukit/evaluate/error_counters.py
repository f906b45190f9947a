"""Errors that devices and their links count, read before and after a run: xpu-smi stats, and aer_dev_* of sysfs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from xpukit.core.machine import Device, Machine
from xpukit.evaluate.parsers.xpu_smi_tables import StatsTable, parse_stats
from xpukit.facts.error_counters import load_error_counters
from xpukit.facts.tools import load_tools
from xpukit.host import Host

PROGRAM = "xpu-smi"
_TIMEOUT_S = 30.0
_PCIE = "pcie "
_AER_TOTAL = re.compile(r"^TOTAL_ERR_\w+ (\d{1,18})$", re.MULTILINE)

# By BDF: counter -> count.
Counts = dict[str, dict[str, int]]


class ErrorCounters:
    """Reads the counters of `cards`, and keeps what it read first and last.

    What cannot be read is left out, and `problems` says why.
    """

    def __init__(self, host: Host, machine: Machine, cards: Iterable[str]) -> None:
        self.cards = tuple(dict.fromkeys(cards))
        self._host = host
        self._devices = [device for device in machine.devices if device.bdf in self.cards]
        self._form: tuple[str, ...] = ()
        self._first: Counts | None = None
        self._last: Counts | None = None
        self.problems: dict[str, str] = {}

    @property
    def span(self) -> tuple[Counts, Counts]:
        """The first and the last reading; before there are two, nothing."""
        return (self._first, self._last) if self._first is not None and self._last is not None else ({}, {})

    def read(self) -> Counts:
        """The counts of this moment."""
        found = {device.bdf: {**self._read_links(device), **self._read_device(device)} for device in self._devices}
        counts = {bdf: counts for bdf, counts in found.items() if counts}
        if self._first is None:
            self._first = counts
        else:
            self._last = counts
        return counts

    def _read_links(self, device: Device) -> dict[str, int]:
        sums: dict[str, int] = {}
        for name in load_error_counters():
            kind = name.removeprefix(_PCIE)
            if kind == name:
                continue
            for bdf in (*device.path, device.bdf):
                answer = self._host.read(f"/sys/bus/pci/devices/{bdf}/aer_dev_{kind}")
                total = _AER_TOTAL.search(answer.text) if answer.ok else None
                if total is not None:
                    sums[name] = sums.get(name, 0) + int(total[1])
        return sums

    def _read_device(self, device: Device) -> dict[str, int]:
        number = device.xpu_smi_index
        if number is None or device.bdf in self.problems:
            return {}
        for words in [self._form] if self._form else load_tools().xpu_smi_stats.arguments:
            argv = [PROGRAM, *(str(number) if word == "{device}" else word for word in words)]
            ran = self._host.run(argv, timeout_s=_TIMEOUT_S)
            table = parse_stats(ran.text, ran.err_text)
            counts = count_errors(table, number)
            if counts:
                self._form = words
                self.problems.pop(device.bdf, None)
                return counts
            said = table.problems[0].text if table.problems else ran.describe_failure() if ran.failure else ""
            self.problems[device.bdf] = f"{ran.command}: {said or 'it shows no counts of errors'}"
            if ran.failure:  # not there, or hanging: it would be for the other cards and in another form too
                self.problems = dict.fromkeys(self.cards, self.problems[device.bdf])
                break
        return {}


def count_errors(table: StatsTable, device: int) -> dict[str, int]:
    """The device's counters that have a value; where only its tiles have one, their sum."""
    found: dict[str, int] = {}
    for name in load_error_counters():
        whole = table.get(name, device)
        tiles = _list_tiles(table, name, device) if whole is None else [whole]
        if tiles:
            found[name] = int(sum(tiles))
    return found


def _list_tiles(table: StatsTable, name: str, device: int) -> Sequence[float]:
    return [
        item.value
        for item in table.readings
        if item.metric.metric == name and item.device == device and item.scope and item.value is not None
    ]
