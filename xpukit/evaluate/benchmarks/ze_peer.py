"""Copies between GPUs by ze_peer: every ordered pair alone, pairs at once, and a check of the data.

A pair runs in its own process: ze_peer gives up at the first pair without access, and its all-pairs run with it.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from xpukit.core.measurement import (
    YES_NO,
    Job,
    Measurement,
    MetricKey,
    ParsedOutput,
    Promise,
    Skip,
    Target,
    make_key,
)
from xpukit.core.units import GIB, MIB
from xpukit.evaluate.benchmark import Benchmark, Plan, Scope
from xpukit.evaluate.benchmarks.p2p import find_refused_pairs
from xpukit.evaluate.device_rates import estimate_copy_bytes_per_s
from xpukit.evaluate.embedded.memory_sizes import list_sizes
from xpukit.evaluate.parsers.ze_peer import PeerOutput, parse_ze_peer
from xpukit.evaluate.tools.convert import PEAK_FROM_BYTES, convert_ze_peer
from xpukit.evaluate.tools.jobs import (
    ITERATIONS,
    UNCOMPRESSED,
    build_tool_job,
    count_iterations,
    judge_output,
    list_gpus,
    number_targets,
    skip_without_gpu,
)
from xpukit.evaluate.tools.locate import Found, explain_unavailable, find_tool
from xpukit.facts.tools import get_tool
from xpukit.host import Host
from xpukit.host.answers import Ran

TOOL = "ze_peer"
# Without -z it measures every power of two between these.
_SMALLEST, _LARGEST = 8, 256 * MIB
_PARALLEL_BYTES = 256 * MIB
_CHECK_BYTES = 4 * MIB
_ROWS = (("access", YES_NO), ("bandwidth", "GB/s"), ("peak_bandwidth", "GB/s"), ("latency", "us"))
_START_S = 2.0
_SWEEP_BYTES = 2 * _LARGEST  # 26 sizes, each copied once
# What of the pairs of one distance goes first.
_BANDWIDTH, _CHECK, _OTHER_CHECK, _CURVES, _TOGETHER = range(5)


class _Planner:
    """Collects the jobs of a scope."""

    def __init__(self, scope: Scope, gpus: list[Target], found: Found) -> None:
        self._scope = scope
        self._gpus = gpus
        self._found = found
        settings = scope.settings
        self._modes = [mode for mode in settings.get("modes", ("write", "read")) if mode in ("write", "read")]
        fraction = float(settings.get("memory_fraction", 0.25))
        limit = int(min(gpu.memory_bytes or 4 * GIB for gpu in gpus) * fraction) // 2
        self.sizes = list_sizes(settings, limit_bytes=limit, table="p2p")
        self._swept = [size for size in self.sizes if _SMALLEST <= size <= _LARGEST and size & (size - 1) == 0]
        self._single = [size for size in self.sizes if size > _LARGEST and size % MIB == 0]
        self._iterations = count_iterations(scope)
        self._rate = min(estimate_copy_bytes_per_s(gpu) for gpu in gpus)
        self._parallel_bytes = min(_PARALLEL_BYTES, 1 << max(limit, MIB).bit_length() - 1)
        # By distance and by what is worth more: both ways of a pair and whether its data arrives come before curves.
        self._ranked: list[tuple[int, int, Job]] = []
        self._rank = (0, 0)
        self.skips: list[Skip] = []

    @property
    def jobs(self) -> tuple[Job, ...]:
        """All jobs, in the order of their worth."""
        return tuple(job for _, _, job in sorted(self._ranked, key=lambda ranked: ranked[:2]))

    def set_distance(self, distance: int) -> None:
        """What is added from here on is about pairs so far apart."""
        self._rank = (distance, 0)

    def add_refused(self, source: int, target: int) -> None:
        """A pair that the driver refuses: ze_peer is asked once whether it agrees; nothing else can apply."""
        labels = (self._gpus[source].label, self._gpus[target].label)
        reason = "the driver gives these devices no access to each other"
        for mode in self._modes:
            keys = [self._bandwidth(labels, mode, "uni", size).key for size in self.sizes]
            self.skips += [Skip(key=key, unit="GB/s", reason=reason) for key in keys]
        promise = Promise(key=make_key("p2p", "access", labels), unit=YES_NO)
        arguments = (*self._ends(source, target, "uni"), "-o", "write", "-z", "4096")
        self._add(f"{TOOL} access {labels[0]} {labels[1]}", arguments, [promise], _START_S)

    def add_pair(self, source: int, target: int) -> None:
        """Write and read, one way; both ways where the first device comes first, as in the embedded engine."""
        labels = (self._gpus[source].label, self._gpus[target].label)
        both_ways = source < target and self._scope.settings.get("both_ways", True)
        ways = [("uni", self._modes), *([("bi", self._modes)] if both_ways else [])]
        for direction, modes in ways:
            self._rank = (self._rank[0], _CURVES if direction == "bi" else _BANDWIDTH)
            self._add_sweep(labels, source, target, direction, modes)
            self._rank = (self._rank[0], _CURVES)
            for size in self._single:
                self._add(
                    f"{TOOL} {direction} {size // MIB} MiB {labels[0]} {labels[1]}",
                    (*self._ends(source, target, direction), *_operation(modes), "-z", str(size)),
                    [self._bandwidth(labels, mode, direction, size) for mode in modes],
                    _START_S + 2 * (self._iterations + 10) * size / self._rate,
                )
            for size in self.sizes:
                if size not in self._swept and size not in self._single:
                    reason = f"{TOOL} measures powers of two to 256 MiB and whole MiB beyond"
                    for mode in modes:
                        key = self._bandwidth(labels, mode, direction, size).key
                        self.skips.append(Skip(key=key, unit="GB/s", reason=reason))
        for place, mode in enumerate(self._modes):  # a complaint does not say which mode it is about: each runs alone
            self._rank = (self._rank[0], _CHECK if place == 0 else _OTHER_CHECK)
            key = make_key("p2p", "data", labels, mode=mode, path="peer")
            arguments = (*self._ends(source, target, "uni"), "-o", mode, "-v", "-z", str(_CHECK_BYTES))
            name = f"{TOOL} check {mode} {labels[0]} {labels[1]}"
            self._add(name, arguments, [Promise(key=key, unit=YES_NO)], _START_S)

    def _add_sweep(
        self, labels: tuple[str, str], source: int, target: int, direction: str, modes: Sequence[str]
    ) -> None:
        promises: list[Promise] = []
        arguments = ["-s", str(source), "-d", str(target), *_operation(modes)]
        if direction == "uni":
            promises.append(Promise(key=make_key("p2p", "access", labels), unit=YES_NO))
        else:
            arguments += ["-b", "-t", "transfer_bw"]
        for mode in modes:
            promises += [self._bandwidth(labels, mode, direction, size) for size in self._swept]
            if self._swept and self._swept[-1] >= PEAK_FROM_BYTES:
                key = make_key("p2p", "peak_bandwidth", labels, mode=mode, direction=direction, path="peer")
                promises.append(Promise(key=key, unit="GB/s"))
            if direction == "uni" and self._swept:
                about = {"mode": mode, "direction": direction, "path": "peer"}
                key = make_key("p2p", "latency", labels, **about, bytes=self._swept[0])
                promises.append(Promise(key=key, unit="us", higher_is_better=False))
        if promises:
            swept_s = _SWEEP_BYTES / self._rate * self._iterations * len(modes)
            estimate_s = _START_S + swept_s * (2 if direction == "uni" else 1)
            self._add(f"{TOOL} {direction} {labels[0]} {labels[1]}", arguments, promises, estimate_s)

    def add_parallel(self) -> None:
        """Neighbours in pairs (0:1, 2:3, ...) all at once: what the switches and root ports carry together."""
        count = len(self._gpus) // 2
        if count < 2:
            return
        self._rank = (self._rank[0], _TOGETHER)
        pairs = ",".join(f"{2 * place}:{2 * place + 1}" for place in range(count))
        ends = [*range(0, 2 * count, 2), *range(1, 2 * count, 2)]
        labels = tuple(self._gpus[place].label for place in ends)
        for direction in ("uni", "bi") if self._scope.settings.get("both_ways", True) else ("uni",):
            for mode in self._modes:
                about = {"mode": mode, "direction": direction, "path": "peer", "pairs": pairs}
                total = count * self._parallel_bytes
                key = make_key("p2p", "parallel_bandwidth", labels, **about, bytes=total)
                arguments = ["--parallel_pair_targets", pairs, "-o", mode, "-t", "transfer_bw"]
                arguments += ["-z", str(self._parallel_bytes), *(["-b"] if direction == "bi" else [])]
                name = f"{TOOL} pairs {direction} {mode}"
                self._add(
                    name,
                    arguments,
                    [Promise(key=key, unit="GB/s")],
                    _START_S + (self._iterations + 10) * total / self._rate,
                )

    def _ends(self, source: int, target: int, direction: str) -> tuple[str, ...]:
        both = ("-b",) if direction == "bi" else ()
        return ("-s", str(source), "-d", str(target), *both, "-t", "transfer_bw")

    def _bandwidth(self, labels: tuple[str, str], mode: str, direction: str, size: int) -> Promise:
        key = make_key("p2p", "bandwidth", labels, mode=mode, direction=direction, path="peer", bytes=size)
        return Promise(key=key, unit="GB/s")

    def _add(self, name: str, arguments: Sequence[str], promises: Sequence[Promise], estimate_s: float) -> None:
        repeat = () if self._iterations == ITERATIONS else ("-i", str(self._iterations))
        job = build_tool_job(
            self._scope,
            benchmark="ze_peer",
            name=name,
            found=self._found,
            arguments=(*arguments, *repeat),
            gpus=self._gpus,
            promises=promises,
            estimate_s=estimate_s,
            env=UNCOMPRESSED,
        )
        self._ranked.append((*self._rank, job))


def _operation(modes: Sequence[str]) -> tuple[str, ...]:
    """Both are measured when none is named."""
    return ("-o", modes[0]) if len(modes) == 1 else ()


def plan(scope: Scope) -> Plan:
    """Jobs for each ordered pair; not-applicable rows with fewer than two devices."""
    gpus = list_gpus(scope)
    if not gpus:
        return skip_without_gpu(scope, "p2p", _ROWS)
    if len(gpus) < 2:
        labels = (gpus[0].label,)
        reason = "needs two devices; one GPU is measured here"
        skips = [Skip(key=make_key("p2p", metric, labels), unit=unit, reason=reason) for metric, unit in _ROWS]
        return Plan(skips=tuple(skips))
    refused = find_refused_pairs(scope.host.level_zero(), gpus)
    planner = _Planner(scope, gpus, find_tool(scope.host, TOOL))
    # Neighbours first, so that what a suite's duration leaves out are distant pairs, and of no device all.
    for distance in range(1, len(gpus)):
        planner.set_distance(distance)
        for source in range(len(gpus)):
            target = (source + distance) % len(gpus)
            add = planner.add_refused if (source, target) in refused else planner.add_pair
            add(source, target)
        if distance == 1 and not refused:
            planner.add_parallel()
    return Plan(jobs=planner.jobs, skips=tuple(planner.skips))


def parse(job: Job, ran: Ran) -> ParsedOutput:
    """What it printed. The job that checks the data says whether it arrived; its speed (one copy) is left out."""
    parsed = parse_ze_peer(ran.text, ran.err_text)
    measurements = convert_ze_peer(parsed, number_targets(job))
    check = next((promise.key for promise in job.promises if promise.key.metric == "data"), None)
    if check is not None:
        measurements = read_check(check, ran, parsed)
    output = judge_output(job, ran, (get_tool(TOOL),), measurements, problems=parsed.problems, notes=parsed.notes)
    asked = {promise.key.metric for promise in job.promises}
    if asked <= {"access", "data"} and asked <= {m.key.metric for m in output.measurements}:
        # It aborts when it has said no: that is the answer, not a failure.
        return msgspec.structs.replace(output, problem="")
    return output


def read_check(key: MetricKey, ran: Ran, parsed: PeerOutput) -> tuple[Measurement, ...]:
    """Of a run with -v: right data is silent, wrong data is a complaint. No reading: nothing was checked."""
    wrong = next((problem.text for problem in parsed.problems if problem.kind == "bad-data"), "")
    if not wrong and not (ran.ok and parsed.readings):
        return ()
    detail = wrong or "ze_peer -v"
    made = Measurement(key=key, unit=YES_NO, samples=(0.0 if wrong else 1.0,), verified=not wrong, verify_detail=detail)
    return (made,)


def explain_no_peer(host: Host) -> str:
    """Why ze_peer cannot run here, "" when it can."""
    return explain_unavailable(host, TOOL)


BENCHMARK = Benchmark(
    name="ze_peer",
    summary="copies between GPUs: every ordered pair, both ways, pairs at once, data (ze_peer)",
    engine="tools",
    plan=plan,
    parse=parse,
    order=51,
    rows="p2p",
    available=explain_no_peer,
)
