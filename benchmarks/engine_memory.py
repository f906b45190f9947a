#!/usr/bin/env python3
"""Memory bandwidth of the embedded engine (OpenCL kernels by dpctl on the CPU) against a C STREAM, turn about.

Run with the environment that has xpukit[embedded] (and gcc):

    python benchmarks/engine_memory.py [--rounds N] [--quick]

The peer is stream.c, compiled here with gcc -O3 -march=native and OpenMP. The same with memory in 2 MiB pages is shown
beside it. Both sides touch the same arrays: together at least 4 times what the processor states as its last-level
cache, so that memory is measured.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import engine_contest as contest
from xpukit.core.units import MIB, format_bytes
from xpukit.evaluate.benchmarks.memory import BENCHMARK
from xpukit.evaluate.embedded.memory_sizes import array_bytes, counted_bytes
from xpukit.evaluate.last_level_cache import read_last_level_cache
from xpukit.host.live import LiveHost

# Operation and stores: like against like; reading stores nothing.
CELLS = (
    ("copy", "regular"),
    ("triad", "regular"),
    ("write", "regular"),
    ("read", "regular"),
    ("copy", "streaming"),
    ("triad", "streaming"),
    ("write", "streaming"),
)
_OUR_STORES = {"regular": "plain", "streaming": "streaming"}
_SOURCE = Path(__file__).resolve().with_name("stream.c")
_FLAGS = ("-O3", "-march=native", "-fopenmp", "-fno-tree-loop-distribute-patterns")
_VARIANTS = {"stream": (), "stream-2MiB-pages": ("-DHUGE_PAGES",)}
# Shown, not judged by: asking the kernel for other pages is no part of STREAM, and our runtime does not ask either.
_BESIDE = ("stream-2MiB-pages",)


def compile_peers(folder: Path) -> dict[str, Path]:
    """The variants of stream.c. Raises ContestError when gcc is missing or fails."""
    built: dict[str, Path] = {}
    for name, defines in _VARIANTS.items():
        target = folder / name
        argv = ["gcc", *_FLAGS, *defines, str(_SOURCE), "-o", str(target)]
        try:
            done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
        except (OSError, subprocess.TimeoutExpired) as err:
            raise contest.ContestError(f"stream.c cannot be compiled: {err} (apt-get install gcc)") from err
        if done.returncode:
            raise contest.ContestError(f"stream.c does not compile: {done.stderr.strip()}")
        built[name] = target
    return built


def build_ours(op: str, stores: str, footprint_bytes: int, effort: contest.Effort) -> Callable[[], contest.Turn]:
    """The suite's own job for one operation at its peak size. Raises ContestError unless that is `footprint_bytes`."""
    settings = {"ops": [op], "stores": _OUR_STORES[stores], "sizes_bytes": [], "memory_fraction": 0.8}
    (job,) = contest.plan_jobs(BENCHMARK, settings, effort)
    sizes = [dict(promise.key.params).get("bytes") for promise in job.promises]
    if footprint_bytes not in sizes:
        raise contest.ContestError(f"the suite measures {sizes} bytes, not {footprint_bytes}: too little memory?")

    def turn() -> contest.Turn:
        (found,) = [one for one in contest.run_ours(BENCHMARK, job) if one.key.metric == "peak_bandwidth"]
        return {name_cell(op, stores): found.samples}

    return turn


def name_cell(op: str, stores: str) -> str:
    return op if op == "read" else f"{op}, {stores} stores"


def build_peer(program: Path, op: str, stores: str, footprint_bytes: int, samples: int) -> Callable[[], contest.Turn]:
    argv = [str(program), op, stores, str(array_bytes(op, footprint_bytes)), str(samples)]
    env = {"OMP_NUM_THREADS": str(len(os.sched_getaffinity(0))), "OMP_PROC_BIND": "true"}
    moved = counted_bytes(op, footprint_bytes)

    def turn() -> contest.Turn:
        lines = contest.run_child(argv, env=env)
        return {name_cell(op, stores): [moved / float(line) / 1e9 for line in lines]}

    return turn


def choose_footprint() -> tuple[int, str]:
    """Bytes of all arrays together, as the suite chooses its peak, and a sentence that says so."""
    cache = read_last_level_cache(LiveHost())
    known = cache or 64 * MIB
    wanted = max(256 * MIB, -(-4 * known // MIB) * MIB)
    stated = format_bytes(cache) if cache else "nothing, 64 MiB are assumed"
    return wanted, (
        f"all arrays of an operation together {format_bytes(wanted)}, 4 times the last-level cache that this machine "
        f"states ({stated}; a virtual machine states its host's, which it shares)"
    )


def main() -> int:
    parser = contest.build_parser("memory bandwidth of the embedded engine against a C STREAM compiled here")
    options = parser.parse_args()
    effort = contest.read_effort(options)
    footprint, sentence = choose_footprint()
    print(f"memory bandwidth, GB/s, each array counted once; {sentence}")
    print("stream: malloc'ed memory as STREAM has it; stream-2MiB-pages: the same with madvise(MADV_HUGEPAGE)")
    print(contest.describe_start(effort), flush=True)
    calm = contest.Calm(options.calm)
    contest.print_header()
    with tempfile.TemporaryDirectory(prefix="xpukit-stream-") as folder:
        peers = compile_peers(Path(folder))
        for op, stores in CELLS:
            rivals = {contest.OURS: build_ours(op, stores, footprint, effort)}
            for name, program in peers.items():
                rivals[name] = build_peer(program, op, stores, footprint, effort.samples)
            contest.print_rows(contest.hold(rivals, calm=calm, rounds=effort.rounds), beside=_BESIDE)
    print(contest.describe_end(calm))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except contest.ContestError as err:
        sys.exit(f"error: {err}")
