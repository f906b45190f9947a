"""The gate before a job: wait, with a limit, until the machine is as calm as it was at the start of the run.

Without it a benchmark inherits the heat and the load of the one before.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from xpukit.evaluate.watch import State
from xpukit.facts.suites import SettleSettings
from xpukit.host import Host


class SettleGate:
    """Compares with the state at the start of the run, so that a warm room or a busy host is no reason to wait."""

    def __init__(
        self,
        host: Host,
        read_state: Callable[[], State],
        settings: SettleSettings,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._host = host
        self._read_state = read_state
        self._settings = settings
        self._sleep = sleep
        self._clock = clock
        self._first_c = list_temperatures(read_state())

    def wait(self) -> tuple[float, str]:
        """Seconds waited, and what was still unsettled when the limit came ("" when all was calm)."""
        begun = self._clock()
        while True:
            restless = self._find_restless()
            waited = self._clock() - begun
            if not restless or waited >= self._settings.limit_s:
                return round(waited, 2), restless
            self._sleep(min(0.5, max(0.05, self._settings.limit_s - waited)))

    def _find_restless(self) -> str:
        busy = self._measure_busy()
        if busy is not None and busy > self._settings.busy_above:
            return f"other processes keep {busy:.0%} of the CPUs busy"
        for name, value in list_temperatures(self._read_state()).items():
            first = self._first_c.get(name, value)
            if value > max(first + self._settings.warmer_by_c, self._settings.cool_below_c):
                return f"{name} is at {value:.0f} °C ({first:.0f} °C at the start)"
        return ""

    def _measure_busy(self) -> float | None:
        """Share of all CPUs' time that was not idle, over 0.1 s (/proc/stat); None where it cannot be read."""
        before = read_cpu_times(self._host)
        if before is None:
            return None
        self._sleep(0.1)
        after = read_cpu_times(self._host)
        if after is None or after[1] <= before[1]:
            return None
        return (after[0] - before[0]) / (after[1] - before[1])


def read_cpu_times(host: Host) -> tuple[int, int] | None:
    """(busy, total) ticks since boot: the first line of /proc/stat, idle and iowait being idle (proc(5))."""
    line = host.read("/proc/stat", limit_bytes=4096).text.partition("\n")[0].split()
    if len(line) < 6 or line[0] != "cpu" or not all(word.isdigit() for word in line[1:]):
        return None
    # guest and guest_nice (after the eighth field) are in user and nice already
    ticks = [int(word) for word in line[1:9]]
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)


def list_temperatures(state: State) -> dict[str, float]:
    """'0000:03:00.0 temp pkg [°C]' -> degrees, without limits such as 'crit'."""
    return {
        f"{label} {name}": float(value)
        for label, readings in state.items()
        for name, value in readings.items()
        if isinstance(value, int | float)
        and name.startswith("temp")
        and not name.split(" [")[0].endswith(("crit", "max"))
    }
