"""From what each client says of its own time to counters that only grow: by GPU, and by container and process name."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from xpukit.operate.exporter.fdinfo import EngineUse
from xpukit.operate.exporter.processes import SeenClient
from xpukit.operate.exporter.sample import Sample, gpu_labels

# Counters of a container and process name that nobody has any more are kept this long.
_FORGET_AFTER_S = 3600.0
# Two who scrape at once, or one who looks in between: means over less than this would be noise.
MIN_WINDOW_S = 1.0
DeviceKey = tuple[str, str]  # BDF, engine class
OwnerKey = tuple[str, str, str, str]  # BDF, container, process, engine class


class _Last(msgspec.Struct):
    at_s: float
    use: EngineUse


class _Total(msgspec.Struct):
    seconds: float
    seen_s: float


class BusyLedger:
    """Adds up the time of engine classes; what a client did before it was first seen or after it was last is not in."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, str, str], _Last] = {}
        self._devices: dict[DeviceKey, float] = {}
        self._owners: dict[OwnerKey, _Total] = {}
        self._capacity: dict[DeviceKey, int] = {}
        # The window over which shares are: since when, and what was gained in it.
        self._since_s: float | None = None
        self._window: dict[DeviceKey, float] = {}
        self._ratios: dict[DeviceKey, float] = {}

    def advance(self, now_s: float, clients: Iterable[SeenClient]) -> None:
        """Take the clients as they are at `now_s` (a monotonic clock)."""
        gained: dict[DeviceKey, float] = dict.fromkeys(self._capacity, 0.0)
        last: dict[tuple[str, str, str], _Last] = {}
        for seen in clients:
            for name, use in seen.client.engines.items():
                device, place = (seen.client.bdf, name), (seen.client.bdf, seen.client.client_id, name)
                last[place] = _Last(at_s=now_s, use=use)
                self._capacity[device] = max(use.capacity, self._capacity.get(device, 1))
                seconds = _measure(self._last.get(place), now_s, use)
                gained[device] = gained.get(device, 0.0) + seconds
                self._credit((seen.client.bdf, seen.container, seen.process, name), seconds, now_s)
        for device, seconds in gained.items():
            self._devices[device] = self._devices.get(device, 0.0) + seconds
            self._window[device] = self._window.get(device, 0.0) + seconds
        elapsed_s = 0.0 if self._since_s is None else now_s - self._since_s
        if elapsed_s >= MIN_WINDOW_S:
            shares = {
                device: seconds / (elapsed_s * self._capacity[device]) for device, seconds in self._window.items()
            }
            self._ratios = {device: min(1.0, share) for device, share in shares.items()}
        if self._since_s is None or elapsed_s >= MIN_WINDOW_S:
            self._since_s, self._window = now_s, {}
        self._last = last
        self._owners = {key: total for key, total in self._owners.items() if now_s - total.seen_s < _FORGET_AFTER_S}

    def _credit(self, owner: OwnerKey, seconds: float, now_s: float) -> None:
        total = self._owners.setdefault(owner, _Total(seconds=0.0, seen_s=now_s))
        total.seconds += seconds
        total.seen_s = now_s

    def list_samples(self, *, complete: bool) -> list[Sample]:
        """Counters; and, where all processes were seen (`complete`), the share of time since the reading before."""
        samples = []
        for (bdf, name), seconds in sorted(self._devices.items()):
            labels = gpu_labels(bdf, engine_class=name)
            samples.append(Sample("hw_gpu_engine_busy_seconds_total", labels, seconds))
            samples.append(Sample("hw_gpu_engines", labels, self._capacity[(bdf, name)]))
            if complete and (bdf, name) in self._ratios:
                samples.append(Sample("hw_gpu_utilization_ratio", labels, self._ratios[(bdf, name)]))
        for (bdf, container, process, name), total in sorted(self._owners.items()):
            labels = gpu_labels(bdf, container=container, process=process, engine_class=name)
            samples.append(Sample("hw_gpu_process_busy_seconds_total", labels, total.seconds))
        return samples


def _measure(last: _Last | None, now_s: float, use: EngineUse) -> float:
    """Seconds that the engines worked since `last`; 0 for a client that is new or whose counters ran backwards."""
    if last is None:
        return 0.0
    if use.busy_ns is not None and last.use.busy_ns is not None:
        return max(0.0, (use.busy_ns - last.use.busy_ns) / 1e9)
    if None in (use.cycles, use.total_cycles, last.use.cycles, last.use.total_cycles):
        return 0.0
    worked = (use.cycles or 0) - (last.use.cycles or 0)
    passed = (use.total_cycles or 0) - (last.use.total_cycles or 0)
    if worked <= 0 or passed <= 0:
        return 0.0
    return worked / passed * (now_s - last.at_s)


def summarize_clients(bdfs: Iterable[str], clients: Iterable[SeenClient]) -> list[Sample]:
    """How many clients each GPU has, and what memory they hold, by container and process name."""
    clients = list(clients)
    memory: dict[tuple[str, str, str, str], int] = {}
    counts: dict[tuple[str, str, str], int] = {}
    for seen in clients:
        owner = (seen.client.bdf, seen.container, seen.process)
        counts[owner] = counts.get(owner, 0) + 1
        for region, size in seen.client.memory_bytes.items():
            place = (*owner, region)
            memory[place] = memory.get(place, 0) + size
    samples = [
        Sample("hw_gpu_clients", gpu_labels(bdf), sum(seen.client.bdf == bdf for seen in clients)) for bdf in bdfs
    ]
    for (bdf, container, process), count in sorted(counts.items()):
        labels = gpu_labels(bdf, container=container, process=process)
        samples.append(Sample("hw_gpu_process_clients", labels, count))
    for (bdf, container, process, region), size in sorted(memory.items()):
        labels = gpu_labels(bdf, container=container, process=process, region=region)
        samples.append(Sample("hw_gpu_process_memory_bytes", labels, size))
    return samples


def sum_device_memory(bdf: str, clients: Iterable[SeenClient]) -> int | None:
    """Bytes of the GPU's memory that its clients hold; None where none of them tells (0 where there are none)."""
    mine = [seen.client.memory_bytes for seen in clients if seen.client.bdf == bdf]
    told = [sizes["device"] for sizes in mine if "device" in sizes]
    return sum(told) if told or not mine else None
