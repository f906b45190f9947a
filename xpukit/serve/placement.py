"""Which GPUs (or tiles) a model may run on, and which of them a launch takes.

A unit is what a rank runs on: a GPU, or under ZE_FLAT_DEVICE_HIERARCHY=FLAT each tile of one. Within a process the
ranks are always in Level Zero's order (its specification: the order within ZE_AFFINITY_MASK has no effect), so units
are chosen such that neighbours in that order are neighbours in the machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations
from math import comb

import msgspec

from xpukit.core.errors import UsageError
from xpukit.core.units import format_bytes
from xpukit.serve.affinity import AffinityMask, make_mask
from xpukit.serve.devices import DevicePool, Excluded, Hierarchy, Unit, find_units
from xpukit.serve.parallelism import Parallelism
from xpukit.serve.topology_groups import LEVEL_TEXT, Group, Level, cost_of, find_common, find_level

__all__ = [
    "DevicePool",
    "Excluded",
    "Hierarchy",
    "Placement",
    "Process",
    "TpGroup",
    "Unit",
    "find_units",
    "localize",
    "place",
    "place_on",
]
# Above this many choices of units only neighbours in Level Zero's order and the units of one group are looked at.
_MOST_CHOICES = 300


class TpGroup(msgspec.Struct, frozen=True, kw_only=True):
    """The units of one tensor-parallel group, and what they share. `where` names it ("switch 0000:17:00.0")."""

    dp_rank: int
    pp_rank: int
    units: tuple[str, ...]
    level: Level
    where: str


class Process(msgspec.Struct, frozen=True, kw_only=True):
    """One launch of an engine: its units in rank order (rank = (dp x pp + pp_rank) x tp + tp_rank) and their mask."""

    index: int
    units: tuple[Unit, ...]
    mask: AffinityMask
    tp_groups: tuple[TpGroup, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the units, in rank order."""
        return tuple(unit.label for unit in self.units)

    @property
    def devices(self) -> tuple[int, ...]:
        """`Device.index` of the GPUs used, each once."""
        return tuple(dict.fromkeys(unit.device for unit in self.units))


class Placement(msgspec.Struct, frozen=True, kw_only=True):
    """Where a launch runs. `reasons`: a line for each choice. `notes`: what the user should know."""

    parallelism: Parallelism
    processes: tuple[Process, ...]
    unused: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def worst_level(self) -> Level:
        """The furthest that any tensor-parallel group reaches."""
        return max((group.level for one in self.processes for group in one.tp_groups), key=cost_of)


def place(
    pool: DevicePool,
    parallelism: Parallelism,
    *,
    need_bytes: int | None = None,
    visible: Sequence[int] | None = None,
    nodes: int = 1,
) -> Placement:
    """Choose units for `parallelism` from the pool.

    `need_bytes`: what a rank needs on its unit; units with less free memory are taken last. `visible`: the GPUs
    (`Device.index`) that the process will see at all, as in a container that is given these only; the mask counts
    among them. `nodes`: machines like this one that share each launch; what comes back is the part of one of them.

    Raises UsageError when the pool is too small, or when the ranks cannot be spread evenly over the nodes.
    """
    local = localize(parallelism, nodes)
    wanted = local.world * local.replicas
    if wanted > len(pool.units):
        raise UsageError(_describe_shortage(pool, parallelism, wanted, nodes), hint=_hint_shortage(pool))
    free = list(pool.units)
    chosen: list[tuple[Unit, ...]] = []
    for _ in range(parallelism.replicas):
        units = _choose(pool, free, local, need_bytes)
        chosen.append(units)
        free = [unit for unit in free if unit not in units]
    return place_on(pool, local, chosen, visible=visible, need_bytes=need_bytes)


def localize(parallelism: Parallelism, nodes: int) -> Parallelism:
    """The part of one node: its share of the ranks, a TP group cut where it goes over several nodes.

    Raises UsageError when the ranks do not divide by the nodes.
    """
    if nodes == 1:
        return parallelism
    local, rest = divmod(parallelism.world, nodes)
    if rest or local == 0 or (local % parallelism.tp and parallelism.tp % local):
        raise UsageError(
            f"{parallelism.describe()} cannot be spread evenly over {nodes} nodes", hint="choose sizes that divide"
        )
    tp = min(parallelism.tp, local)
    copies = local // tp
    # Pipeline stages go over the nodes first: they exchange the least.
    dp = min(parallelism.dp, copies)
    while copies % dp:
        dp -= 1
    return Parallelism(tp=tp, pp=copies // dp, dp=dp, ep=parallelism.ep, replicas=parallelism.replicas)


def place_on(
    pool: DevicePool,
    parallelism: Parallelism,
    chosen: Sequence[Sequence[Unit]],
    *,
    visible: Sequence[int] | None = None,
    need_bytes: int | None = None,
) -> Placement:
    """The placement for units that are already chosen, one sequence for each process."""
    processes = tuple(_make_process(index, pool, parallelism, units, visible) for index, units in enumerate(chosen))
    used = {unit.label for process in processes for unit in process.units}
    unused = tuple(unit.label for unit in pool.units if unit.label not in used)
    return Placement(
        parallelism=parallelism,
        processes=processes,
        unused=unused,
        reasons=tuple(_explain(pool, processes, unused)),
        notes=tuple(_warn(pool, processes, parallelism, need_bytes)),
    )


def _make_process(
    index: int, pool: DevicePool, parallelism: Parallelism, units: Iterable[Unit], visible: Sequence[int] | None
) -> Process:
    ordered = tuple(sorted(units, key=lambda unit: unit.order))
    size = parallelism.tp
    groups = []
    for number in range(len(ordered) // size):
        members = ordered[number * size : (number + 1) * size]
        level, where = _locate(pool.groups, members)
        groups.append(
            TpGroup(
                dp_rank=number // parallelism.pp,
                pp_rank=number % parallelism.pp,
                units=tuple(unit.label for unit in members),
                level=level,
                where=where,
            )
        )
    return Process(index=index, units=ordered, mask=make_mask(pool, ordered, visible=visible), tp_groups=tuple(groups))


def _locate(groups: Sequence[Group], units: Sequence[Unit]) -> tuple[Level, str]:
    common = find_common(groups, {unit.device for unit in units})
    return (common.level, common.name) if common else ("machine", "machine")


def _choose(
    pool: DevicePool, free: Sequence[Unit], parallelism: Parallelism, need_bytes: int | None
) -> tuple[Unit, ...]:
    count = parallelism.world
    ordered = sorted(free, key=lambda unit: unit.order)
    best = min(
        _list_choices(pool, ordered, count), key=lambda units: _rate(pool, units, ordered, parallelism, need_bytes)
    )
    return tuple(best)


def _list_choices(pool: DevicePool, ordered: Sequence[Unit], count: int) -> Iterable[tuple[Unit, ...]]:
    if comb(len(ordered), count) <= _MOST_CHOICES:
        yield from combinations(ordered, count)
        return
    for start in range(len(ordered) - count + 1):
        yield tuple(ordered[start : start + count])
    for group in pool.groups:
        members = [unit for unit in ordered if unit.device in group.devices]
        if len(members) >= count:
            yield tuple(members[:count])
            by_memory = sorted(members, key=lambda unit: (-_known_free(unit), unit.order))[:count]
            yield tuple(sorted(by_memory, key=lambda unit: unit.order))


def _rate(
    pool: DevicePool,
    units: Sequence[Unit],
    free: Sequence[Unit],
    parallelism: Parallelism,
    need_bytes: int | None,
) -> tuple[object, ...]:
    """Smaller is better: enough memory, near tensor-parallel groups, near to each other, free memory, whole groups."""
    size = parallelism.tp
    blocks = [units[start : start + size] for start in range(0, len(units), size)]
    levels = [cost_of(find_level(pool.groups, {unit.device for unit in block})) for block in blocks]
    together = cost_of(find_level(pool.groups, {unit.device for unit in units}))
    poor = sum(1 for unit in units if need_bytes is not None and _known_free(unit) < need_bytes)
    # To the nearest GiB: a few MiB that a display takes must not break up a switch.
    least_gib = min((_known_free(unit) for unit in units), default=0) >> 30
    rates = [unit.link_gbps for unit in units if unit.link_gbps is not None]
    return (
        poor,
        max(levels, default=0),
        sum(levels),
        together,
        -least_gib,
        _count_broken(pool.groups, units, free),
        -min(rates, default=0.0),
        tuple(unit.order for unit in units),
    )


def _count_broken(groups: Sequence[Group], units: Sequence[Unit], free: Sequence[Unit]) -> int:
    """How many units of the groups that are broken into would be left over: what is left should stay whole."""
    taken = {unit.label for unit in units}
    count = 0
    for group in groups:
        if group.level in ("switch", "root", "node"):
            members = {unit.label for unit in free if unit.device in group.devices}
            if members & taken:
                count += len(members - taken)
    return count


def _known_free(unit: Unit) -> int:
    return unit.free_bytes or unit.memory_bytes or 0


def _describe_shortage(pool: DevicePool, parallelism: Parallelism, wanted: int, nodes: int) -> str:
    what = "tile" if any(unit.tile is not None for unit in pool.units) else "GPU"
    count = len(pool.units)
    each = f" on each of {nodes} nodes" if nodes > 1 else ""
    return f"{parallelism.describe()} needs {wanted} {what}{'s' * (wanted != 1)}{each}, {count} can be used"


def _hint_shortage(pool: DevicePool) -> str:
    left_out = "; ".join(f"{one.label} {one.bdf}: {one.reason}" for one in pool.excluded)
    return f"left out: {left_out}" if left_out else "fewer ranks, or another machine"


def _explain(pool: DevicePool, processes: Sequence[Process], unused: Sequence[str]) -> Iterable[str]:
    yield pool.hierarchy_reason
    for process in processes:
        name = f"process {process.index}: " if len(processes) > 1 else ""
        for group in process.tp_groups:
            ranks = ", ".join(group.units)
            if len(group.units) == 1:
                unit = next(one for one in process.units if one.label == group.units[0])
                yield f"{name}{ranks}: {_describe_free(unit)}"
            else:
                yield f"{name}tensor parallel over {ranks}: {LEVEL_TEXT[group.level]} ({group.where})"
    if unused:
        yield f"not used: {', '.join(unused)}"


def _describe_free(unit: Unit) -> str:
    if unit.free_bytes is not None:
        return f"{format_bytes(unit.free_bytes)} free of {format_bytes(unit.memory_bytes)}"
    return f"{format_bytes(unit.memory_bytes)} (what is free is not known)" if unit.memory_bytes else "memory not known"


def _warn(
    pool: DevicePool, processes: Sequence[Process], parallelism: Parallelism, need_bytes: int | None
) -> Iterable[str]:
    yield from pool.notes
    for process in processes:
        for group in process.tp_groups:
            if len(group.units) > 1 and cost_of(group.level) >= cost_of("socket"):
                yield (
                    f"tensor parallel over {', '.join(group.units)} goes {LEVEL_TEXT[group.level]}: slower than within "
                    "a socket or switch"
                    + (
                        "; the ranks are in Level Zero's order, which a mask cannot change"
                        if parallelism.pp * parallelism.dp > 1
                        else ""
                    )
                )
        for unit in process.units:
            if need_bytes is not None and unit.free_bytes is not None and unit.free_bytes < need_bytes:
                yield f"{unit.label} has {format_bytes(unit.free_bytes)} free, {format_bytes(need_bytes)} are needed"
    names = {unit.name for process in processes for unit in process.units}
    if len(names) > 1:
        yield f"different GPUs in one launch ({', '.join(sorted(names))}): the slowest sets the pace"
