"""Reads the engine and the machine while a round runs, and after it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from xpukit.core.errors import XpukitError
from xpukit.facts.bench_stress import find_stress_limit
from xpukit.operate.stress.machine_readings import join_highest

Reader = Callable[[], dict[str, float]]


class Watcher:
    """`fast` readers are asked every few seconds while a round runs, all of them after it."""

    def __init__(self, fast: Sequence[Reader], slow: Sequence[Reader] = ()) -> None:
        self._fast = tuple(fast)
        self._slow = tuple(slow)
        self._samples: list[dict[str, float]] = []
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to sample."""
        self._samples = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, args=(self._stop,), daemon=True)
        self._thread.start()

    def stop(self) -> dict[str, float]:
        """The highest of each reading since the start, under names that end in `_loaded` where the idle one differs."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=find_stress_limit("sample_s") * 5)
        highest = join_highest(self._samples)
        return {"kv_usage_loaded" if name == "kv_usage" else name: value for name, value in highest.items()}

    def read_idle(self) -> dict[str, float]:
        """Everything, when the last request has left the engine (or the limit of waiting is over)."""
        until = time.monotonic() + find_stress_limit("settle_s")
        while True:
            found = _read_all(self._fast)
            if not found.get("running") or time.monotonic() >= until:
                return {**found, **_read_all(self._slow)}
            time.sleep(0.1)

    def _sample(self, stop: threading.Event) -> None:
        while True:
            self._samples.append(_read_all(self._fast))
            if stop.wait(find_stress_limit("sample_s")):
                return


def _read_all(readers: Sequence[Reader]) -> dict[str, float]:
    found: dict[str, float] = {}
    for read in readers:
        try:
            found.update(read())
        except XpukitError:  # a source that fails is absent, not the end of a run over days
            continue
    return found
