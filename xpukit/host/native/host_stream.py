"""Memory bandwidth of the host without a compiler: one process per CPU, the C library's memcpy and numpy.

Independent of the OpenCL kernels that it is a yardstick for. Each process has its own arrays (first touched on its own
CPU), all begin a round together, and a round lasts from the first start to the last end. Large memcpy stores past the
caches, as the C library decides (STREAM_ENVIRONMENT lowers its threshold so that pieces that fit into L2 do so too).
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from xpukit.core.errors import CouldNotJudgeError

STREAM_ENVIRONMENT = {
    "GLIBC_TUNABLES": "glibc.cpu.x86_non_temporal_threshold=0x20000",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
}
OPERATIONS = ("copy", "triad", "read", "write")
_ARRAYS = {"copy": 2, "triad": 3, "read": 1, "write": 1}
_PIECE_BYTES = 512 << 10  # with a piece of each input it fits into any server CPU's L2
_SCALE = 3
_PERIOD = 4099  # prime, so that a piece that landed elsewhere is noticed
_BARRIER_TIMEOUT_S = 60.0


class StreamRounds(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds of each round, the bytes that one moves (as STREAM counts), and what verification found ("": nothing)."""

    seconds: tuple[float, ...]
    counted_bytes: int
    processes: int
    difference: str


def measure_host_stream(
    op: str, *, footprint_bytes: int, cpus: Sequence[int], rounds: int, plant_error: bool = False
) -> StreamRounds:
    """Run `op` on all `cpus` at once, `rounds` times after two rounds of warm-up.

    Raises CouldNotJudgeError when a process fails.
    """
    pieces = max(1, footprint_bytes // _ARRAYS[op] // len(cpus) // _PIECE_BYTES)
    array_bytes = pieces * _PIECE_BYTES
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(len(cpus))
    total_rounds = rounds + 2
    clock = mmap.mmap(-1, 16 * total_rounds * len(cpus))
    answers = [context.Pipe(duplex=False) for _ in cpus]

    def serve(place: int) -> None:
        difference = f"process {place} failed"
        try:
            difference = _work(op, place, cpus[place], array_bytes, total_rounds, barrier, clock, plant_error)
        except Exception as err:  # told to the parent, which raises it
            barrier.abort()
            difference = f"!{type(err).__name__}: {err}"
        finally:
            answers[place][1].send(difference)
            os._exit(0)

    workers = [context.Process(target=serve, args=(place,), daemon=True) for place in range(len(cpus))]
    for worker in workers:
        worker.start()
    said = [_receive(end, worker, barrier) for (end, _), worker in zip(answers, workers, strict=True)]
    for worker in workers:
        worker.join(timeout=5)
    broken = [text[1:] for text in said if text.startswith("!")]
    if broken:
        raise CouldNotJudgeError(f"host {op}: {broken[0]}")
    return StreamRounds(
        seconds=_read_clock(clock, total_rounds, len(cpus))[2:],
        counted_bytes=_ARRAYS[op] * array_bytes * len(cpus),
        processes=len(cpus),
        difference="; ".join(text for text in said if text),
    )


def _receive(end: Any, worker: Any, barrier: Any) -> str:
    """A process's answer; one that died releases the others, which wait for it."""
    deadline = time.monotonic() + 2 * _BARRIER_TIMEOUT_S
    while time.monotonic() < deadline:
        alive = worker.is_alive()
        if end.poll(0.1):
            return str(end.recv())
        if not alive:
            barrier.abort()
            return f"!a process ended without an answer (exit {worker.exitcode})"
    return "!no answer in time"


def _read_clock(clock: mmap.mmap, rounds: int, processes: int) -> tuple[float, ...]:
    stamps = memoryview(clock).cast("d")
    seconds = []
    for number in range(rounds):
        row = stamps[2 * number * processes : 2 * (number + 1) * processes]
        seconds.append(max(row[1::2]) - min(row[0::2]))
    return tuple(seconds)


def _work(
    op: str,
    place: int,
    cpu: int,
    array_bytes: int,
    rounds: int,
    barrier: Any,
    clock: mmap.mmap,
    plant_error: bool,
) -> str:
    """One process: initialise, run all rounds in step with the others, verify."""
    import numpy as np

    os.sched_setaffinity(0, {cpu})
    memory = mmap.mmap(-1, _ARRAYS[op] * array_bytes)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # a kernel without huge pages: slower, nothing else
            memory.madvise(mmap.MADV_HUGEPAGE)
    everything = np.frombuffer(memory, dtype=np.float32)
    count = array_bytes // 4
    arrays = [everything[i * count : (i + 1) * count] for i in range(_ARRAYS[op])]
    period: Any = (np.arange(_PERIOD) + 1).astype(np.float32)
    for number, array in enumerate(arrays):
        _tile(array, period * np.float32(number + 1))
    run, check = _prepare(op, arrays)
    stamps = memoryview(clock).cast("d")
    processes = barrier.parties
    for number in range(rounds):
        barrier.wait(_BARRIER_TIMEOUT_S)
        start = time.perf_counter()
        run()
        at = 2 * (number * processes + place)
        stamps[at], stamps[at + 1] = start, time.perf_counter()
    if plant_error and place == 0:
        arrays[-1].view(np.uint8)[array_bytes // 3] ^= 0xFF
        if op == "read":
            run()
    return check()


def _tile(array: Any, period: Any) -> None:
    import numpy as np

    whole = len(array) // len(period) * len(period)
    array[:whole].reshape(-1, len(period))[:] = period
    array[whole:] = np.resize(period, len(array) - whole)


def _prepare(op: str, arrays: list[Any]) -> tuple[Callable[[], None], Callable[[], str]]:
    """What to run in each round, and what looks at the result afterwards ("" when it is right)."""
    import numpy as np

    copy = ctypes.CDLL(None).memcpy
    copy.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
    copy.restype = None
    period = arrays[0][:_PERIOD].copy()
    target = arrays[-1]
    target_at = target.ctypes.data
    step = _PIECE_BYTES // 4
    offsets = range(0, len(target), step)
    if op == "read":
        words = target.view(np.uint64)
        expected = int(np.add.reduce(words, dtype=np.uint64))
        found: list[int] = []

        def read() -> None:
            found[:] = [int(np.add.reduce(words))]

        return read, lambda: "" if found == [expected] else f"sum of words is {found}, not {expected}"
    if op == "copy":
        source_at, size = arrays[0].ctypes.data, target.nbytes
        return lambda: copy(target_at, source_at, size), lambda: _differs(target, period)
    piece: Any = np.empty(step, dtype=np.float32)
    piece_at = piece.ctypes.data
    if op == "write":
        piece[:] = np.float32(7)

        def write(source: Any = piece) -> None:  # holds `piece`, whose address it reads
            for offset in offsets:
                copy(target_at + 4 * offset, piece_at, _PIECE_BYTES)

        return write, lambda: _differs(target, np.full(_PERIOD, 7, dtype=np.float32))
    scale = np.float32(_SCALE)
    pairs = [(arrays[0][o : o + step], arrays[1][o : o + step], target_at + 4 * o) for o in offsets]

    def triad() -> None:
        for a, b, c_at in pairs:
            np.multiply(b, scale, out=piece)
            np.add(piece, a, out=piece)
            copy(c_at, piece_at, _PIECE_BYTES)

    # b is twice a: a + 3 b is 7 a.
    return triad, lambda: _differs(target, period * np.float32(7))


def _differs(array: Any, period: Any) -> str:
    import numpy as np

    whole = len(array) // len(period) * len(period)
    body = array[:whole].reshape(-1, len(period)) != period
    tail = array[whole:] != period[: len(array) - whole]
    if not body.any() and not tail.any():
        return ""
    places = np.concatenate([np.flatnonzero(body), whole + np.flatnonzero(tail)])
    at = int(places[0])
    return f"element {at} is {array[at]}, not {period[at % len(period)]}; {len(places)} elements differ"
