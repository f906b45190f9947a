"""Copies between devices (GPUs, or tiles of one): access, bandwidth, latency, for all ordered pairs.

GB/s are 1e9 bytes of payload per second; both directions' payload counts where both run. A worker has one first
device and up to four second ones, so that a hang costs those rows. Pairs that the driver already says cannot reach each
other are skipped; what goes through the host is measured for them too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from xpukit.core.measurement import YES_NO, MetricKey, Promise, Skip, Target, make_key
from xpukit.core.units import GIB, MIB
from xpukit.evaluate.benchmark import Benchmark, Plan, Scope
from xpukit.evaluate.embedded.environment import build_worker_environment, name_in_mask
from xpukit.evaluate.embedded.kinds.p2p import Way, list_ways, way_key
from xpukit.evaluate.embedded.memory_sizes import list_sizes, method_for
from xpukit.evaluate.embedded.protocol import Request, build_job, parse_worker_output
from xpukit.host.level_zero.snapshot import LevelZeroAnswer

_PEAK_FROM_BYTES = 64 * MIB
_START_S = 4.0
_PAIRS_EACH = 4
_METRICS = (("access", YES_NO), ("bandwidth", "GB/s"), ("peak_bandwidth", "GB/s"), ("latency", "us"))


def _skip_all(targets: Sequence[Target], reason: str) -> Plan:
    labels = tuple(target.label for target in targets)
    return Plan(
        skips=tuple(Skip(key=make_key("p2p", metric, labels), unit=unit, reason=reason) for metric, unit in _METRICS)
    )


def find_refused_pairs(answer: LevelZeroAnswer, targets: Sequence[Target]) -> set[tuple[int, int]]:
    """Places of pairs for which the driver says outright that there is no access, one way or the other."""
    refused = {frozenset((peer.src, peer.dst)) for peer in answer.peers if peer.can_access is False}
    names = [name_in_mask(target) for target in targets]
    return {
        (i, j)
        for i, first in enumerate(names)
        for j, second in enumerate(names)
        if i != j and frozenset((first, second)) in refused
    }


def _list_workers(count: int) -> Iterator[tuple[int, list[int]]]:
    """(first device, second devices) of each worker. Neighbours come first, so that what a suite's duration leaves out
    are distant pairs, and of no device all."""
    for begin in range(1, count, _PAIRS_EACH):
        for source in range(count):
            distances = range(begin, min(begin + _PAIRS_EACH, count))
            yield source, sorted((source + distance) % count for distance in distances)


def plan(scope: Scope) -> Plan:
    """One worker per first device and few second ones; not-applicable rows with fewer than two devices."""
    settings = scope.settings
    targets = tuple(target for target in scope.targets if target.kind == "gpu")
    if len(targets) < 2:
        count = "no GPU is" if not targets else "one GPU is"
        return _skip_all(scope.targets, f"needs two devices; {count} measured here")
    method = method_for(scope.method, settings)
    fraction = float(settings.get("memory_fraction", 0.25))
    limit_bytes = int(min(target.memory_bytes or 4 * GIB for target in targets) * fraction) // 2
    sizes = list(list_sizes(settings, limit_bytes=limit_bytes, table="p2p"))
    if not sizes:
        return _skip_all(scope.targets, "no size of the suite fits into the devices' memory")
    peak_sizes = [size for size in sizes if size >= _PEAK_FROM_BYTES]
    modes = list(settings.get("modes", ("write", "read")))
    paths = list(settings.get("paths", ("peer", "host")))
    refused = find_refused_pairs(scope.host.level_zero(), targets)
    jobs = []
    skips: list[Skip] = []
    for source, others in _list_workers(len(targets)):
        first = targets[source]
        both_ways = [[source, place] for place in others if place > source and settings.get("both_ways", True)]
        promises: list[Promise] = []
        ways = 0
        for place in others:
            labels = (first.label, targets[place].label)
            promises.append(Promise(key=make_key("p2p", "access", labels), unit=YES_NO))
            for way in list_ways(modes, paths, both_ways=[source, place] in both_ways):
                rows = _rows(labels, way, sizes, peak_sizes)
                if way.path == "peer" and (source, place) in refused:
                    reason = "the driver gives these devices no access to each other"
                    skips += [Skip(key=key, unit=unit, reason=reason) for key, unit in rows]
                    continue
                ways += 1
                promises += [Promise(key=key, unit=unit, higher_is_better=unit != "us") for key, unit in rows]
        request = Request(
            kind="p2p",
            targets=targets,
            method=method,
            params={
                "pairs": [[source, place] for place in others],
                "both_ways": both_ways,
                "refused": [[source, place] for place in others if (source, place) in refused],
                "modes": modes,
                "paths": paths,
                "sizes_bytes": sizes,
                "peak_sizes_bytes": peak_sizes,
                "plant_error": bool(settings.get("plant_error", False)),
            },
        )
        each = (len(sizes) + 1) * (method.warmup_limit_s / 2 + method.time_box_s) + 3 * sum(sizes) / 2e9
        jobs.append(
            build_job(
                benchmark="p2p",
                name=f"p2p from {first.label}" + ("" if len(others) == len(targets) - 1 else f" part {others[0]}"),
                request=request,
                promises=promises,
                estimate_s=_START_S + ways * each,
                env=build_worker_environment(targets),
            )
        )
    return Plan(jobs=tuple(jobs), skips=tuple(skips))


def _rows(
    labels: tuple[str, str], way: Way, sizes: Sequence[int], peak_sizes: Sequence[int]
) -> list[tuple[MetricKey, str]]:
    """Keys and units that a pair delivers for one way of copying."""
    rows = [(way_key("bandwidth", labels, way, size), "GB/s") for size in sizes]
    if way.direction == "uni":
        rows.append((way_key("latency", labels, way, sizes[0]), "us"))
    if peak_sizes:
        rows.append((way_key("peak_bandwidth", labels, way, None), "GB/s"))
    return rows


BENCHMARK = Benchmark(
    name="p2p",
    summary="copies between devices: access, bandwidth, latency",
    engine="embedded",
    plan=plan,
    parse=parse_worker_output,
    order=50,
)
