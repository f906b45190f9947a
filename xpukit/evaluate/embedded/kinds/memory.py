"""Device memory bandwidth: read, write, copy and triad kernels on one target, each result checked word for word.

params: `sizes_bytes` (footprints: all arrays of the operation together), `peak_sizes_bytes` (those of them that count
for the peak, large against the caches), `ops`, `stores` ("best", "plain", "streaming").

`plant_error` (xpukit's check of itself): one byte of each result is changed before it is verified, so every
measurement must come out `verified: false`.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from xpukit.core.errors import XpukitError
from xpukit.core.measurement import Measurement, Method, make_key
from xpukit.evaluate.embedded import memory_sizes, pattern
from xpukit.evaluate.embedded.protocol import Request
from xpukit.evaluate.embedded.worker import Emitter
from xpukit.evaluate.sampling import calibrate_batch, collect_samples
from xpukit.host.native.usm import Allocation, Launch, UsmDevice, as_count, open_devices

SCALE = 3
_READ_ITEM_VECTORS = 16
_READ_MOST_ITEMS = 1 << 20
_A, _B, _POISON = 1, 2, 3


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """One way to run a kernel: layout and vector width (words), stores, vectors per work item, group size."""

    layout: str
    width: int
    streaming: bool = False
    item_vectors: int = 1
    group_size: int = 1
    max_items: int = 1 << 62

    def kernel(self, op: str) -> str:
        return f"{op}_{self.layout}{self.width}{'_streaming' if self.streaming and op != 'read' else ''}"

    def items(self, vectors: int) -> int:
        """Work items for so many vectors, whole groups."""
        wanted = min(self.max_items, max(1, -(-vectors // self.item_vectors)))
        return -(-wanted // self.group_size) * self.group_size

    def describe(self) -> str:
        stores = "streaming stores" if self.streaming else "plain stores"
        return f"{self.layout} {4 * self.width}-byte vectors, {self.item_vectors} or more per work item, {stores}"


def list_shapes(device: UsmDevice, op: str, stores: str) -> list[Shape]:
    """The ways worth trying on this kind of device; the fastest is measured."""
    if device.is_cpu:
        plain = Shape(layout="blocked", width=16, item_vectors=16, max_items=16 * device.compute_units)
        streaming = msgspec.structs.replace(plain, streaming=True)
        if op == "read" or not device.has_kernel(streaming.kernel(op)):
            return [plain]
        return {"plain": [plain], "streaming": [streaming]}.get(stores, [plain, streaming])
    group = min(256, device.max_group_size)
    fewest, most = (_READ_ITEM_VECTORS, _READ_MOST_ITEMS) if op == "read" else (1, 1 << 62)
    return [
        Shape(layout="strided", width=width, item_vectors=item_vectors * fewest, group_size=group, max_items=most)
        for width, item_vectors in ((4, 1), (4, 8), (16, 1))
    ]


class Arena:
    """One allocation in which every operation and size finds its arrays, and a buffer to read results through."""

    def __init__(self, device: UsmDevice, largest_bytes: int, seed: int) -> None:
        import numpy as np

        self.device = device
        self.memory = device.allocate_device(memory_sizes.room_for(largest_bytes))
        self.seeds = {purpose: pattern.make_seed(seed, purpose) for purpose in (_A, _B, _POISON)}
        self._through: Any = np.zeros(pattern.CHUNK_WORDS, dtype=np.uint32)

    def arrays(self, op: str, footprint_bytes: int) -> list[Allocation]:
        size = memory_sizes.array_bytes(op, footprint_bytes)
        return [self.memory.window(offset, size) for offset in memory_sizes.array_offsets(op, footprint_bytes)]

    def fill(self, array: Allocation, shape: Shape, purpose: int) -> None:
        vectors = array.size_bytes // (4 * shape.width)
        self._run(
            msgspec.structs.replace(shape, streaming=False).kernel("write"),
            [array, self.seeds[purpose], as_count(vectors)],
            shape,
            vectors,
        )

    def fill_floats(self, array: Allocation, shape: Shape, purpose: int) -> None:
        words = array.size_bytes // 4
        self._run("fill_floats", [array, self.seeds[purpose], as_count(words)], shape, words)

    def _run(self, kernel: str, arguments: Sequence[Any], shape: Shape, vectors: int) -> None:
        launch = self.device.prepare(kernel, arguments, global_size=shape.items(vectors), group_size=shape.group_size)
        self.device.time_launches(launch, 1)

    def read_words(self, array: Allocation, first: int, count: int) -> Any:
        self.device.copy(self._through, array.window(4 * first, 4 * count), 4 * count)
        return self._through[:count]

    def change_byte(self, array: Allocation, place: int) -> None:
        """What `plant_error` does."""
        byte = bytearray(1)
        self.device.copy(byte, array.window(place, 1), 1)
        byte[0] ^= 0xFF
        self.device.copy(array.window(place, 1), byte, 1)


def _prepare(arena: Arena, op: str, arrays: list[Allocation], shape: Shape) -> tuple[Launch, Allocation]:
    """The kernel on these arrays, and the array that holds its result."""
    device = arena.device
    vectors = arrays[0].size_bytes // (4 * shape.width)
    items = shape.items(vectors)
    result = device.allocate_device(4 * items) if op == "read" else arrays[-1]
    count = as_count(vectors)
    arguments: list[Any] = {
        "read": [arrays[0], result, count],
        "write": [result, arena.seeds[_A], count],
        "copy": [arrays[0], result, count],
        "triad": [arrays[0], arrays[1 % len(arrays)], result, float(SCALE), count],
    }[op]
    launch = device.prepare(shape.kernel(op), arguments, global_size=items, group_size=shape.group_size)
    return launch, result


def _initialise(arena: Arena, op: str, arrays: list[Allocation], shape: Shape) -> None:
    """Inputs hold their pattern; what is to be written holds another, so that stale data is noticed."""
    if op == "triad":
        arena.fill_floats(arrays[0], shape, _A)
        arena.fill_floats(arrays[1], shape, _B)
    elif op in ("copy", "read"):
        arena.fill(arrays[0], shape, _A)
    if op != "read":
        arena.fill(arrays[-1], shape, _POISON)


def _expected(arena: Arena, op: str, words: int, launch: Launch, shape: Shape) -> Iterator[tuple[int, Any]]:
    if op == "read":
        yield 0, expected_sums(words // shape.width, shape, launch.global_size, arena.seeds[_A])
    elif op == "triad":
        yield from pattern.make_triad_chunks(words, arena.seeds[_A], arena.seeds[_B], SCALE)
    else:
        yield from pattern.make_chunks(words, arena.seeds[_A])


def expected_sums(vectors: int, shape: Shape, items: int, seed: int) -> Any:
    """What each work item of a read kernel must have summed (uint32 array of `items`)."""
    import numpy as np

    item: Any = np.arange(items, dtype=np.uint64)
    if shape.layout == "blocked":
        share = -(-vectors // items)
        first = np.minimum(item * np.uint64(share), np.uint64(vectors))
        end = np.minimum(first + np.uint64(share), np.uint64(vectors))
        return pattern.sum_of_words(first * np.uint64(shape.width), (end - first) * np.uint64(shape.width), seed)
    # Item g reads vectors g, g + items, ...: `turns` of them, whose numbers add up to `numbers`.
    turns = np.maximum(np.uint64(vectors) + np.uint64(items - 1) - np.minimum(item, np.uint64(vectors + items - 1)), 0)
    turns //= np.uint64(items)
    numbers = turns * item + turns * (turns - np.minimum(turns, np.uint64(1))) // np.uint64(2) * np.uint64(items)
    width = shape.width
    words = np.uint64(width * width) * numbers + np.uint64(width * (width - 1) // 2) * turns
    total = words * np.uint64(pattern.STEP) + np.uint64(width) * turns * np.uint64(seed)
    return (total & np.uint64(0xFFFFFFFF)).astype(np.uint32)


def _choose_shape(arena: Arena, op: str, arrays: list[Allocation], shapes: Sequence[Shape]) -> Shape:
    """The fastest of three tries each."""
    if len(shapes) == 1:
        return shapes[0]
    seconds: list[float] = []
    for shape in shapes:
        launch, _ = _prepare(arena, op, arrays, shape)
        arena.device.time_launches(launch, 1)
        seconds.append(min(arena.device.time_launches(launch, 1) for _ in range(3)))
    return shapes[seconds.index(min(seconds))]


def _measure_size(
    arena: Arena, op: str, footprint_bytes: int, *, method: Method, stores: str, plant_error: bool
) -> Measurement:
    device = arena.device
    arrays = arena.arrays(op, footprint_bytes)
    shapes = list_shapes(device, op, stores)
    _initialise(arena, op, arrays, shapes[0])
    shape = _choose_shape(arena, op, arrays, shapes)
    if op != "read":  # what was tried must not pass for what is measured
        arena.fill(arrays[-1], shapes[0], _POISON)
    launch, result = _prepare(arena, op, arrays, shape)

    def run(repeats: int) -> float:
        return device.time_launches(launch, repeats)

    run(1)
    samples = collect_samples(run, method, batch=calibrate_batch(run))
    if plant_error:
        arena.change_byte(result, (7919 * method.seed) % result.size_bytes)
    difference = pattern.find_difference(
        _expected(arena, op, arrays[0].size_bytes // 4, launch, shape),
        lambda first, count: arena.read_words(result, first, count),
        kind="work item's sum" if op == "read" else "word",
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
        note=shape.describe(),
    )


def measure(request: Request, emit: Emitter) -> None:
    """Measure every operation at every size; results go out as they come."""
    params = request.params
    sizes: list[int] = params["sizes_bytes"]
    peak_sizes: list[int] = params["peak_sizes_bytes"]
    (target,) = request.targets
    (device,) = open_devices(request.targets)
    fitting = [size for size in sizes if memory_sizes.room_for(size) <= device.largest_allocation_bytes]
    too_large = f"more than the {device.largest_allocation_bytes} bytes that the driver gives at once"
    arena = Arena(device, max(fitting), request.method.seed) if fitting else None
    for op in params["ops"]:
        peak: Measurement | None = None
        for size in sizes:
            key = make_key("memory", "bandwidth", (target.label,), op=op, bytes=size)
            if arena is None or size not in fitting:
                emit.missing(key, too_large)
                continue
            try:
                done = _measure_size(
                    arena,
                    op,
                    size,
                    method=request.method,
                    stores=params.get("stores", "best"),
                    plant_error=bool(params.get("plant_error")),
                )
            except XpukitError as err:
                emit.missing(key, err.message)
                continue
            emit.measured(done)
            better = peak is None or statistics.median(done.samples) > statistics.median(peak.samples)
            if size in peak_sizes and better:
                peak = done
        _emit_peak(emit, device, op, peak, peak_sizes)


def _emit_peak(emit: Emitter, device: UsmDevice, op: str, peak: Measurement | None, peak_sizes: Sequence[int]) -> None:
    key = make_key("memory", "peak_bandwidth", (device.label,), op=op)
    if peak is None:
        emit.missing(key, "none of the sizes that count for the peak could be measured")
        return
    size = int(dict(peak.key.params)["bytes"])
    if not device.is_cpu and size < 4 * device.cache_bytes:
        emit.missing(key, f"{size} bytes are less than 4 times the device's cache ({device.cache_bytes} bytes)")
        return
    emit.measured(msgspec.structs.replace(peak, key=key, note=f"footprint {size} bytes; {peak.note}"))
