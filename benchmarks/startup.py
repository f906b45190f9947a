#!/usr/bin/env python3
"""Start-up time: `xpukit --help` against a bare `import typer`; replay of a recorded 8-GPU machine; probe against lstopo.

Run with the environment that has xpukit: python benchmarks/startup.py [rounds]
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.alternate import alternate, print_ratio  # noqa: E402

EIGHT_GPUS = ROOT / "tests" / "machines" / "recorded" / "b60x8_2s.tar.xz"


def time_command(*argv: str) -> float:
    """Wall seconds of one run of a command that must succeed."""
    begun = time.perf_counter()
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT)
    return time.perf_counter() - begun


def main() -> int:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    python = sys.executable
    xpukit = (python, "-m", "xpukit")
    times = alternate(
        {
            "python": lambda: time_command(python, "-c", "pass"),
            "import typer": lambda: time_command(python, "-c", "import typer"),
            "--help": lambda: time_command(*xpukit, "--help"),
            "replay": lambda: time_command(*xpukit, "probe", "--json", "--from", str(EIGHT_GPUS)),
            "probe": lambda: time_command(*xpukit, "probe", "--json"),
            **({"lstopo": lambda: time_command("lstopo-no-graphics", "--of", "xml")} if has_lstopo() else {}),
        },
        rounds=rounds,
    )
    for name, rival in times.items():
        print(f"{name:<14} best {rival.best * 1000:7.1f} ms  median {rival.median * 1000:7.1f} ms  n={rival.n}")
    print_ratio("xpukit --help / import typer, best s", times["--help"].best, times["import typer"].best, "<= 1.5")
    print(f"probe of a recorded 8-GPU machine, start-up included: {times['replay'].best:.3f} s (target <= 0.3)")
    if "lstopo" in times:
        print_ratio("probe / lstopo on this machine, best s", times["probe"].best, times["lstopo"].best, "reported")
    else:
        print("lstopo is not installed (package hwloc-nox): no comparison")
    return 0


def has_lstopo() -> bool:
    return shutil.which("lstopo-no-graphics") is not None


if __name__ == "__main__":
    sys.exit(main())
