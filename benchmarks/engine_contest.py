"""What the engine_*.py scripts share: our worker's jobs, peers as child processes, and the table of ratios.

A turn is one child process: ours is the very job that `xpukit evaluate` would start (same plan, same request on the
same worker, same environment), a peer's is a small program of its own. Nobody else of the contest is alive meanwhile,
so no rival's idle threads spin into another's time.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from benchmarks.alternate import Rival, summarize, take_turns  # noqa: E402
from xpukit.core.measurement import Job, Measurement, Method, Target  # noqa: E402
from xpukit.evaluate.benchmark import Benchmark, Scope  # noqa: E402
from xpukit.host.live import LiveHost  # noqa: E402
from xpukit.host.runner import run_process  # noqa: E402

TARGET_RATIO = 0.95
OURS = "ours"
CPU = Target(label="cpu", kind="cpu", name="CPU")
_PEER_TIMEOUT_S = 300.0
_MOST_RETAKES = 10
_CALM_WAIT_S = 60.0
_WIDTH = 23

# Figures of one turn by what was measured ("fp32 1024"): higher is better everywhere here.
Turn = Mapping[str, Sequence[float]]


class ContestError(Exception):
    """A rival could not be measured, or was wrong."""


class Effort(NamedTuple):
    """How long a script may take."""

    rounds: int
    samples: int
    warmup_s: float

    def build_method(self) -> Method:
        """As many samples from us as from a peer: the best of more tries would be better for that alone."""
        return Method(
            warmup_limit_s=self.warmup_s,
            time_box_s=0.0,
            min_samples=self.samples,
            max_samples=self.samples,
        )


def build_parser(description: str) -> argparse.ArgumentParser:
    """The options that all scripts have."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, default=0, help="turns of each rival (default 7, with --quick 2)")
    parser.add_argument(
        "--calm",
        type=float,
        metavar="SHARE",
        help="take a turn again during which others took more than this share of the processors' time (0.05)",
    )
    parser.add_argument("--quick", action="store_true", help="few rounds and samples: does it work?")
    return parser


def read_effort(options: argparse.Namespace, *, samples: int = 9) -> Effort:
    """From --rounds and --quick."""
    if options.quick:
        return Effort(rounds=options.rounds or 2, samples=4, warmup_s=0.1)
    return Effort(rounds=options.rounds or 7, samples=samples, warmup_s=0.4)


def plan_jobs(benchmark: Benchmark, settings: dict[str, Any], effort: Effort) -> tuple[Job, ...]:
    """Our jobs for these settings of a suite's table, on the CPU. Raises ContestError when there is none."""
    host = LiveHost()
    cpus = ",".join(str(cpu) for cpu in sorted(os.sched_getaffinity(0)))
    plan = benchmark.plan(
        Scope(
            targets=(CPU,),
            settings=settings,
            method=effort.build_method(),
            host=host,
            numa_nodes=((0, cpus),),
            memory_bytes=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        )
    )
    if not plan.jobs:
        raise ContestError("; ".join(skip.reason for skip in plan.skips) or f"{benchmark.name} plans no job here")
    return plan.jobs


def run_ours(benchmark: Benchmark, job: Job) -> tuple[Measurement, ...]:
    """One turn of ours. Raises ContestError when the job fails, or a result does not verify."""
    ran = run_process(job.argv, timeout_s=job.timeout_s, input=job.input, env={**job.env, "PYTHONPATH": str(ROOT)})
    parsed = benchmark.parse(job, ran)
    reasons = [parsed.problem] if parsed.problem else [reason for _, reason in parsed.reasons]
    wrong = [f"WRONG: {one.verify_detail}" for one in parsed.measurements if one.verified is not True]
    if reasons or wrong or not parsed.measurements:
        raise ContestError(f"{job.name}: " + "; ".join((*wrong, *reasons) or ("no result",)))
    return parsed.measurements


def run_child(argv: Sequence[str], *, env: Mapping[str, str] | None = None) -> list[str]:
    """The lines that a peer prints. Raises ContestError when it fails or prints nothing."""
    try:
        done = subprocess.run(
            argv,
            capture_output=True,
            text=True,
            timeout=_PEER_TIMEOUT_S,
            env={**os.environ, **(env or {})},
            cwd=ROOT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as err:
        raise ContestError(f"{argv[0]}: {err}") from err
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        said = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise ContestError(f"exit {done.returncode}: {said}")
    return lines


def run_peer(argv: Sequence[str], *, env: Mapping[str, str] | None = None) -> dict[str, Any]:
    """One turn of a peer that prints a JSON object on its last line. Raises ContestError."""
    answer: dict[str, Any] = json.loads(run_child(argv, env=env)[-1])
    return answer


class Calm:
    """Watches what others do to a turn, and takes turns again that they disturbed.

    Foreign work is what the processors did beyond the turn's own processes, as a share of all their time: a measure
    that does not depend on how well a rival did, so that leaving disturbed turns out favours nobody.
    """

    def __init__(self, limit: float | None) -> None:
        self._limit = limit
        self.shares: list[float] = []
        self.retaken = 0

    def watch(self, turn: Callable[[], Turn]) -> Turn:
        """The turn; one that was disturbed beyond the limit is taken again when it is calm, some ten times at most."""
        for attempt in range(_MOST_RETAKES + 1):
            if self._limit is not None:
                _wait_until_calm(self._limit)
            busy, own = _read_busy_s(), _read_own_s()
            begun = time.monotonic()
            figures = turn()
            elapsed = max(1e-3, time.monotonic() - begun)
            foreign = (_read_busy_s() - busy) - (_read_own_s() - own)
            share = max(0.0, foreign) / elapsed / (os.cpu_count() or 1)
            if self._limit is None or share <= self._limit or attempt == _MOST_RETAKES:
                break
            self.retaken += 1
        self.shares.append(share)
        return figures

    def describe(self) -> str:
        """'others took 2.1 % of the processors' time (median of 64 turns; most 9.3 %)'."""
        if not self.shares:
            return ""
        again = f"; {self.retaken} disturbed turns were taken again" if self._limit is not None else ""
        return (
            f"others took {100 * statistics.median(self.shares):.1f} % of the processors' time during the turns kept "
            f"(median of {len(self.shares)}; most {100 * max(self.shares):.1f} %){again}"
        )


def _wait_until_calm(limit: float) -> None:
    """Until the processors have been idle for a second but for `limit`, or a minute has gone."""
    deadline = time.monotonic() + _CALM_WAIT_S
    while time.monotonic() < deadline:
        busy, begun = _read_busy_s(), time.monotonic()
        time.sleep(1.0)
        if (_read_busy_s() - busy) / (time.monotonic() - begun) / (os.cpu_count() or 1) <= limit:
            return


def _read_busy_s() -> float:
    """Seconds that all processors together have worked since boot, stolen ones included."""
    fields = [
        int(word) for word in Path("/proc/stat").read_text(encoding="utf-8").split("\n", maxsplit=1)[0].split()[1:9]
    ]
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


def _read_own_s() -> float:
    """Processor seconds of this process and of those that it has started and seen end."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


class Row(NamedTuple):
    """One thing measured, and every rival's figures."""

    what: str
    rivals: dict[str, Rival]


def hold(rivals: Mapping[str, Callable[[], Turn]], *, calm: Calm, rounds: int, seed: int = 1) -> list[Row]:
    """A contest. A peer that fails is left out with the reason printed; when ours fails, ContestError is raised."""
    willing = dict(rivals)
    for name in [name for name in rivals if name != OURS]:
        try:
            rivals[name]()  # once outside the contest: warms the file cache, and shows whether it works at all
        except ContestError as err:
            print(f"  left out: {name}: {err}", flush=True)
            del willing[name]
    rivals[OURS]()
    watched = {name: functools.partial(calm.watch, turn) for name, turn in willing.items()}
    turns = take_turns(watched, rounds=rounds, seed=seed)
    rows = []
    for what in turns[OURS][0]:
        pooled = {name: [figure for turn in taken for figure in turn.get(what, ())] for name, taken in turns.items()}
        found = {name: summarize(figures, higher_is_better=True) for name, figures in pooled.items() if figures}
        rows.append(Row(what=what, rivals=found))
    return rows


def print_header() -> None:
    """The table's head; rows follow as they come."""
    print(
        f"\n{'what':<{_WIDTH}}  {'ours best/median':>17}  {'peer best/median':>17}  best/best  med/med  "
        f">= {TARGET_RATIO}  strongest peer   (all: best/median)",
        flush=True,
    )


def print_rows(rows: Sequence[Row], *, beside: Collection[str] = ()) -> None:
    """Ours against the strongest peer by best and by median, and every rival's figures.

    `beside`: rivals that are shown but are not the peer that the target is about.
    """
    for row in rows:
        ours = row.rivals[OURS]
        others = {name: rival for name, rival in row.rivals.items() if name != OURS}
        peers = {name: rival for name, rival in others.items() if name not in beside}
        if not peers:
            print(f"{row.what:<{_WIDTH}}  {_show(ours):>17}  no peer", flush=True)
            continue
        by_best = max(peers, key=lambda name: peers[name].best)
        by_median = max(peers, key=lambda name: peers[name].median)
        peer = Rival(best=peers[by_best].best, median=peers[by_median].median, n=peers[by_best].n)
        ratios = (ours.best / peer.best, ours.median / peer.median)
        names = by_best if by_best == by_median else f"{by_best} | {by_median}"
        everyone = ", ".join(f"{name} {_show(rival)}" for name, rival in others.items())
        print(
            f"{row.what:<{_WIDTH}}  {_show(ours):>17}  {_show(peer):>17}  {ratios[0]:9.3f}  {ratios[1]:7.3f}  "
            f"{judge(ratios):<7}  {names:<15}  ({everyone})",
            flush=True,
        )


def judge(ratios: tuple[float, float]) -> str:
    """MEET when both ratios reach the target, MISS when neither does, SPLIT when only one does (look at the load)."""
    reached = sum(ratio >= TARGET_RATIO for ratio in ratios)
    return ("MISS", "SPLIT", "MEET")[reached]


def _show(rival: Rival) -> str:
    return f"{rival.best:.4g}/{rival.median:.4g}"


def describe_start(effort: Effort) -> str:
    """Rounds, samples and the load that the run begins under."""
    return (
        f"{effort.rounds} rounds in shuffled order, {effort.samples} samples a turn after up to {effort.warmup_s:g} s "
        f"of warm-up; each turn its own process\nload average before: {_show_load()}"
    )


def describe_end(calm: Calm) -> str:
    """The load that the run ended under, and what others took meanwhile."""
    return f"load average after: {_show_load()} (this run's own included); {calm.describe()}"


def _show_load() -> str:
    load = "/".join(f"{value:.2f}" for value in os.getloadavg())
    return f"{load} on {len(os.sched_getaffinity(0))} CPUs"
