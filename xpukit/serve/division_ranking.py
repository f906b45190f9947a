"""The valid divisions of a model over these GPUs, the best first, each with what speaks for and against it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import msgspec

from xpukit.facts.parallelism import EngineRules, find_rules
from xpukit.serve.devices import DevicePool
from xpukit.serve.parallelism import (
    ModelParts,
    Parallelism,
    check_parallelism,
    count_moe_tp,
    list_divisors,
    list_expert_parallel,
)
from xpukit.serve.topology_groups import LEVEL_TEXT, Level, cost_of

Objective = Literal["throughput", "latency"]

NO_FIT = "does not fit"
"""The warning of a candidate whose memory plan does not fit."""


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A valid division. `level`: how near the units of a TP group can be; `fits`: None where nobody could say."""

    parallelism: Parallelism
    level: Level
    crosses_nodes: bool
    fits: bool | None
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]


def rank_candidates(
    parts: ModelParts,
    pool: DevicePool,
    engine: str,
    *,
    ranks: int | None = None,
    tp: int | None = None,
    pp: int | None = None,
    dp: int | None = None,
    ep: int | None = None,
    nodes: int = 1,
    fits: Callable[[Parallelism], bool | None] | None = None,
    objective: Objective = "throughput",
) -> tuple[Candidate, ...]:
    """All valid divisions, the best first.

    `ranks`: exactly so many units over all `nodes` (each with this pool); by default the fewest that fit come first.
    `tp`, `pp`, `dp`, `ep` fix a size (`ep` 0: all that share in it). `fits` says whether the model fits into the units
    so divided; what does not goes last. Among what fits: no TP group over several nodes, no pipeline, TP groups within
    a socket or switch, then for "throughput" small TP with DP, for "latency" large TP. Raises UsageError for an unknown
    engine.
    """
    rules = find_rules(engine)
    total = len(pool.units) * nodes
    found = []
    for count in (ranks,) if ranks is not None else range(1, total + 1):
        if count > total:
            continue
        for division in _list_divisions(count, rules, parts, tp=tp, pp=pp, dp=dp, ep=ep):
            if not check_parallelism(parts, division, engine) and _spreads(division, len(pool.units), nodes):
                found.append(_judge(division, parts, pool, rules, fits, nodes))
    return tuple(sorted(found, key=lambda one: _order(one, objective, exact=ranks is not None)))


def _list_divisions(
    count: int,
    rules: EngineRules,
    parts: ModelParts,
    *,
    tp: int | None,
    pp: int | None,
    dp: int | None,
    ep: int | None,
) -> Iterable[Parallelism]:
    for tensor in list_divisors(count) if tp is None else (tp,):
        for stages in list_divisors(max(1, count // tensor)) if pp is None else (pp,):
            copies = count // (tensor * stages)
            if tensor * stages * copies != count or (dp is not None and copies != dp) or copies == 0:
                continue
            plain = Parallelism(tp=tensor, pp=stages, dp=copies)
            sizes: Sequence[int] = list_expert_parallel(plain, rules) if parts.experts else (1,)
            for experts in sizes if ep is None else (ep or max(sizes),):
                yield msgspec.structs.replace(plain, ep=experts)


def _spreads(division: Parallelism, units: int, nodes: int) -> bool:
    """Whether the ranks can be spread evenly over the nodes."""
    if nodes == 1 or division.world <= units:
        return division.world <= units
    if division.world % nodes:
        return False
    local = division.world // nodes
    return local <= units and (local % division.tp == 0 or division.tp % local == 0)


def find_nearest_level(pool: DevicePool, count: int) -> Level:
    """The nearest level with a group of at least so many units."""
    sizes: dict[int, int] = {}
    for unit in pool.units:
        sizes[unit.device] = sizes.get(unit.device, 0) + 1
    found = [group.level for group in pool.groups if sum(sizes.get(device, 0) for device in group.devices) >= count]
    return min(found, key=cost_of, default="machine")


def _judge(
    division: Parallelism,
    parts: ModelParts,
    pool: DevicePool,
    rules: EngineRules,
    fits: Callable[[Parallelism], bool | None] | None,
    nodes: int,
) -> Candidate:
    local = division.world if nodes == 1 or division.world <= len(pool.units) else division.world // nodes
    crosses = division.tp > local
    level = find_nearest_level(pool, min(division.tp, local))
    reasons, warnings = [], []
    if division.tp == 1:
        reasons.append("no tensor parallelism: ranks exchange nothing within a layer")
    elif crosses:
        warnings.append(f"TP {division.tp} goes over the network between {nodes} nodes")
    elif cost_of(level) <= cost_of("socket"):
        reasons.append(f"TP {division.tp} stays near: {LEVEL_TEXT[level]}")
    else:
        warnings.append(f"TP {division.tp} goes {LEVEL_TEXT[level]}: no socket or switch has so many")
    kv_heads = parts.kv_heads
    if kv_heads and not parts.latent_attention and division.tp > kv_heads:
        warnings.append(f"each of the {kv_heads} KV heads is kept {division.tp // kv_heads} times")
    if parts.latent_attention and division.tp > 1:
        warnings.append("MLA: every rank of a TP group keeps the whole KV cache")
    if parts.layers and parts.layers % division.pp:
        warnings.append(f"{parts.layers} layers do not divide by PP {division.pp}: stages of different size")
    if division.pp > 1:
        warnings.append("PP adds latency: a token passes the stages one after the other")
    if division.ep > 1:
        reasons.append(f"EP {division.ep}: whole experts on each rank (moe_tp {count_moe_tp(division, rules)})")
        if parts.experts % division.ep:
            warnings.append(f"{parts.experts} experts do not divide by EP {division.ep}: ranks of different size")
    if division.dp > 1:
        reasons.append(f"DP {division.dp}: so many sequences' batches at once")
    verdict = fits(division) if fits else None
    if verdict is False:
        warnings.insert(0, NO_FIT)
    return Candidate(
        parallelism=division,
        level=level,
        crosses_nodes=crosses,
        fits=verdict,
        reasons=tuple(reasons),
        warnings=tuple(warnings),
    )


def _order(one: Candidate, objective: Objective, *, exact: bool) -> tuple[object, ...]:
    division = one.parallelism
    far = one.crosses_nodes or cost_of(one.level) > cost_of("socket")
    return (
        one.fits is False,
        # Tensor parallelism exchanges something in each layer, a pipeline once a stage: only that goes over a network.
        one.crosses_nodes and division.tp > 1,
        # Where the number of ranks is free, a pipeline is what remains when no number of tensor-parallel ranks fits;
        # the fewer stages, the sooner a token is through.
        0 if exact else division.pp,
        0 if exact else division.world,
        far and division.tp > 1,
        division.pp,
        -division.tp if objective == "latency" else division.tp,
        # Expert parallelism only where it is needed or asked for: it may be slower at low concurrency.
        division.ep,
    )
