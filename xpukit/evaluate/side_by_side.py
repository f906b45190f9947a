"""Which jobs may run at the same time: those that share no card and, for copies, no memory of the host.

Each is a process of its own, pinned to its device, and judged for itself. Two tiles of one card share its power, so
a card does one thing at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from xpukit.core.measurement import Job
from xpukit.evaluate.allowed_cpus import count_allowed_cpus
from xpukit.evaluate.benchmark import Benchmark, Scope

# Processors that a job needs for starting kernels and checking data.
_CPUS_EACH = 2
_CPU = "cpu"


def claim_cards(job: Job, scope: Scope) -> frozenset[str]:
    """The job's cards; the CPU device is the whole machine."""
    return frozenset(label.partition("/")[0] for label in job.targets)


def claim_cards_and_nodes(job: Job, scope: Scope) -> frozenset[str]:
    """The job's cards, and the NUMA nodes whose memory and links its copies use: that of the host buffers (all, where
    nothing binds them) and those that the cards hang from."""
    nodes = {node for node, _ in scope.numa_nodes}
    hosts = {dict(promise.key.params).get("host_node") for promise in job.promises}
    used = {node for node in hosts if isinstance(node, int)} or nodes
    cards = {target.numa_node for target in scope.targets if target.label in job.targets}
    used |= {node for node in cards if node is not None} if None not in cards else nodes
    return claim_cards(job, scope) | {f"node {node}" for node in used or {0}}


def group_jobs(benchmark: Benchmark, jobs: Sequence[Job], scope: Scope) -> Iterator[list[int]]:
    """Places of `jobs` that run together, in order; those of one group claim nothing in common.

    Copies from a card's own node, which claim least, come before those from other nodes, and short jobs before long.
    """
    most = max(1, count_allowed_cpus(scope) // _CPUS_EACH)
    claims = [benchmark.claims(job, scope) if benchmark.claims is not None else frozenset() for job in jobs]
    waiting = sorted(range(len(jobs)), key=lambda place: (len(claims[place]), _weigh(benchmark, jobs[place])))
    while waiting:
        group = [waiting.pop(0)]
        taken = claims[group[0]]
        if benchmark.claims is not None and _CPU not in taken:
            for place in list(waiting):
                if len(group) >= most:
                    break
                if claims[place] and not claims[place] & taken and _CPU not in claims[place]:
                    group.append(place)
                    taken |= claims[place]
                    waiting.remove(place)
        yield group


def _weigh(benchmark: Benchmark, job: Job) -> float:
    # Without claims a planner's own order stands: neighbours before distant pairs.
    return round(job.estimate_s, 1) if benchmark.claims is not None else 0.0
