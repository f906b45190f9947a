"""Which of this run's own yardsticks belongs to a result on the CPU.

A ceiling is measured in the same run by an independent method (another library, another way to move bytes); only
there does a verdict about a CPU mean something, since no two hosts have the same.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

import msgspec

from xpukit.core.measurement import Measurement, MetricKey, Param


class Ceiling(msgspec.Struct, frozen=True, kw_only=True):
    """A yardstick's value in the unit of the result, and how it was had."""

    value: float
    source: str


def find_ceiling(key: MetricKey, ceilings: Sequence[Measurement]) -> Ceiling | None:
    """The ceiling for a metric, None when this run has none that fits."""
    rule = _RULES.get((key.benchmark, key.metric))
    return rule(dict(key.params), ceilings) if rule else None


def _best(
    ceilings: Sequence[Measurement], benchmark: str, wanted: dict[str, Param], *, metric: str = "", scale: float = 1.0
) -> Ceiling | None:
    """The best median among a benchmark's rows whose parameters include `wanted`."""
    found = [
        (statistics.median(row.samples) * scale, row)
        for row in ceilings
        if row.key.benchmark == benchmark
        and (not metric or row.key.metric == metric)
        and row.samples
        and all(dict(row.key.params).get(name) == value for name, value in wanted.items())
    ]
    if not found:
        return None
    value, row = max(found, key=lambda pair: pair[0])
    return Ceiling(value=value, source=f"this run's {benchmark}: {row.note or 'independent method'}")


def _ceil_gemm(params: dict[str, Param], ceilings: Sequence[Measurement]) -> Ceiling | None:
    # Only square products are bound by arithmetic; the shapes of decoding are bound by memory.
    if len({params.get("m"), params.get("n"), params.get("k")}) != 1 or not isinstance(params.get("m"), int):
        return None
    return _best(ceilings, "gemm_ceiling", {"dtype": params.get("dtype", ""), "m": params["m"]})


def _ceil_memory(params: dict[str, Param], ceilings: Sequence[Measurement]) -> Ceiling | None:
    return _best(ceilings, "memory_ceiling", {"op": params.get("op", "")})


def _ceil_transfer(params: dict[str, Param], ceilings: Sequence[Measurement]) -> Ceiling | None:
    # A copy moves each byte twice (read and write), a transfer's figure counts the payload once; one thread does it.
    return _best(ceilings, "memory_ceiling", {"op": "copy_one_process"}, scale=0.5)


def _ceil_collective(params: dict[str, Param], ceilings: Sequence[Measurement]) -> Ceiling | None:
    # Adding takes longer in 16 bits than in 32 on a CPU; moving does not care.
    adds = params.get("collective") in ("allreduce", "reduce_scatter")
    names = ("collective", "bytes", "ranks", *(("dtype",) if adds else ()))
    wanted: dict[str, Param] = {name: params[name] for name in names if name in params}
    return _best(ceilings, "collectives_ceiling", wanted, metric="busbw")


_RULES: dict[tuple[str, str], Callable[[dict[str, Param], Sequence[Measurement]], Ceiling | None]] = {
    ("gemm", "throughput"): _ceil_gemm,
    ("memory", "peak_bandwidth"): _ceil_memory,
    ("transfer", "peak_bandwidth"): _ceil_transfer,
    ("collectives", "busbw"): _ceil_collective,
}
