"""A peer of engine_collectives.py: one collective by mpi4py at several sizes, run under mpiexec.

Uses nothing of xpukit. fp32, out of place, broadcast in place; the time is the slowest rank's, from a barrier to its
own end of a batch of about 2 ms, as xpukit times its own. Rank 0 prints one line of JSON: {"seconds": {bytes: [...]}}.
Sizes as nccl-tests counts them: allgather the gathered buffer, reduce_scatter the one before scattering, else a rank's.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from typing import Any

_BATCH_TARGET_S = 0.002
_WARMUP_WINDOW = 4
_WARMUP_SPREAD = 0.05
COLLECTIVES = ("allreduce", "allgather", "reduce_scatter", "alltoall", "broadcast")


def prepare(comm: Any, mpi: Any, collective: str, size_bytes: int) -> tuple[Callable[[], object], Callable[[], bool]]:
    """The operation on initialised buffers, and whether its result is right."""
    import numpy as np

    ranks, rank = comm.Get_size(), comm.Get_rank()
    whole = size_bytes // 4 // ranks * ranks
    share = whole // ranks
    sending, receiving = {"allgather": (share, whole), "reduce_scatter": (whole, share)}.get(collective, (whole, whole))
    base: Any = (np.arange(sending) % 97).astype(np.float32)
    send = base + rank
    receive = np.full(receiving, -1, np.float32)
    total = ranks * (ranks - 1) / 2
    if collective == "broadcast":
        if rank == 0:
            receive[:] = base
        return lambda: comm.Bcast([receive, mpi.FLOAT]), lambda: bool(np.array_equal(receive, base))
    source, target = [send, mpi.FLOAT], [receive, mpi.FLOAT]
    if collective == "allreduce":
        return lambda: comm.Allreduce(source, target), lambda: bool(np.array_equal(receive, ranks * base + total))
    if collective == "reduce_scatter":
        mine = base[rank * share : (rank + 1) * share]
        check = lambda: bool(np.array_equal(receive, ranks * mine + total))  # noqa: E731
        return lambda: comm.Reduce_scatter_block(source, target), check
    if collective == "allgather":
        gathered = np.concatenate([base + other for other in range(ranks)])
        return lambda: comm.Allgather(source, target), lambda: bool(np.array_equal(receive, gathered))
    scattered = np.concatenate([base[rank * share : (rank + 1) * share] + other for other in range(ranks)])
    return lambda: comm.Alltoall(source, target), lambda: bool(np.array_equal(receive, scattered))


def collect(comm: Any, mpi: Any, operate: Callable[[], object], *, samples: int, warmup_s: float) -> list[float]:
    """Seconds per operation on every rank; rank 0's clock decides how long the warm-up lasts."""

    def run(times: int) -> float:
        comm.Barrier()
        start = time.perf_counter()
        for _ in range(times):
            operate()
        return float(comm.allreduce(time.perf_counter() - start, op=mpi.MAX))

    run(1)
    batch = 1
    while (seconds := run(batch)) < _BATCH_TARGET_S / 2:
        batch = max(batch * 2, int(batch * _BATCH_TARGET_S / max(seconds, 1e-7)))
    warm: list[float] = []
    deadline = time.perf_counter() + warmup_s
    while comm.bcast(time.perf_counter() < deadline, root=0):
        warm.append(run(batch))
        window = sorted(warm[-_WARMUP_WINDOW:])
        if len(window) == _WARMUP_WINDOW and window[-1] - window[0] <= _WARMUP_SPREAD * window[1]:
            break
    return [run(batch) / batch for _ in range(samples)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("collective", choices=COLLECTIVES)
    parser.add_argument("sizes", type=int, nargs="+", help="bytes")
    parser.add_argument("--samples", type=int, default=9)
    parser.add_argument("--warmup-s", type=float, default=0.4)
    options = parser.parse_args()
    from mpi4py import MPI

    comm: Any = MPI.COMM_WORLD
    found: dict[str, list[float]] = {}
    for size in options.sizes:
        operate, is_right = prepare(comm, MPI, options.collective, size)
        found[str(size)] = collect(comm, MPI, operate, samples=options.samples, warmup_s=options.warmup_s)
        if not is_right():
            print(f"wrong result: {options.collective} of {size} bytes", file=sys.stderr, flush=True)
            comm.Abort(1)
    if comm.Get_rank() == 0:
        about = str(MPI.Get_library_version()).splitlines()[0]
        print(json.dumps({"seconds": found, "note": about, "ranks": comm.Get_size()}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
