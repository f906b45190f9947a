"""CPUs and memory for each launch: those near its GPUs, whole cores first, no core given to two ranks.

The nodes are those of the GPUs. A node without CPUs stands for the nearest one with CPUs that may be used, one without
memory for the nearest one with memory. The cores of a node are divided evenly between all ranks whose GPU is there,
whichever launch they belong to; a launch gets the cores of its ranks together. Where the node of a GPU is not known
nothing is bound: a wrong binding is worse than none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec

from xpukit.core.errors import UsageError
from xpukit.core.machine import Machine, NumaNode
from xpukit.core.units import format_bytes, format_cpu_list, parse_cpu_list
from xpukit.serve.devices import Unit
from xpukit.serve.placement import Process

Threads = Literal["cores", "all"]
Policy = Literal["bind", "preferred", "none"]


class RankPin(msgspec.Struct, frozen=True, kw_only=True):
    """CPUs of one rank. `gpu_node`: its GPU's node; `node`: that of the CPUs, None when unbound; `mems`: of the memory.

    `shared`: other ranks have these CPUs too, and `reason` says why.
    """

    label: str
    gpu_node: int | None
    node: int | None
    cpus: str
    mems: str
    shared: bool
    reason: str


class Pinning(msgspec.Struct, frozen=True, kw_only=True):
    """CPUs and memory nodes of one launch, as lists in the kernel's form.

    `bound` False: run it as it is; `cpus` then are all that may be used, and `reasons` say why. `whole_nodes`: the CPUs
    are all that the nodes have. `memory_policy` "none": memory is not bound.
    """

    process: int
    bound: bool
    cpus: str
    nodes: tuple[int, ...]
    mems: str
    memory_policy: Policy
    whole_nodes: bool
    ranks: tuple[RankPin, ...]
    reasons: tuple[str, ...]
    notes: tuple[str, ...] = ()


class _Layout(msgspec.Struct, frozen=True, kw_only=True):
    """What may be used: cores (lists of threads) by node, and everything together."""

    nodes: dict[int, NumaNode]
    cores: dict[int, tuple[tuple[int, ...], ...]]
    allowed: tuple[int, ...]
    with_memory: tuple[int, ...]
    positions: dict[int, int]


def plan_pinning(
    machine: Machine,
    processes: Sequence[Process],
    *,
    reserved_cpus: str = "",
    threads: Threads = "cores",
    host_bytes: int | None = None,
) -> tuple[Pinning, ...]:
    """The pinning of each process.

    `reserved_cpus`: left to others, with the other threads of their cores. `threads`: "cores" gives one thread of each
    core, "all" its hyper-threads too. `host_bytes`: memory that one launch needs on the host; more than its nodes have
    is not bound to them. Raises UsageError when `reserved_cpus` is no CPU list or leaves nothing.
    """
    layout = _lay_out(machine, reserved_cpus, threads)
    homes = _find_homes(layout, [unit for process in processes for unit in process.units])
    shares = _share_cores(layout, processes, homes)
    return tuple(
        _plan_process(machine, layout, process, homes, shares, threads, host_bytes, several=len(processes) > 1)
        for process in processes
    )


def _lay_out(machine: Machine, reserved_cpus: str, threads: Threads) -> _Layout:
    try:
        reserved = set(parse_cpu_list(reserved_cpus))
    except ValueError as err:
        raise UsageError(f"reserved CPUs: {reserved_cpus!r} is not a CPU list", hint="for example 0-3,8") from err
    siblings = _read_siblings(machine.cpu.siblings)
    reserved |= {thread for cpu in tuple(reserved) for thread in siblings.get(cpu, (cpu,))}
    everywhere = {cpu for node in machine.numa for cpu in _read_list(node.cpus)}
    allowed = _read_list(machine.cpu.allowed) or _read_list(machine.cpu.online) or tuple(sorted(everywhere))
    usable = [cpu for cpu in allowed if cpu not in reserved]
    if reserved_cpus and allowed and not usable:
        raise UsageError(
            f"reserved CPUs {reserved_cpus} are all that may be used ({format_cpu_list(allowed)})",
            hint="reserve fewer",
        )
    cores: dict[int, tuple[tuple[int, ...], ...]] = {}
    for node in machine.numa:
        own = set(_read_list(node.cpus)) & set(usable)
        cores[node.node] = _list_cores(own, siblings, threads)
    with_memory = tuple(
        node.node for node in machine.numa if node.memory_bytes != 0 and node.memory_allowed is not False
    )
    return _Layout(
        nodes={node.node: node for node in machine.numa},
        cores=cores,
        allowed=tuple(usable),
        with_memory=with_memory,
        positions={node.node: position for position, node in enumerate(machine.numa)},
    )


def _read_list(text: str) -> tuple[int, ...]:
    try:
        return parse_cpu_list(text)
    except ValueError:
        return ()


def _read_siblings(siblings: Iterable[str]) -> dict[int, tuple[int, ...]]:
    found: dict[int, tuple[int, ...]] = {}
    for text in siblings:
        threads = _read_list(text)
        found.update(dict.fromkeys(threads, threads))
    return found


def _list_cores(
    cpus: set[int], siblings: Mapping[int, tuple[int, ...]], threads: Threads
) -> tuple[tuple[int, ...], ...]:
    """The cores in order of their first thread, each with the threads that are given: the first, or all."""
    cores: list[tuple[int, ...]] = []
    seen: set[int] = set()
    for cpu in sorted(cpus):
        if cpu in seen:
            continue
        members = tuple(thread for thread in siblings.get(cpu, (cpu,)) if thread in cpus)
        seen.update(members)
        cores.append(members if threads == "all" else members[:1])
    return tuple(cores)


def _find_homes(layout: _Layout, units: Iterable[Unit]) -> dict[str, int | None]:
    """The node whose CPUs a unit gets, None when that cannot be told."""
    homes: dict[str, int | None] = {}
    with_cores = [node for node, cores in layout.cores.items() if cores]
    for unit in units:
        node = unit.numa_node
        if node is None and len(layout.nodes) == 1:
            node = next(iter(layout.nodes))
        homes[unit.label] = None if node is None or node not in layout.nodes else _nearest(layout, node, with_cores)
    return homes


def _nearest(layout: _Layout, node: int, among: Sequence[int]) -> int | None:
    """The nearest of some nodes by the firmware's distances (equal ones: of the same socket, then the lowest number).

    Without distances only the node itself or one of its socket will do.
    """
    if node in among:
        return node
    here = layout.nodes[node]
    distances = here.distances if len(here.distances) == len(layout.nodes) else ()

    def is_elsewhere(other: int) -> bool:
        return here.socket is None or layout.nodes[other].socket != here.socket

    if not distances:
        among = [other for other in among if not is_elsewhere(other)]
    return min(
        among,
        key=lambda other: (distances[layout.positions[other]] if distances else 0, is_elsewhere(other), other),
        default=None,
    )


class _Share(msgspec.Struct, frozen=True, kw_only=True):
    cpus: tuple[int, ...]
    shared: bool


def _share_cores(
    layout: _Layout, processes: Sequence[Process], homes: Mapping[str, int | None]
) -> dict[tuple[int, str], _Share]:
    """The CPUs of each rank (process, unit): its part of its node's cores; all that may be used where no node is."""
    shares: dict[tuple[int, str], _Share] = {}
    by_node: dict[int, list[tuple[int, str]]] = {}
    for process in processes:
        for unit in process.units:
            home = homes[unit.label]
            if home is None:
                shares[process.index, unit.label] = _Share(cpus=layout.allowed, shared=True)
            else:
                by_node.setdefault(home, []).append((process.index, unit.label))
    for node, ranks in by_node.items():
        cores = layout.cores[node]
        for number, rank in enumerate(ranks):
            if len(cores) < len(ranks):
                mine: Sequence[tuple[int, ...]] = (cores[number % len(cores)],)
            else:
                each, more = divmod(len(cores), len(ranks))
                start = number * each + min(number, more)
                mine = cores[start : start + each + (number < more)]
            cpus = tuple(sorted(cpu for core in mine for cpu in core))
            shares[rank] = _Share(cpus=cpus, shared=len(cores) < len(ranks))
    return shares


def _plan_process(
    machine: Machine,
    layout: _Layout,
    process: Process,
    homes: Mapping[str, int | None],
    shares: Mapping[tuple[int, str], _Share],
    threads: Threads,
    host_bytes: int | None,
    *,
    several: bool,
) -> Pinning:
    ranks = tuple(
        _pin_rank(layout, unit, homes[unit.label], shares[process.index, unit.label]) for unit in process.units
    )
    why_not = _find_reason_not_to(machine, layout, ranks, several=several)
    if why_not:
        return _leave_unbound(process, layout, ranks, why_not)
    nodes = tuple(sorted({rank.node for rank in ranks if rank.node is not None}))
    cpus = sorted({cpu for rank in ranks for cpu in parse_cpu_list(rank.cpus)})
    everything = {cpu for node in nodes for cpu in _read_list(layout.nodes[node].cpus)}
    mems = sorted({node for rank in ranks for node in parse_cpu_list(rank.mems)})
    policy, policy_reason = _choose_policy(layout, mems, host_bytes)
    return Pinning(
        process=process.index,
        bound=True,
        cpus=format_cpu_list(cpus),
        nodes=nodes,
        mems=format_cpu_list(mems) if policy != "none" else "",
        memory_policy=policy,
        whole_nodes=set(cpus) == everything,
        ranks=ranks,
        reasons=(_explain_cpus(process, nodes, cpus, threads), policy_reason),
        notes=tuple(_note(machine, ranks, nodes, cpus)),
    )


def _pin_rank(layout: _Layout, unit: Unit, home: int | None, share: _Share) -> RankPin:
    gpu_node = unit.numa_node
    if home is None:
        where = "its NUMA node is not known" if gpu_node is None else f"nothing near node {gpu_node} may be used"
        return RankPin(
            label=unit.label,
            gpu_node=gpu_node,
            node=None,
            cpus=format_cpu_list(share.cpus),
            mems="",
            shared=True,
            reason=f"{unit.label}: {where}: not bound",
        )
    memory = _nearest(layout, home, layout.with_memory)
    reason = f"{unit.label}: CPUs of node {home}"
    if gpu_node is not None and home != gpu_node:
        empty = "has no CPUs" if not layout.nodes[gpu_node].cpus else "has no CPU that may be used"
        reason = f"{unit.label}: node {gpu_node} {empty}: CPUs of node {home}, the nearest that has"
    if memory is not None and memory != home:
        reason += f"; node {home} has no memory that may be used: memory of node {memory}"
    if share.shared:
        reason += "; fewer cores than ranks, so ranks share them"
    return RankPin(
        label=unit.label,
        gpu_node=gpu_node,
        node=home,
        cpus=format_cpu_list(share.cpus),
        mems="" if memory is None else str(memory),
        shared=share.shared,
        reason=reason,
    )


def _find_reason_not_to(machine: Machine, layout: _Layout, ranks: Sequence[RankPin], *, several: bool) -> str:
    if machine.platform.get("named"):
        return "not pinned: the CPUs of a named platform are not known; plan on the host, or from its bundle"
    if not machine.numa:
        return "not pinned: the machine's NUMA nodes are not known"
    unknown = [rank for rank in ranks if rank.node is None]
    if unknown:
        return f"not pinned: {'; '.join(rank.reason for rank in unknown)}"
    reserved = len(layout.allowed) < len(_read_list(machine.cpu.allowed))
    with_cpus = [node for node in machine.numa if node.cpus]
    if len(with_cpus) == 1 and len(layout.with_memory) <= 1 and not several and not reserved:
        return "not pinned: the machine has one NUMA node"
    return ""


def _leave_unbound(process: Process, layout: _Layout, ranks: Sequence[RankPin], reason: str) -> Pinning:
    return Pinning(
        process=process.index,
        bound=False,
        cpus=format_cpu_list(layout.allowed),
        nodes=(),
        mems="",
        memory_policy="none",
        whole_nodes=False,
        ranks=tuple(ranks),
        reasons=(reason,),
    )


def _choose_policy(layout: _Layout, mems: Sequence[int], host_bytes: int | None) -> tuple[Policy, str]:
    """What to do about memory. A bound process that runs out on its nodes is killed, so it must fit."""
    if not mems:
        return "none", "memory not bound: no node with memory may be used"
    names = f"node{'s' * (len(mems) != 1)} {format_cpu_list(list(mems))}"
    sizes = [layout.nodes[node].memory_bytes for node in mems]
    room = sum(size for size in sizes if size)
    if host_bytes is not None and room and host_bytes > room:
        short = f"{format_bytes(host_bytes)} are needed on the host, {names} has {format_bytes(room)}"
        if len(mems) == 1:
            return "preferred", f"memory from {names} as far as it goes: {short}"
        return "none", f"memory not bound: {short}"
    return "bind", f"memory from {names}"


def _explain_cpus(process: Process, nodes: Sequence[int], cpus: Sequence[int], threads: Threads) -> str:
    where = f"node{'s' * (len(nodes) != 1)} {format_cpu_list(list(nodes))}"
    kind = "one thread of each core" if threads == "cores" else "all threads"
    return f"CPUs {format_cpu_list(list(cpus))}: {kind} of {where}, near {', '.join(process.labels)}"


def _note(machine: Machine, ranks: Sequence[RankPin], nodes: Sequence[int], cpus: Sequence[int]) -> Iterable[str]:
    if len(nodes) > 1:
        yield (
            f"the launch spans nodes {format_cpu_list(list(nodes))}: its workers share their CPUs, and none is bound "
            "to its own node, unless the engine does that itself"
        )
    for rank in ranks:
        if rank.gpu_node != rank.node or rank.shared or (rank.mems and rank.mems != str(rank.node)):
            yield rank.reason
    limit = machine.cpu.cgroup_cpu_limit
    if limit is not None and limit < len(cpus):
        yield f"the cgroup allows {limit:g} CPUs' time; {len(cpus)} are bound"
