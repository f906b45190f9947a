#!/usr/bin/env python3
"""`xpukit sysinfo` against what intel/llm-scaler's collect_sysinfo.sh and get_bkc_version.sh collect: time, size, answers.

Run with the environment that has xpukit, as root: python benchmarks/sysinfo.py [--rounds N] [--rivals NAME ...]

The peer is our own list of the same questions (their scripts are not run and not copied), asked one after the other,
each answer in a file of its own, then tar and xz -9 as they do. It is kinder than theirs: a missing program or an empty
answer costs its own answer, while theirs ends without an archive. Rivals of ours: each preset, and `same`: only the
collectors that hold the peer's questions (probe's and doctor's questions are in every bundle). Before timing it is
looked up in a bundle of each which of the peer's questions it asked: only where all are in it, it holds as much.
"""

from __future__ import annotations

import argparse
import atexit
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.alternate import print_ratio, summarize, take_turns  # noqa: E402


class Question(NamedTuple):
    """One item of their scripts: a command, of its output only lines with `only`, and where our bundles hold it.

    `ours`: how questions of a bundle begin that ask the same (any of them). `package`: what to install for it (Debian).
    """

    argv: tuple[str, ...]
    ours: tuple[str, ...]
    package: str = ""
    only: str = ""


# What the two scripts ask (intel/llm-scaler, vllm/tools/platform/debug, commits 48b0551 and 9c97fc2, read 2026-11-21).
QUESTIONS: tuple[Question, ...] = (
    Question(
        ("cat", "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        ("read /sys/devices/system/cpu/cpu0/cpufreq/scaling_governor",),
    ),
    Question(("lscpu",), ("run lscpu",), "util-linux"),
    Question(("lspci", "-tv"), ("run lspci -tv",), "pciutils"),
    Question(("lspci", "-vvv"), ("run lspci -D -nn -vvv",), "pciutils"),
    Question(("dmesg",), ("run dmesg",), "util-linux"),
    Question(("tree", "/sys/kernel/debug/dri/"), ("run find /sys/kernel/debug/dri",), "tree"),
    Question(("free", "-h"), ("run free -h",), "procps"),
    Question(("dmidecode",), ("run dmidecode",), "dmidecode"),
    Question(("dpkg", "-l"), ("run dpkg-query -W",), "dpkg", only="libze"),
    Question(("cat", "/etc/os-release"), ("read /etc/os-release",)),
    Question(("uname", "-r"), ("read /proc/sys/kernel/osrelease", "run uname")),
    Question(("ls", "/opt/intel/oneapi/logs"), ("list /opt/intel/oneapi/logs",)),
)
# Their second script takes lists of packages; these are some that it is given.
PACKAGES = ("libze1", "libze-intel-gpu1", "intel-opencl-icd", "intel-gsc", "xpu-smi", "linux-firmware", "libigc2")
SAME = "os,cpu,memory,packages,kernel_log,pci_all,gpu_debugfs,oneapi,dmi"
RIVALS: dict[str, tuple[str, ...]] = {
    "same": ("--only", SAME),
    "minimal": ("--preset", "minimal"),
    "default": (),
    "full": ("--preset", "full"),
}
_TIMEOUT_S = 120.0


class Turn(NamedTuple):
    """One archive: seconds to make it, processor seconds of that, its size, and how many questions it answers.

    `ends_after`: at which of its questions the peer's script would have ended, without an archive; None: at none.
    """

    seconds: float
    cpu_seconds: float
    archive_bytes: int
    answered: int
    asked: int
    ends_after: int | None = None


def measure_cpu() -> float:
    """Processor seconds of this process and of its ended children: what a busy machine does not stretch."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def run_peer(folder: Path, packages: tuple[str, ...]) -> Turn:
    """The scripts' questions one after the other, each into a file, then one archive."""
    begun, worked = time.perf_counter(), measure_cpu()
    out = folder / "sysinfo"
    out.mkdir()
    versions = (Question(("dpkg-query", "-W", "-f=${Version}", name), ()) for name in packages)
    questions = (*QUESTIONS, *versions)
    answered, ends_after = 0, None
    for number, question in enumerate(questions):
        try:
            done = subprocess.run(
                question.argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=_TIMEOUT_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            continue
        said = done.stdout
        if question.only:
            said = b"".join(line for line in said.splitlines(keepends=True) if question.only.encode() in line)
            if not said and ends_after is None:
                ends_after = number
        (out / f"{number:02d}.txt").write_bytes(said)
        answered += done.returncode == 0
    archive = folder / "sysinfo.tar.xz"
    with tarfile.open(archive, "w:xz", preset=9) as packed:
        packed.add(out, arcname="sysinfo")
    seconds, cpu_seconds = time.perf_counter() - begun, measure_cpu() - worked
    return Turn(seconds, cpu_seconds, archive.stat().st_size, answered, len(questions), ends_after)


def run_ours(folder: Path, options: tuple[str, ...], form: str) -> Turn:
    """`xpukit sysinfo`, start-up of Python and redaction included."""
    target = folder / f"ours.tar.{form}"
    begun, worked = time.perf_counter(), measure_cpu()
    done = subprocess.run(
        (sys.executable, "-m", "xpukit", "sysinfo", "--json", *options, "-o", str(target)),
        cwd=ROOT,
        env=_compiled_once(),
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S * 3,
        check=False,
    )
    seconds, cpu_seconds = time.perf_counter() - begun, measure_cpu() - worked
    if done.returncode not in (0, 3) or not target.exists():
        raise SystemExit(f"xpukit sysinfo failed (exit {done.returncode}): {done.stderr.strip()[-500:]}")
    collection = json.loads(done.stdout)["collection"]
    reports = (*collection["rooms"], *collection["collectors"])
    # A question that several collectors ask is one answer.
    entries = {entry["what"]: entry["status"] for report in reports for entry in report["entries"]}
    answered = sum(status in ("ok", "capped") for status in entries.values())
    return Turn(seconds, cpu_seconds, target.stat().st_size, answered, len(entries))


@cache
def _compiled_once() -> dict[str, str]:
    """Our environment, in which modules are compiled once, as pip does; the first, untimed bundle compiles them."""
    folder = tempfile.mkdtemp(prefix="xpukit-benchmark-pyc-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPYCACHEPREFIX": folder}


@contextlib.contextmanager
def stand_in_packages(names: tuple[str, ...]) -> Iterator[None]:
    """Inside, dpkg answers as where these packages are installed: then the peer's script runs to its end.

    Programs of these names stand first in PATH; they ask the real ones and add lines of their own.
    """
    with tempfile.TemporaryDirectory(prefix="xpukit-benchmark-bin-") as folder:
        lines = "\n".join(f"ii  {name}:amd64  25.18.33578.15-1  amd64  stand-in" for name in names)
        for program, text in (
            ("dpkg", f"{shutil.which('dpkg')} \"$@\" || exit $?\ncat <<'END'\n{lines}\nEND\n"),
            (
                "dpkg-query",
                f'case "$2" in -f=*) case \' {" ".join(names)} \' in *" $3 "*) echo 25.18.33578.15-1; exit;; esac;; '
                f'esac\nexec {shutil.which("dpkg-query")} "$@"\n',
            ),
        ):
            path = Path(folder) / program
            path.write_text(f"#!/bin/sh\n{text}")
            path.chmod(0o755)
        before = os.environ["PATH"]
        os.environ["PATH"] = f"{folder}{os.pathsep}{before}"
        try:
            yield
        finally:
            os.environ["PATH"] = before


def find_missing(options: tuple[str, ...]) -> tuple[str, ...]:
    """Which of the peer's questions a bundle made with these options does not ask."""
    from xpukit.host.recording_format import RecordingFiles, read_lines

    with tempfile.TemporaryDirectory(prefix="xpukit-benchmark-") as folder:
        run_ours(Path(folder), options, "zst")
        answers, _ = read_lines(RecordingFiles(Path(folder) / "ours.tar.zst"))
    asked = [" ".join(question) for question in answers]
    return tuple(
        " ".join(question.argv)
        for question in QUESTIONS
        if not any(one == start or one.startswith(f"{start} ") for one in asked for start in question.ours)
    )


def print_rival(name: str, taken: list[Turn]) -> None:
    times, sizes = summarize([one.seconds for one in taken]), summarize([one.archive_bytes for one in taken])
    cpu, last = min(one.cpu_seconds for one in taken), taken[-1]
    print(
        f"{name}: best {times.best:.2f} s, median {times.median:.2f} s, n={times.n}; processor best {cpu:.2f} s; "
        f"archive {sizes.median:.0f} bytes; {last.answered} of {last.asked} questions answered"
    )
    if last.ends_after is not None:
        print(
            f"  as it is written it ends at question {last.ends_after + 1} of {last.asked} (no libze package) and leaves no "
            "archive; above, its list run to the end"
        )


def compare(name: str, ours: list[Turn], peer: list[Turn], missing: tuple[str, ...]) -> None:
    """Our ratios to the peer: below 1 is less."""
    held = f"without {'; '.join(missing)}" if missing else "holds all of the peer's questions"
    print(f"\n{name} to peer ({held})")
    print_ratio("  time, best s", min(one.seconds for one in ours), min(one.seconds for one in peer), "< 1")
    print_ratio(
        "  processor, best s", min(one.cpu_seconds for one in ours), min(one.cpu_seconds for one in peer), "< 1"
    )
    print_ratio(
        "  archive, bytes", min(one.archive_bytes for one in ours), min(one.archive_bytes for one in peer), "< 1"
    )
    print_ratio("  answers in the archive", ours[-1].answered, peer[-1].answered, "> 1")
    for label, field in (("archive bytes", "archive_bytes"), ("seconds", "seconds"), ("processor s", "cpu_seconds")):
        each = [min(getattr(one, field) / one.answered for one in side if one.answered) for side in (ours, peer)]
        print_ratio(f"  {label} for one answer", each[0], each[1], "< 1")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--rivals", nargs="*", default=["same", "minimal", "default"], choices=tuple(RIVALS))
    parser.add_argument("--format", default="zst", choices=("zst", "xz"), help="of our archives; theirs is xz -9")
    parser.add_argument(
        "--packages", nargs="*", default=list(PACKAGES), help="packages whose versions the peer asks for"
    )
    parser.add_argument(
        "--stand-ins", action="store_true", help="dpkg says that --packages are installed: the peer runs to its end"
    )
    options = parser.parse_args()
    if not options.stand_ins:
        return measure(options)
    with stand_in_packages(tuple(options.packages)):
        return measure(options)


def measure(options: argparse.Namespace) -> int:
    """Time all rivals and print."""

    def peer() -> Turn:
        with tempfile.TemporaryDirectory(prefix="xpukit-benchmark-") as folder:
            return run_peer(Path(folder), tuple(options.packages))

    def ours(name: str) -> Turn:
        with tempfile.TemporaryDirectory(prefix="xpukit-benchmark-") as folder:
            return run_ours(Path(folder), RIVALS[name], options.format)

    missing = {name: find_missing(RIVALS[name]) for name in options.rivals}
    rivals = {name: (lambda name=name: ours(name)) for name in options.rivals}
    turns = take_turns({"peer": peer, **rivals}, rounds=options.rounds)
    for name, taken in turns.items():
        print_rival(name, taken)
    for name in options.rivals:
        compare(name, turns[name], turns["peer"], missing[name])
    lacking = {question.package or question.argv[0] for question in QUESTIONS if shutil.which(question.argv[0]) is None}
    if lacking:
        print(f"\nnot installed here, so the peer's answers are fewer: apt-get install {' '.join(sorted(lacking))}")
    if os.geteuid():
        print("\nnot root: their script would not have run at all, and dmesg, dmidecode and debugfs say less")
    print(f"\nload average {', '.join(f'{load:.1f}' for load in os.getloadavg())}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
