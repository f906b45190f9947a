#!/usr/bin/env python3
"""`xpukit build-image` against a plain `docker build` of the same context: cold, warm, and what comes after the build.

Run as root with the environment that has xpukit: python benchmarks/build_image.py [--rounds N] [--builders buildkit ...]

A Docker daemon of its own is started and stopped (Debian: docker.io, debootstrap), with a Debian base that has all that
the smoke recipe installs, so that nothing of a network is in the times. Cold is --no-cache on both sides; warm is the
same build again with nothing changed. Ours is a whole process: start-up, probe, rendering, the build, the build
directory. What a plain build does not do is timed apart ("after"): flags, labels, inventory, SBOM and, with --smoke,
the smoke test.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.alternate import Rival, summarize, take_turns  # noqa: E402
from tests.live.docker_engine import DockerEngine, find_missing, start_engine  # noqa: E402
from tests.live.smoke_base import BASE, import_base  # noqa: E402

BUILDERS = ("buildkit", "classic")
_TIMEOUT_S = 600.0
# What xpukit says when the image is there and the looking begins (xpukit/cli/build_image_account.py).
_AFTER_MARKS = ("testing the image", "looking into the image")
# Ours may cost a second more than the plain build, and a twentieth of it.
_ALLOWED_S = 1.0
_ALLOWED_PART = 0.05


class Turn(NamedTuple):
    """One build: seconds until the image is there, and seconds of what comes after it (0 for a plain build)."""

    build_s: float
    after_s: float = 0.0

    @property
    def total_s(self) -> float:
        return self.build_s + self.after_s


class Contest:
    """One builder on one daemon."""

    def __init__(self, engine: DockerEngine, kind: str, folder: Path, *, smoke: bool) -> None:
        self.kind = kind
        self.folder = folder
        self.smoke = smoke
        self.env = {**os.environ, "DOCKER_HOST": engine.address, "XDG_STATE_HOME": str(folder / "state")}
        self.program = self._find_program()
        self.context = folder / "context"
        self._run(self._name_ours("--context", str(self.context)))

    def _name_ours(self, *more: str) -> list[str]:
        argv = [sys.executable, "-m", "xpukit", "build-image", "smoke", "--base-image", BASE, "--ca-bundle", "none"]
        return [*argv, "--builder", self.kind, *more]

    def _find_program(self) -> str:
        """The docker client that ours uses with this builder."""
        if self.kind == "classic":
            return "docker"
        said = self._run(self._name_ours("--dry-run", "--json")).stdout
        return str(json.loads(said)["argv"][0])

    def _run(self, argv: Sequence[str], **env: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            argv, cwd=ROOT, env={**self.env, **env}, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
        if done.returncode:
            raise SystemExit(f"{shlex.join(argv)} failed ({done.returncode}): {done.stderr.strip()[-800:]}")
        return done

    def build_plain(self, *, cold: bool) -> Turn:
        argv = [self.program, "build", "--tag", f"plain/{self.kind}:1", *(["--no-cache"] if cold else [])]
        begun = time.perf_counter()
        self._run([*argv, str(self.context)], DOCKER_BUILDKIT="0" if self.kind == "classic" else "1")
        return Turn(time.perf_counter() - begun)

    def build_ours(self, *, cold: bool) -> Turn:
        argv = self._name_ours("--tag", f"ours/{self.kind}:1", *(["--no-cache"] if cold else []))
        if not self.smoke:
            argv.append("--no-smoke")
        begun = time.perf_counter()
        after = None
        said = []
        with subprocess.Popen(
            argv, cwd=ROOT, env=self.env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stderr is not None
            for line in process.stderr:
                said.append(line)
                if after is None and line.startswith(_AFTER_MARKS):
                    after = time.perf_counter()
            code = process.wait(timeout=_TIMEOUT_S)
        ended = time.perf_counter()
        if code or after is None:
            raise SystemExit(f"{shlex.join(argv)} failed ({code}): {''.join(said)[-800:]}")
        return Turn(after - begun, ended - after)


def judge(label: str, ours: Rival, plain: Rival) -> None:
    """One line: medians, what ours costs more, and whether that is within what is allowed."""
    more, allowed = ours.median - plain.median, _ALLOWED_S + _ALLOWED_PART * plain.median
    word = "MEET" if more <= allowed else "MISS"
    print(
        f"{label}: ours {ours.median:.2f} s (best {ours.best:.2f}), plain {plain.median:.2f} s (best {plain.best:.2f}), "
        f"overhead {more:+.2f} s (allowed {allowed:.2f}) {word}",
        flush=True,
    )


def run_contest(engine: DockerEngine, kind: str, folder: Path, *, rounds: int, smoke: bool) -> None:
    contest = Contest(engine, kind, folder, smoke=smoke)
    turns = {
        cold: take_turns(
            {"ours": lambda: contest.build_ours(cold=cold), "plain": lambda: contest.build_plain(cold=cold)},  # noqa: B023
            rounds=rounds,
        )
        for cold in (True, False)
    }
    # The first warm build of ours still looks into the image; the ones after it are what "nothing changed" means.
    cold, warm = turns[True], {name: taken[1:] or taken for name, taken in turns[False].items()}
    judge(f"{kind} cold, the build", *(summarize([one.build_s for one in cold[name]]) for name in ("ours", "plain")))
    judge(f"{kind} warm, all of it", *(summarize([one.total_s for one in warm[name]]) for name in ("ours", "plain")))
    after = summarize([one.after_s for one in cold["ours"]])
    what = "smoke test, flags, inventory, SBOM" if smoke else "flags, inventory, SBOM"
    print(f"{kind} cold, after the build ({what}): median {after.median:.2f} s (best {after.best:.2f})", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--builders", nargs="*", default=list(BUILDERS), choices=BUILDERS)
    parser.add_argument("--smoke", action="store_true", help="run the smoke test too, in the time after the build")
    options = parser.parse_args()
    if reason := find_missing("debootstrap"):
        raise SystemExit(reason)
    with start_engine() as engine, tempfile.TemporaryDirectory(prefix="xpukit-benchmark-") as place:
        import_base(engine)
        version = engine.docker("version", "--format", "{{.Server.Version}}")
        today = datetime.datetime.now(tz=datetime.timezone.utc).date()
        print(f"{today}: Docker {version}, {os.cpu_count()} processors, n={options.rounds}", flush=True)
        for kind in options.builders:
            folder = Path(place) / kind
            folder.mkdir()
            run_contest(engine, kind, folder, rounds=options.rounds, smoke=options.smoke)
    print(f"load average at the end {os.getloadavg()[0]:.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
