#!/usr/bin/env python3
"""Matrix products of the embedded engine (oneDNN by ctypes) against torch CPU, MKL and numpy, turn about.

Run with the environment that has xpukit[embedded]:

    python benchmarks/engine_gemm.py [--rounds N] [--quick] [--torch-python PATH]

torch is taken from the interpreter that --torch-python names (an environment of its own, since it brings other
versions of the same libraries). MKL and numpy are taken from this environment. What is absent is left out and said.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import engine_contest as contest
from xpukit.evaluate.benchmarks.gemm import BENCHMARK

DTYPES = ("fp32", "fp16", "bf16", "int8")
SIZES = (1024, 2048, 4096)
_PEER = str(Path(__file__).resolve().with_name("peer_gemm.py"))
_GIGA = 1e9


def build_ours(dtype: str, size: int, effort: contest.Effort) -> Callable[[], contest.Turn]:
    """The suite's own job for one square."""
    settings = {"dtypes": [dtype], "squares": [size], "shape_limit_s": 120.0}
    (job,) = contest.plan_jobs(BENCHMARK, settings, effort)

    def turn() -> contest.Turn:
        (measured,) = contest.run_ours(BENCHMARK, job)
        return {f"{dtype} {size}": [1000 * figure for figure in measured.samples]}  # TFLOPS, TOPS -> G

    return turn


def build_peer(python: str, library: str, dtype: str, size: int, effort: contest.Effort) -> Callable[[], contest.Turn]:
    argv = [python, _PEER, library, dtype, str(size), "--samples", str(effort.samples)]
    argv += ["--warmup-s", str(effort.warmup_s)]

    def turn() -> contest.Turn:
        answer = contest.run_peer(argv)
        return {f"{dtype} {size}": [2 * size**3 / seconds / _GIGA for seconds in answer["seconds"]]}

    return turn


def find_peers(torch_python: str) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Library -> (interpreter, types it multiplies fast). Says what is not here."""
    peers: dict[str, tuple[str, tuple[str, ...]]] = {}
    python = torch_python or (sys.executable if importlib.util.find_spec("torch") else "")
    reason = "no torch in this environment and no --torch-python" if not python else explain_no_torch(python)
    if reason:
        print(f"no torch: {reason} (pip install torch==2.13.0 into an environment of its own)")
    else:
        peers["torch"] = (python, DTYPES)
    if (Path(sys.prefix) / "lib" / "libmkl_rt.so.3").exists():
        peers["mkl"] = peers["mkl-packed"] = (sys.executable, DTYPES)
    else:
        print("no MKL: the wheel mkl is not in this environment (pip install mkl)")
    peers["numpy"] = (sys.executable, ("fp32",))
    return peers


def explain_no_torch(python: str) -> str:
    """Why this interpreter has no torch; "" when it has."""
    try:
        code = "import json, torch; print(json.dumps(torch.__version__))"
        done = subprocess.run([python, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    except (OSError, subprocess.TimeoutExpired) as err:
        return f"{python}: {err}"
    if done.returncode:
        return f"{python}: " + (done.stderr.strip().splitlines() or ["cannot import torch"])[-1]
    print(f"torch {json.loads(done.stdout.strip().splitlines()[-1])}")
    return ""


def main() -> int:
    parser = contest.build_parser("GEMM of the embedded engine against torch CPU, MKL and numpy")
    parser.add_argument("--torch-python", default="", metavar="PATH", help="interpreter of an environment with torch")
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, default=DTYPES)
    parser.add_argument("--sizes", nargs="+", type=int, default=SIZES)
    options = parser.parse_args()
    effort = contest.read_effort(options)
    peers = find_peers(options.torch_python)
    print("GEMM, square, GFLOP/s (int8: GOP/s); ours: weights packed by oneDNN beforehand, results in the type itself")
    print("(int8: int32); mkl-packed: weights packed by MKL beforehand; mkl: 16-bit floats give fp32; torch: out=")
    print(contest.describe_start(effort), flush=True)
    calm = contest.Calm(options.calm)
    contest.print_header()
    for dtype in options.dtypes:
        for size in options.sizes:
            rivals = {contest.OURS: build_ours(dtype, size, effort)}
            for library, (python, types) in peers.items():
                if dtype in types:
                    rivals[library] = build_peer(python, library, dtype, size, effort)
            contest.print_rows(contest.hold(rivals, calm=calm, rounds=effort.rounds))
    print(contest.describe_end(calm))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except contest.ContestError as err:
        sys.exit(f"error: {err}")
