"""Copies between two devices: ability, write and read, one way and both ways, by peer access and through the host.

params: `pairs` (places in `targets`, [from, to]), `both_ways` (the pairs also measured in both directions at once),
`modes` ("write": the first device pushes into the second's memory; "read": it pulls from there), `paths` ("peer",
"host": staged through pinned host memory, as programs do without peer access), `sizes_bytes`, `peak_sizes_bytes`,
`refused` (pairs of which only the host path is wanted).

`plant_error`: one byte of each destination is changed before it is verified, so every measurement must come out
`verified: false`.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from xpukit.core.errors import XpukitError
from xpukit.core.measurement import YES_NO, Measurement, MetricKey, Param, Target, make_key
from xpukit.core.units import MIB
from xpukit.evaluate.embedded import pattern
from xpukit.evaluate.embedded.protocol import Request
from xpukit.evaluate.embedded.worker import Emitter
from xpukit.evaluate.sampling import collect_samples
from xpukit.host.native.copy_device import CopyDevice, DeviceMemory
from xpukit.host.native.usm import open_devices

_POISON = 0xA5
_STAGE_BYTES = 4 * MIB


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """How a pair copies."""

    mode: str
    direction: str
    path: str


def way_key(metric: str, labels: tuple[str, str], way: Way, size_bytes: int | None) -> MetricKey:
    """The key of a row; the first label is the device that drives the copy."""
    params: dict[str, Param] = {"mode": way.mode, "direction": way.direction, "path": way.path}
    if size_bytes is not None:
        params["bytes"] = size_bytes
    return make_key("p2p", metric, labels, **params)


def list_ways(modes: list[str], paths: list[str], *, both_ways: bool) -> Iterator[Way]:
    """Through the host there is no difference between writing and reading: one way, "write"."""
    if "peer" in paths:
        for mode in modes:
            yield Way(mode=mode, direction="uni", path="peer")
            if both_ways:
                yield Way(mode=mode, direction="bi", path="peer")
    if "host" in paths:
        yield Way(mode="write", direction="uni", path="host")


class Side:
    """A device with memory to copy from (its pattern) and to copy into."""

    def __init__(self, device: CopyDevice, place: int, largest_bytes: int, seed: int) -> None:
        import numpy as np

        self.device = device
        self.seed = pattern.make_seed(seed, 16 + place)
        self.source = device.allocate_device(largest_bytes)
        self.target = device.allocate_device(largest_bytes)
        self._through: Any = np.zeros(pattern.CHUNK_WORDS, dtype=np.uint32)
        for first, piece in pattern.make_chunks(largest_bytes // 4, self.seed):
            device.copy(self.source.window(4 * first, piece.nbytes), piece, piece.nbytes)

    def poison(self, size_bytes: int) -> None:
        self.target.window(0, size_bytes).set_bytes(_POISON)

    def change_byte(self, place: int) -> None:
        byte = bytearray(1)
        self.device.copy(byte, self.target.window(place, 1), 1)
        byte[0] ^= 0xFF
        self.device.copy(self.target.window(place, 1), byte, 1)

    def find_difference(self, size_bytes: int, seed: int) -> str:
        def read_words(first: int, count: int) -> Any:
            self.device.copy(self._through, self.target.window(4 * first, 4 * count), 4 * count)
            return self._through[:count]

        return pattern.find_difference(pattern.make_chunks(size_bytes // 4, seed), read_words)


def _make_run(way: Way, first: Side, second: Side, size_bytes: int) -> Callable[[int], float]:
    if way.path == "host":
        return _stage_through_host(first, second, size_bytes)

    def start(side: Side, other: Side, repeats: int) -> None:
        target, source = (other.target, side.source) if way.mode == "write" else (side.target, other.source)
        side.device.start_copies(target, source, size_bytes, repeats)

    def run(repeats: int) -> float:
        began = time.perf_counter()
        start(first, second, repeats)
        if way.direction == "bi":
            start(second, first, repeats)
            second.device.wait()
        first.device.wait()
        return time.perf_counter() - began

    return run


def _stage_through_host(first: Side, second: Side, size_bytes: int) -> Callable[[int], float]:
    """Two halves of pinned host memory: while one is filled by the first device, the other goes to the second."""
    stages = [first.device.allocate_host(_STAGE_BYTES) for _ in range(2)]
    steps = [(at, min(_STAGE_BYTES, size_bytes - at)) for at in range(0, size_bytes, _STAGE_BYTES)]
    windows: list[tuple[DeviceMemory, DeviceMemory, int]] = [
        (first.source.window(at, count), second.target.window(at, count), count) for at, count in steps
    ]

    def run(repeats: int) -> float:
        began = time.perf_counter()
        for _ in range(repeats):
            for number, (source, _, count) in enumerate(windows):
                first.device.start_copies(stages[number % 2], source, count, 1)
                if number:
                    _, target, ready = windows[number - 1]
                    second.device.start_copies(target, stages[(number - 1) % 2], ready, 1)
                first.device.wait()
                second.device.wait()
            _, target, ready = windows[-1]
            second.device.copy(target, stages[(len(windows) - 1) % 2], ready)
        return time.perf_counter() - began

    return run


def _measure_way(request: Request, way: Way, first: Side, second: Side, size_bytes: int, metric: str) -> Measurement:
    """Bandwidth counts the payload, of both directions where both run; latency is one copy, waited for."""
    into = [(second, first)] if way.mode == "write" else [(first, second)]
    if way.direction == "bi":
        into = [(second, first), (first, second)]
    for side, _ in into:
        side.poison(size_bytes)
    run = _make_run(way, first, second, size_bytes)
    samples = collect_samples(run, request.method, batch=1 if metric == "latency" else None)
    if request.params.get("plant_error"):
        into[0][0].change_byte((7919 * request.method.seed) % size_bytes)
    differences = [
        f"on {side.device.label}: {difference}"
        for side, other in into
        if (difference := side.find_difference(size_bytes, other.seed))
    ]
    in_gbps = metric == "bandwidth"
    payload = size_bytes * len(into)
    return Measurement(
        key=way_key(metric, (first.device.label, second.device.label), way, size_bytes),
        unit="GB/s" if in_gbps else "us",
        samples=tuple(payload / seconds / 1e9 if in_gbps else seconds * 1e6 for seconds in samples.seconds),
        higher_is_better=in_gbps,
        verified=not differences,
        verify_detail="; ".join(differences),
        warmup_runs=samples.warmup_runs,
        warmup_stable=samples.warmup_stable,
    )


def _open_access(first: CopyDevice, second: CopyDevice) -> str:
    """Switch access on both ways; "" or why not."""
    for one, other in ((first, second), (second, first)):
        if not one.can_access(other):
            return f"{one.label} cannot access {other.label}'s memory"
        problem = one.enable_access(other)
        if problem and "already" not in problem.lower():
            return f"{one.label} to {other.label}: {problem}"
    return ""


OpenDevices = Callable[[Sequence[Target]], Sequence[CopyDevice]]


def measure(request: Request, emit: Emitter, open_devices: OpenDevices = open_devices) -> None:
    """Measure every pair; results go out as they come."""
    params = request.params
    sizes: list[int] = params["sizes_bytes"]
    devices = open_devices(request.targets)
    sides: dict[int, Side] = {}

    def side(place: int) -> Side:
        if place not in sides:
            sides[place] = Side(devices[place], place, max(sizes), request.method.seed)
        return sides[place]

    for source, target in params["pairs"]:
        labels = (devices[source].label, devices[target].label)
        access = make_key("p2p", "access", labels)
        try:
            able = devices[source].can_access(devices[target])
            emit.measured(Measurement(key=access, unit=YES_NO, samples=(float(able),)))
            refusal = _open_access(devices[source], devices[target])
        except XpukitError as err:  # a library that cannot say: the copies will show it
            emit.missing(access, err.message)
            refusal = ""
        skipped = [source, target] in params.get("refused", [])  # those rows are in the plan, as not applicable
        for way in list_ways(params["modes"], params["paths"], both_ways=[source, target] in params["both_ways"]):
            if skipped and way.path == "peer":
                continue
            wanted = [("bandwidth", size) for size in sizes]
            if way.direction == "uni":
                wanted.insert(0, ("latency", sizes[0]))
            peak: Measurement | None = None
            for metric, size in wanted:
                key = way_key(metric, labels, way, size)
                if refusal and way.path == "peer":
                    emit.missing(key, refusal)
                    continue
                try:
                    done = _measure_way(request, way, side(source), side(target), size, metric)
                except XpukitError as err:
                    emit.missing(key, err.message)
                    continue
                emit.measured(done)
                if metric == "bandwidth" and size in params["peak_sizes_bytes"] and _is_better(done, peak):
                    peak = done
            if params["peak_sizes_bytes"]:
                _emit_peak(emit, way_key("peak_bandwidth", labels, way, None), peak, refusal)


def _is_better(done: Measurement, best: Measurement | None) -> bool:
    return best is None or statistics.median(done.samples) > statistics.median(best.samples)


def _emit_peak(emit: Emitter, key: MetricKey, peak: Measurement | None, refusal: str) -> None:
    if peak is None:
        emit.missing(key, refusal or "none of the sizes that count for the peak could be measured")
        return
    emit.measured(msgspec.structs.replace(peak, key=key, note=f"at {dict(peak.key.params)['bytes']} bytes"))
