"""Copies between host and device memory: bandwidth over sizes, peak, and the latency of the smallest; data checked.

params: `routes` ([direction, memory] pairs: h2d, d2h, h2h with pageable, pinned or shared host memory; d2d with
"device"), `sizes_bytes`, `peak_sizes_bytes`, `host_node`, and `bind_cpus` where the worker must bind itself to the
node first (null: it is the only node).

`plant_error`: one byte of each destination is changed before it is verified, so every measurement must come out
`verified: false`.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from xpukit.core.errors import XpukitError
from xpukit.core.measurement import Measurement, MetricKey, Param, Target, make_key
from xpukit.evaluate.embedded import pattern
from xpukit.evaluate.embedded.protocol import Request
from xpukit.evaluate.embedded.worker import Emitter
from xpukit.evaluate.sampling import collect_samples
from xpukit.host.native.copy_device import CopyDevice, DeviceMemory
from xpukit.host.native.numa_binding import bind_to_node
from xpukit.host.native.usm import Buffer, open_devices

_POISON = 0xA5
_HOST, _DEVICE = 1, 2


def route_key(
    metric: str, label: str, direction: str, memory: str, host_node: int, size_bytes: int | None
) -> MetricKey:
    """The key of a route's row; `host_node` means nothing to a copy inside the device."""
    params: dict[str, Param] = {"direction": direction, "memory": memory}
    if direction != "d2d":
        params["host_node"] = host_node
    if size_bytes is not None:
        params["bytes"] = size_bytes
    return make_key("transfer", metric, (label,), **params)


class Ends:
    """The buffers of a worker: two on the device, two on the host of the memory that is being measured."""

    def __init__(self, device: CopyDevice, largest_bytes: int, seed: int) -> None:
        import numpy as np

        self.device = device
        self.largest_bytes = largest_bytes
        self.seeds = {purpose: pattern.make_seed(seed, purpose) for purpose in (_HOST, _DEVICE)}
        self._through: Any = np.zeros(pattern.CHUNK_WORDS, dtype=np.uint32)
        self._device_source: DeviceMemory | None = None
        self._device_target: DeviceMemory | None = None
        self._host_memory = ""
        self._host_source: Buffer = None
        self._host_target: Buffer = None

    def _host_buffer(self, memory: str) -> Buffer:
        import numpy as np

        if memory == "pinned":
            return self.device.allocate_host(self.largest_bytes)
        if memory == "shared":
            return self.device.allocate_shared(self.largest_bytes)
        return np.empty(self.largest_bytes // 4, dtype=np.uint32)

    def source(self, direction: str, memory: str) -> Buffer:
        """The buffer that is copied from; it holds its side's pattern."""
        if direction.startswith("d"):
            if self._device_source is None:
                self._device_source = self.device.allocate_device(self.largest_bytes)
                for first, piece in pattern.make_chunks(self.largest_bytes // 4, self.seeds[_DEVICE]):
                    self.device.copy(self._device_source.window(4 * first, piece.nbytes), piece, piece.nbytes)
            return self._device_source
        self._choose_memory(memory)
        if self._host_source is None:
            self._host_source = self._host_buffer(memory)
            pattern.fill_pattern(host_words(self._host_source), self.seeds[_HOST])
        return self._host_source

    def target(self, direction: str, memory: str) -> Buffer:
        if direction.endswith("d"):
            if self._device_target is None:
                self._device_target = self.device.allocate_device(self.largest_bytes)
            return self._device_target
        self._choose_memory(memory)
        if self._host_target is None:
            self._host_target = self._host_buffer(memory)
        return self._host_target

    def _choose_memory(self, memory: str) -> None:
        if memory != self._host_memory:
            self._host_memory = memory
            self._host_source = self._host_target = None

    def poison(self, target: Buffer, size_bytes: int) -> None:
        """Overwrite what an earlier copy left, so that it cannot pass for this one's."""
        if isinstance(target, DeviceMemory):
            target.window(0, size_bytes).set_bytes(_POISON)
        else:
            target[: size_bytes // 4] = _POISON * 0x01010101

    def change_byte(self, target: Buffer, place: int) -> None:
        """What `plant_error` does."""
        if isinstance(target, DeviceMemory):
            byte = bytearray(1)
            self.device.copy(byte, target.window(place, 1), 1)
            byte[0] ^= 0xFF
            self.device.copy(target.window(place, 1), byte, 1)
        else:
            target[place // 4] ^= 0xFF << 8 * (place % 4)

    def find_difference(self, direction: str, target: Buffer, size_bytes: int) -> str:
        def read_words(first: int, count: int) -> Any:
            if direction.endswith("h"):
                return host_words(target)[first : first + count]
            self.device.copy(self._through, target.window(4 * first, 4 * count), 4 * count)
            return self._through[:count]

        seed = self.seeds[_DEVICE if direction.startswith("d") else _HOST]
        return pattern.find_difference(pattern.make_chunks(size_bytes // 4, seed), read_words)


def host_words(buffer: Buffer) -> Any:
    """Host memory of any kind as a numpy array of uint32."""
    return buffer.host_words() if isinstance(buffer, DeviceMemory) else buffer


def _measure_route(
    ends: Ends, request: Request, direction: str, memory: str, size_bytes: int, metric: str, note: str
) -> Measurement:
    """Bandwidth: copies submitted together; latency: one copy, submitted and waited for."""
    device = ends.device
    source, target = ends.source(direction, memory), ends.target(direction, memory)
    ends.poison(target, size_bytes)
    samples = collect_samples(
        lambda repeats: device.time_copies(target, source, size_bytes, repeats),
        request.method,
        batch=1 if metric == "latency" else None,
    )
    if request.params.get("plant_error"):
        ends.change_byte(target, (7919 * request.method.seed) % size_bytes)
    difference = ends.find_difference(direction, target, size_bytes)
    in_gbps = metric == "bandwidth"
    return Measurement(
        key=route_key(metric, device.label, direction, memory, request.params["host_node"], size_bytes),
        unit="GB/s" if in_gbps else "us",
        samples=tuple(size_bytes / seconds / 1e9 if in_gbps else seconds * 1e6 for seconds in samples.seconds),
        higher_is_better=in_gbps,
        verified=not difference,
        verify_detail=difference,
        warmup_runs=samples.warmup_runs,
        warmup_stable=samples.warmup_stable,
        note=note,
    )


OpenDevices = Callable[[Sequence[Target]], Sequence[CopyDevice]]


def measure(request: Request, emit: Emitter, open_devices: OpenDevices = open_devices) -> None:
    """Measure every route at every size; results go out as they come."""
    params = request.params
    sizes: list[int] = params["sizes_bytes"]
    peak_sizes: list[int] = params["peak_sizes_bytes"]
    host_node: int = params["host_node"]
    (target,) = request.targets
    note = ""
    if params.get("bind_cpus") is not None:
        note = bind_to_node(host_node, params["bind_cpus"])
        if note and not params["bind_cpus"]:
            raise XpukitError(f"node {host_node} has no CPUs and {note}")
    (device,) = open_devices(request.targets)
    ends = Ends(device, max(sizes), request.method.seed)
    for direction, memory in params["routes"]:
        wanted = [("latency", sizes[0]), *(("bandwidth", size) for size in sizes)]
        peak: Measurement | None = None
        for metric, size in wanted:
            try:
                done = _measure_route(ends, request, direction, memory, size, metric, note)
            except (XpukitError, MemoryError) as err:
                emit.missing(route_key(metric, target.label, direction, memory, host_node, size), str(err))
                continue
            emit.measured(done)
            if metric == "bandwidth" and size in peak_sizes and _is_better(done, peak):
                peak = done
        if peak_sizes:
            _emit_peak(emit, route_key("peak_bandwidth", target.label, direction, memory, host_node, None), peak)


def _is_better(done: Measurement, best: Measurement | None) -> bool:
    return best is None or statistics.median(done.samples) > statistics.median(best.samples)


def _emit_peak(emit: Emitter, key: MetricKey, peak: Measurement | None) -> None:
    if peak is None:
        emit.missing(key, "none of the sizes that count for the peak could be measured")
        return
    notes: Sequence[str] = (f"at {dict(peak.key.params)['bytes']} bytes", peak.note)
    emit.measured(msgspec.structs.replace(peak, key=key, note="; ".join(note for note in notes if note)))
