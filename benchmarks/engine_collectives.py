#!/usr/bin/env python3
"""Collectives of the embedded engine (oneCCL by ctypes under Intel mpiexec) against mpi4py on Intel MPI, turn about.

Run with the environment that has xpukit[embedded]:

    python benchmarks/engine_collectives.py [--rounds N] [--quick]

Two ranks on host buffers, fp32; busbw as nccl-tests defines it. Ours runs with the settings that the suite `standard`
ships. Both sides use shared memory alone (I_MPI_FABRICS=shm), the faster fabric on one host.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import engine_contest as contest
from xpukit.core.units import MIB, format_bytes
from xpukit.evaluate.benchmarks.collectives import BENCHMARK
from xpukit.evaluate.embedded.collective_maths import COLLECTIVES, bus_factor
from xpukit.facts.suites import load_suite
from xpukit.host.native import mpi
from xpukit.host.native.libraries import find_library_dir

SIZES = (1 * MIB, 16 * MIB, 64 * MIB)
RANKS = 2
_PEER = str(Path(__file__).resolve().with_name("peer_collectives.py"))


def name_cell(collective: str, size_bytes: int) -> str:
    return f"{collective} {format_bytes(size_bytes)}"


def build_ours(collective: str, effort: contest.Effort) -> Callable[[], contest.Turn]:
    """The suite's own job for one collective at all sizes."""
    settings = load_suite("standard").benchmarks["collectives"] | {
        "collectives": [collective],
        "sizes": list(SIZES),
        "latency_bytes": 0,
        "dtypes": ["fp32"],
        "ranks": "powers",
        "split": "collective",
        "warmup_limit_s": effort.warmup_s,
        "time_box_s": 0.0,
    }
    jobs = contest.plan_jobs(BENCHMARK, settings, effort)
    (job,) = [job for job in jobs if job.name.endswith(f"-{RANKS}ranks")]

    def turn() -> contest.Turn:
        found: dict[str, tuple[float, ...]] = {}
        for measured in contest.run_ours(BENCHMARK, job):
            if measured.key.metric == "busbw":
                found[name_cell(collective, int(dict(measured.key.params)["bytes"]))] = measured.samples
        return found

    return turn


def build_peer(collective: str, effort: contest.Effort) -> Callable[[], contest.Turn]:
    """mpi4py under the same mpiexec."""
    folder = find_library_dir()
    argv = [*mpi.build_launcher(folder, RANKS), sys.executable, _PEER, collective, *(str(size) for size in SIZES)]
    argv += ["--samples", str(effort.samples), "--warmup-s", str(effort.warmup_s)]
    environment = mpi.build_environment(folder, library_path=os.environ.get("LD_LIBRARY_PATH", ""))
    factor = bus_factor(collective, RANKS)

    def turn() -> contest.Turn:
        answer = contest.run_peer(argv, env={**environment, **mpi.FABRICS})
        if answer["ranks"] != RANKS:
            raise contest.ContestError(f"{answer['ranks']} ranks instead of {RANKS}")
        return {
            name_cell(collective, size): [factor * size / seconds / 1e9 for seconds in answer["seconds"][str(size)]]
            for size in SIZES
        }

    return turn


def main() -> int:
    parser = contest.build_parser("collectives of the embedded engine against mpi4py on Intel MPI")
    parser.add_argument("--collectives", nargs="+", choices=COLLECTIVES, default=COLLECTIVES)
    options = parser.parse_args()
    effort = contest.read_effort(options)
    print(f"collectives, busbw in GB/s, {RANKS} ranks, fp32 on host buffers, both with I_MPI_FABRICS=shm")
    print(contest.describe_start(effort), flush=True)
    calm = contest.Calm(options.calm)
    contest.print_header()
    for collective in options.collectives:
        rivals = {
            contest.OURS: build_ours(collective, effort),
            "mpi4py+impi": build_peer(collective, effort),
        }
        contest.print_rows(contest.hold(rivals, calm=calm, rounds=effort.rounds))
    print(contest.describe_end(calm))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except contest.ContestError as err:
        sys.exit(f"error: {err}")
