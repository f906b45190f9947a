"""A pinning as numactl, Docker, systemd and the engines themselves take it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

import msgspec

from xpukit.facts.parallelism import find_rules
from xpukit.serve.numa_pinning import Pinning


class EngineBinding(msgspec.Struct, frozen=True, kw_only=True):
    """The engine's own binding: no `arguments` where none fits; `note` says why, or what it needs."""

    arguments: tuple[str, ...] = ()
    note: str = ""


def format_numactl(pin: Pinning, *, style: Literal["cpus", "nodes"] = "cpus") -> tuple[str, ...]:
    """`numactl -C CPUS -m NODES`, to go before a command; () when nothing is bound.

    `style` "nodes" says `--cpunodebind=` where the CPUs are all of their nodes (their hyper-threads too, then).
    """
    if not pin.bound:
        return ()
    if style == "nodes" and pin.whole_nodes:
        cpus: tuple[str, ...] = (f"--cpunodebind={','.join(map(str, pin.nodes))}",)
        memory = {"bind": (f"--membind={pin.mems}",), "preferred": (f"--preferred={pin.mems}",), "none": ()}
    else:
        cpus = ("-C", pin.cpus)
        memory = {"bind": ("-m", pin.mems), "preferred": (f"--preferred={pin.mems}",), "none": ()}
    return ("numactl", *cpus, *memory[pin.memory_policy])


def format_docker(pin: Pinning) -> tuple[str, ...]:
    """Options of `docker run` (and podman). A preference for memory has none: only a binding is emitted."""
    if not pin.bound:
        return ()
    mems = (f"--cpuset-mems={pin.mems}",) if pin.memory_policy == "bind" else ()
    return (f"--cpuset-cpus={pin.cpus}", *mems)


def format_systemd(pin: Pinning) -> tuple[str, ...]:
    """Lines of a unit's [Service] section."""
    if not pin.bound:
        return ()
    lines = [f"CPUAffinity={pin.cpus}"]
    if pin.memory_policy != "none":
        lines += [f"NUMAPolicy={pin.memory_policy}", f"NUMAMask={pin.mems}"]
    return tuple(lines)


def format_engine(pin: Pinning, engine: str, flags: Collection[str]) -> EngineBinding:
    """Arguments with which the engine binds each of its workers itself. `flags`: what this version's schema knows.

    Not to be combined with `numactl` around the engine. Raises UsageError for an engine that we have no rules of.
    """
    rules = find_rules(engine)
    if not pin.bound:
        return EngineBinding(note="; ".join(pin.reasons))
    if not rules.numa_nodes_flag or rules.numa_nodes_flag not in flags:
        return EngineBinding(note=f"this {engine} has no NUMA binding of its own")
    nodes = [rank.node for rank in pin.ranks]
    if pin.memory_policy != "bind" or any(rank.mems != str(rank.node) for rank in pin.ranks):
        return EngineBinding(note=f"{engine} binds CPUs and memory to one node, which is not what is wanted here")
    arguments = [rules.numa_flag] if rules.numa_flag else []
    arguments += [rules.numa_nodes_flag, *(str(node) for node in nodes)]
    if rules.numa_cpus_flag and rules.numa_cpus_flag in flags:
        arguments += [rules.numa_cpus_flag, *(rank.cpus for rank in pin.ranks)]
    return EngineBinding(
        arguments=tuple(arguments),
        note=f"each worker is bound by {engine} itself" + (f" (needs {rules.numa_needs})" if rules.numa_needs else ""),
    )
