#!/usr/bin/env python3
"""`xpukit sysinfo` against what intel/llm-scaler's collect_sysinfo.sh and get_bkc_version.sh collect: time, size, facts.

Run with the environment that has xpukit: python benchmarks/sysinfo.py [--rounds N] [--packages NAME ...]

The peer is our own list of the same questions (their scripts are not run and not copied), asked one after the other,
each answer in a file of its own, then tar and xz -9 as they do. It is kinder than theirs: a missing program costs its
own answer, while theirs ends without an archive. Programs that are not installed here cost neither side anything.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.alternate import print_ratio, summarize, take_turns  # noqa: E402

# What the two scripts ask (intel/llm-scaler, vllm/tools/platform/debug, read 2026-11-21), as argv lists.
QUESTIONS: tuple[tuple[str, ...], ...] = (
    ("cat", "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
    ("lscpu",),
    ("lspci", "-tv"),
    ("lspci", "-vvv"),
    ("dmesg",),
    ("tree", "/sys/kernel/debug/dri"),
    ("free", "-h"),
    ("dmidecode",),
    ("dpkg", "-l"),
    ("cat", "/etc/os-release"),
    ("uname", "-r"),
    ("ls", "/opt/intel/oneapi/logs"),
)
PACKAGES = ("libze1", "libze-intel-gpu1", "intel-opencl-icd", "intel-gsc", "xpu-smi", "linux-firmware", "libigc2")
_TIMEOUT_S = 120.0


class Turn(NamedTuple):
    """One archive: seconds to make it, processor seconds of that, its size, and how many questions it answers."""

    seconds: float
    cpu_seconds: float
    archive_bytes: int
    answered: int
    asked: int


def measure_cpu() -> float:
    """Processor seconds of this process and of its ended children: what a busy machine does not stretch."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def run_peer(folder: Path, packages: tuple[str, ...]) -> Turn:
    """The scripts' questions one after the other, each into a file, then one archive."""
    begun, worked = time.perf_counter(), measure_cpu()
    out = folder / "sysinfo"
    out.mkdir()
    questions = (*QUESTIONS, *(("dpkg-query", "-W", "-f=${Version}", name) for name in packages))
    answered = 0
    for number, argv in enumerate(questions):
        with (out / f"{number:02d}.txt").open("wb") as file:
            try:
                done = subprocess.run(argv, stdout=file, stderr=subprocess.DEVNULL, timeout=_TIMEOUT_S, check=False)
            except (OSError, subprocess.TimeoutExpired):
                continue
        answered += done.returncode == 0
    archive = folder / "sysinfo.tar.xz"
    with tarfile.open(archive, "w:xz", preset=9) as packed:
        packed.add(out, arcname="sysinfo")
    seconds, cpu_seconds = time.perf_counter() - begun, measure_cpu() - worked
    return Turn(seconds, cpu_seconds, archive.stat().st_size, answered, len(questions))


def run_ours(folder: Path, preset: str, form: str) -> Turn:
    """`xpukit sysinfo`, start-up of Python and redaction included."""
    target = folder / f"ours.tar.{form}"
    begun, worked = time.perf_counter(), measure_cpu()
    done = subprocess.run(
        (sys.executable, "-m", "xpukit", "sysinfo", "--json", "--preset", preset, "-o", str(target)),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S * 3,
        check=False,
    )
    seconds, cpu_seconds = time.perf_counter() - begun, measure_cpu() - worked
    if done.returncode not in (0, 3) or not target.exists():
        raise SystemExit(f"xpukit sysinfo failed (exit {done.returncode}): {done.stderr.strip()[-500:]}")
    collection = json.loads(done.stdout)["collection"]
    entries = [entry for report in (*collection["rooms"], *collection["collectors"]) for entry in report["entries"]]
    answered = sum(entry["status"] in ("ok", "capped") for entry in entries)
    return Turn(seconds, cpu_seconds, target.stat().st_size, answered, len(entries))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--preset", default="default", choices=("minimal", "default", "full"))
    parser.add_argument("--format", default="zst", choices=("zst", "xz"), help="of our archive; theirs is xz -9")
    parser.add_argument(
        "--packages", nargs="*", default=list(PACKAGES), help="packages whose versions the peer asks for"
    )
    options = parser.parse_args()

    def turn(ours: bool) -> Turn:
        with tempfile.TemporaryDirectory(prefix="xpukit-benchmark-") as folder:
            return (
                run_ours(Path(folder), options.preset, options.format)
                if ours
                else run_peer(Path(folder), tuple(options.packages))
            )

    turns = take_turns({"ours": lambda: turn(True), "peer": lambda: turn(False)}, rounds=options.rounds)
    for name, taken in turns.items():
        times, sizes = summarize([one.seconds for one in taken]), summarize([one.archive_bytes for one in taken])
        cpu = min(one.cpu_seconds for one in taken)
        last = taken[-1]
        print(
            f"{name}: best {times.best:.2f} s, median {times.median:.2f} s, n={times.n}; processor best {cpu:.2f} s; "
            f"archive {sizes.median:.0f} bytes; {last.answered} of {last.asked} questions answered"
        )
    ours, peer = turns["ours"], turns["peer"]
    print_ratio("time, best s", min(one.seconds for one in ours), min(one.seconds for one in peer), "< 1")
    print_ratio("processor, best s", min(one.cpu_seconds for one in ours), min(one.cpu_seconds for one in peer), "< 1")
    print_ratio("archive, bytes", min(one.archive_bytes for one in ours), min(one.archive_bytes for one in peer), "< 1")
    print_ratio("facts, answers in the archive", ours[-1].answered, peer[-1].answered, "> 1")
    each = [min(one.archive_bytes / one.answered for one in side if one.answered) for side in (ours, peer)]
    print_ratio("archive bytes for one answer", each[0], each[1], "< 1")
    missing = sorted({argv[0] for argv in QUESTIONS if shutil.which(argv[0]) is None})
    if missing:
        print(f"not installed here, so missing from the peer: {', '.join(missing)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
