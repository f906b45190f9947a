"""Device memory bandwidth by PyTorch's own operations, each result checked word for word.

read: Tensor.sum of 64-bit words; write: fill_; copy: copy_; triad: torch.add(a, b, alpha=3, out=c) in float32. They
are what a program in torch gets, which may be less than the kernels of `memory` do. params, data and bytes as there.

`plant_error`: one byte of each result is changed before it is verified, so every measurement must come out
`verified: false`.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from xpukit.core.errors import CouldNotJudgeError
from xpukit.core.measurement import Measurement, Method, make_key
from xpukit.evaluate.embedded import memory_sizes, pattern
from xpukit.evaluate.embedded.protocol import Request
from xpukit.evaluate.embedded.worker import Emitter
from xpukit.evaluate.sampling import collect_samples
from xpukit.host.native.torch_device import (
    REFUSALS,
    TorchDevice,
    TorchError,
    TorchMemory,
    explain_refusal,
    open_torch_devices,
)

SCALE = 3
_A, _B, _POISON, _FILL = 1, 2, 3, 4
OPERATIONS = {
    "read": "Tensor.sum of int64",
    "write": "Tensor.fill_ of int32",
    "copy": "Tensor.copy_ of uint8",
    "triad": f"torch.add(a, b, alpha={SCALE}, out=c) of float32",
}


class Arena:
    """One allocation in which every operation and size finds its arrays, and a buffer to read results through."""

    def __init__(self, device: TorchDevice, largest_bytes: int, seed: int) -> None:
        import numpy as np

        self.device = device
        self.memory = device.allocate_device(memory_sizes.room_for(largest_bytes))
        self.seeds = {purpose: pattern.make_seed(seed, purpose) for purpose in (_A, _B, _POISON, _FILL)}
        self._through: Any = np.zeros(pattern.CHUNK_WORDS, dtype=np.uint32)

    def arrays(self, op: str, footprint_bytes: int) -> list[TorchMemory]:
        size = memory_sizes.array_bytes(op, footprint_bytes)
        return [self.memory.window(offset, size) for offset in memory_sizes.array_offsets(op, footprint_bytes)]

    def fill(self, array: TorchMemory, purpose: int, *, floats: bool = False) -> None:
        """The pattern of this purpose; as floats: its upper 12 bits as numbers (pattern.make_triad_chunks)."""
        import numpy as np

        for first, piece in pattern.make_chunks(array.size_bytes // 4, self.seeds[purpose]):
            values = (piece >> np.uint32(20)).astype(np.float32) if floats else piece
            self.device.copy(array.window(4 * first, values.nbytes), values, values.nbytes)

    def read_words(self, array: TorchMemory, first: int, count: int) -> Any:
        self.device.copy(self._through, array.window(4 * first, 4 * count), 4 * count)
        return self._through[:count]

    def change_byte(self, array: TorchMemory, place: int) -> None:
        """What `plant_error` does."""
        byte = bytearray(1)
        self.device.copy(byte, array.window(place, 1), 1)
        byte[0] ^= 0xFF
        self.device.copy(array.window(place, 1), byte, 1)


def _prepare(arena: Arena, op: str, arrays: list[TorchMemory]) -> tuple[Callable[[], Any], TorchMemory]:
    """The operation on these arrays, and the memory that holds its result."""
    torch = arena.device.backend.torch
    result = arena.device.allocate_device(8) if op == "read" else arrays[-1]
    if op == "read":
        words, total = arrays[0].tensor.view(torch.int64), result.tensor.view(torch.int64)
        return lambda: torch.sum(words, dim=0, keepdim=True, out=total), result
    if op == "write":
        target = result.tensor.view(torch.int32)
        value = arena.seeds[_FILL] - ((arena.seeds[_FILL] >> 31) << 32)  # the same bits, signed
        return lambda: target.fill_(value), result
    if op == "copy":
        return lambda: result.tensor.copy_(arrays[0].tensor, non_blocking=True), result
    a, b, c = (array.tensor.view(torch.float32) for array in arrays)
    return lambda: torch.add(a, b, alpha=SCALE, out=c), result


def _expected(arena: Arena, op: str, words: int) -> Iterator[tuple[int, Any]]:
    import numpy as np

    if op == "read":
        total = 0
        for _, piece in pattern.make_chunks(words, arena.seeds[_A]):
            total += int(piece.view(np.uint64).sum(dtype=np.uint64))
        yield 0, np.array([total & 0xFFFFFFFFFFFFFFFF], dtype=np.uint64).view(np.uint32)
    elif op == "write":
        for first, piece in pattern.make_chunks(words, 0):
            yield first, np.full(len(piece), arena.seeds[_FILL], dtype=np.uint32)
    elif op == "triad":
        yield from pattern.make_triad_chunks(words, arena.seeds[_A], arena.seeds[_B], SCALE)
    else:
        yield from pattern.make_chunks(words, arena.seeds[_A])


def _measure_size(arena: Arena, op: str, footprint_bytes: int, *, method: Method, plant_error: bool) -> Measurement:
    device = arena.device
    arrays = arena.arrays(op, footprint_bytes)
    if op != "write":
        arena.fill(arrays[0], _A, floats=op == "triad")
    if op == "triad":
        arena.fill(arrays[1], _B, floats=True)
    if op != "read":  # what is to be written holds another pattern, so that stale data is noticed
        arena.fill(arrays[-1], _POISON)
    act, result = _prepare(arena, op, arrays)

    def run(repeats: int) -> float:
        start = time.perf_counter()
        for _ in range(repeats):
            act()
        device.wait()
        return time.perf_counter() - start

    samples = collect_samples(run, method)
    if plant_error:
        arena.change_byte(result, (7919 * method.seed) % result.size_bytes)
    difference = pattern.find_difference(
        _expected(arena, op, arrays[0].size_bytes // 4),
        lambda first, count: arena.read_words(result, first, count),
        kind="half of the sum" if op == "read" else "word",
    )
    moved = memory_sizes.counted_bytes(op, footprint_bytes)
    return Measurement(
        key=make_key("memory", "bandwidth", (device.label,), op=op, bytes=footprint_bytes),
        unit="GB/s",
        samples=tuple(moved / seconds / 1e9 for seconds in samples.seconds),
        verified=not difference,
        verify_detail=difference,
        warmup_runs=samples.warmup_runs,
        warmup_stable=samples.warmup_stable,
        note=OPERATIONS[op],
    )


def measure(request: Request, emit: Emitter) -> None:
    """Measure every operation at every size; results go out as they come."""
    params = request.params
    sizes: list[int] = params["sizes_bytes"]
    try:
        (device,) = open_torch_devices(request.targets)
        arena = Arena(device, max(sizes), request.method.seed)
    except CouldNotJudgeError as err:
        emit.failed(err.message)
        return
    emit.note(device.backend.describe(device.index))
    for op in params["ops"]:
        peak: Measurement | None = None
        for size in sizes:
            try:
                done = _measure_size(
                    arena, op, size, method=request.method, plant_error=bool(params.get("plant_error"))
                )
            except (TorchError, *REFUSALS) as err:
                reason = err.message if isinstance(err, TorchError) else explain_refusal(err)
                emit.missing(make_key("memory", "bandwidth", (device.label,), op=op, bytes=size), reason)
                continue
            emit.measured(done)
            better = peak is None or statistics.median(done.samples) > statistics.median(peak.samples)
            if size in params["peak_sizes_bytes"] and better:
                peak = done
        _emit_peak(emit, device, op, peak)


def _emit_peak(emit: Emitter, device: TorchDevice, op: str, peak: Measurement | None) -> None:
    key = make_key("memory", "peak_bandwidth", (device.label,), op=op)
    if peak is None:
        emit.missing(key, "none of the sizes that count for the peak could be measured")
        return
    size = int(dict(peak.key.params)["bytes"])
    if size < 4 * device.cache_bytes:
        emit.missing(key, f"{size} bytes are less than 4 times the device's cache ({device.cache_bytes} bytes)")
        return
    emit.measured(msgspec.structs.replace(peak, key=key, note=f"footprint {size} bytes; {peak.note}"))
