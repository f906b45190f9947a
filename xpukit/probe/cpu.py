"""Processors: sockets, cores and their threads, caches, clock policy, and which of them this process may use."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from xpukit.core.machine import CpuCache, CpuLayout, Device, NumaNode, Unread
from xpukit.core.units import format_cpu_list
from xpukit.host.door import Host
from xpukit.probe.allowance import parse_cpus, read_allowance
from xpukit.probe.question import Question, describe_unread

CPU_ROOT = "/sys/devices/system/cpu"
# The first processor's block is enough; the whole file grows to megabytes.
_CPUINFO_LIMIT_BYTES = 1 << 14
_MODEL_KEYS = ("model name", "Model", "cpu", "Processor", "uarch")


def read_online(host: Host) -> tuple[tuple[int, ...] | None, Unread | None]:
    """Online CPUs, from `online`, else from the cpuN directories that do not say otherwise."""
    answer = host.read(f"{CPU_ROOT}/online")
    online = parse_cpus(answer.text)
    if online:
        return online, None
    names = host.list(CPU_ROOT).names
    numbers = [int(name[3:]) for name in names if name.startswith("cpu") and name[3:].isdecimal()]
    present = tuple(sorted(cpu for cpu in numbers if host.read(f"{CPU_ROOT}/cpu{cpu}/online").text != "0"))
    if present:
        return present, None
    return None, describe_unread(f"online CPUs ({CPU_ROOT}/online)", answer.error or "empty")


def read_offline(host: Host, online: tuple[int, ...] | None) -> tuple[int, ...]:
    """CPUs that are present but not online. (`offline` itself lists every number up to kernel_max.)"""
    present = parse_cpus(host.read(f"{CPU_ROOT}/present").text) or ()
    return tuple(cpu for cpu in present if cpu not in set(online or ()))


def group_by(host: Host, cpus: Iterable[int], names: tuple[str, ...]) -> tuple[tuple[int, ...], ...] | None:
    """CPUs in the groups that a topology list file names, asking one CPU of each group.

    `names` are the file's name now and in older kernels. None if the first CPU has neither.
    """
    known = tuple(cpus)
    groups: list[tuple[int, ...]] = []
    seen: set[int] = set()
    name = ""
    for cpu in known:
        if cpu in seen:
            continue
        said: tuple[int, ...] | None = None
        for candidate in (name,) if name else names:
            said = parse_cpus(host.read(f"{CPU_ROOT}/cpu{cpu}/topology/{candidate}").text)
            if said:
                name = candidate
                break
        if not said and not groups:
            return None
        group = tuple(sorted((set(said or ()) & set(known) | {cpu}) - seen))
        groups.append(group)
        seen.update(group)
    return tuple(groups)


def read_packages(host: Host, online: Iterable[int]) -> dict[int, tuple[int, ...]] | None:
    """{physical package id: CPUs}; ids that are missing or repeated are replaced by the position."""
    groups = group_by(host, online, ("package_cpus_list", "core_siblings_list"))
    if groups is None:
        return None
    packages: dict[int, tuple[int, ...]] = {}
    for position, group in enumerate(groups):
        text = host.read(f"{CPU_ROOT}/cpu{group[0]}/topology/physical_package_id").text
        wanted = int(text) if text.isdecimal() else position
        packages[wanted if wanted not in packages else max(packages) + 1] = group
    return packages


def assign_sockets(
    nodes: tuple[NumaNode, ...], packages: Mapping[int, tuple[int, ...]] | None
) -> dict[int, int | None]:
    """{node: physical package}: by its CPUs, or for a node without CPUs that of the nearest node with CPUs.

    None where it spans several packages or two are equally near.
    """
    package_of = {cpu: package for package, cpus in (packages or {}).items() for cpu in cpus}
    sockets: dict[int, int | None] = {}
    for node in nodes:
        found = {package_of[cpu] for cpu in parse_cpus(node.cpus) or () if cpu in package_of}
        sockets[node.node] = found.pop() if len(found) == 1 else None
    by_cpus = dict(sockets)
    for node in nodes:
        if node.cpus or len(node.distances) != len(nodes):
            continue
        near = [(far, by_cpus[n.node]) for n, far in zip(nodes, node.distances, strict=True) if n.cpus]
        least = min((far for far, _ in near), default=None)
        nearest = {socket for far, socket in near if far == least}
        sockets[node.node] = nearest.pop() if len(nearest) == 1 else None
    return sockets


def detect_sub_numa(nodes: tuple[NumaNode, ...], packages: Mapping[int, tuple[int, ...]] | None) -> bool | None:
    """Whether a physical package holds several nodes with CPUs (sub-NUMA clustering, NPS > 1)."""
    if not packages or not nodes:
        return None
    sockets = assign_sockets(nodes, packages)
    counts = Counter(sockets[node.node] for node in nodes if node.cpus and sockets[node.node] is not None)
    return any(count > 1 for count in counts.values())


def parse_size(text: str) -> int | None:
    """'48K', '2048K', '105M' in bytes."""
    unit = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}.get(text[-1:].upper())
    digits = text[:-1] if unit else text
    return int(digits) * (unit or 1) if digits.isdecimal() else None


def read_caches(host: Host, online: tuple[int, ...]) -> tuple[CpuCache, ...]:
    """The caches of the first online CPU; the last level's instances are counted over the machine."""
    if not online:
        return ()
    first = f"{CPU_ROOT}/cpu{online[0]}/cache"
    found: list[tuple[CpuCache, str]] = []
    for name in host.list(first).names:
        if not name.startswith("index"):
            continue
        level, size = host.read(f"{first}/{name}/level").text, parse_size(host.read(f"{first}/{name}/size").text)
        if not level.isdecimal() or not size:
            continue
        line = host.read(f"{first}/{name}/coherency_line_size").text
        cache = CpuCache(
            level=int(level),
            kind=host.read(f"{first}/{name}/type").text.lower(),
            size_bytes=size,
            line_bytes=int(line) if line.isdecimal() else None,
            shared_cpus=host.read(f"{first}/{name}/shared_cpu_list").text,
        )
        found.append((cache, name))
    found.sort(key=lambda entry: (entry[0].level, entry[0].kind))
    if not found:
        return ()
    last, index = found[-1]
    counted = CpuCache(
        level=last.level,
        kind=last.kind,
        size_bytes=last.size_bytes,
        line_bytes=last.line_bytes,
        shared_cpus=last.shared_cpus,
        instances=_count_caches(host, online, index),
    )
    return (*(cache for cache, _ in found[:-1]), counted)


def _count_caches(host: Host, online: tuple[int, ...], index: str) -> int:
    seen: set[int] = set()
    count = 0
    for cpu in online:
        if cpu not in seen:
            shared = parse_cpus(host.read(f"{CPU_ROOT}/cpu{cpu}/cache/{index}/shared_cpu_list").text) or ()
            seen.update((*shared, cpu))
            count += 1
    return count


def read_model(host: Host) -> tuple[str, Unread | None]:
    """The processor's name from /proc/cpuinfo."""
    answer = host.read("/proc/cpuinfo", limit_bytes=_CPUINFO_LIMIT_BYTES)
    fields: dict[str, str] = {}
    for line in answer.text.splitlines():
        key, colon, value = line.partition(":")
        if colon:
            fields.setdefault(key.strip(), " ".join(value.split()))
    model = next((fields[key] for key in _MODEL_KEYS if fields.get(key)), "")
    if model:
        return model, None
    return "", describe_unread("CPU model (/proc/cpuinfo)", answer.error or "it names none")


def describe_mix(values: Iterable[str]) -> str:
    """'performance', or 'performance (200), powersave (8)' where they differ; the commonest first."""
    counts = Counter(value for value in values if value)
    if len(counts) < 2:
        return next(iter(counts), "")
    ordered = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
    return ", ".join(f"{value} ({count})" for value, count in ordered)


def _read_clock_policy(host: Host) -> dict[str, str]:
    """Governor, its driver and the energy preference over all frequency policies; empty texts without cpufreq."""
    root = f"{CPU_ROOT}/cpufreq"
    policies = [name for name in host.list(root).names if name.startswith("policy")]
    policies.sort(key=lambda name: (len(name), name))
    fields = {"governor": "scaling_governor", "energy_preference": "energy_performance_preference"}
    found = {
        key: describe_mix(host.read(f"{root}/{policy}/{file}").text for policy in policies)
        for key, file in fields.items()
    }
    driver = host.read(f"{root}/{policies[0]}/scaling_driver").text if policies else ""
    return {**found, "frequency_driver": driver}


def read_cpu(host: Host, nodes: tuple[NumaNode, ...]) -> tuple[CpuLayout, tuple[Unread, ...]]:
    """The processors' layout. `nodes` are the machine's NUMA nodes, as `probe.numa` read them."""
    online, no_online = read_online(host)
    model, no_model = read_model(host)
    offline = read_offline(host, online)
    packages = read_packages(host, online) if online else None
    cores = group_by(host, online, ("core_cpus_list", "thread_siblings_list")) if online else None
    unread = [row for row in (no_online, no_model) if row is not None]
    if online and (packages is None or cores is None):
        unread.append(Unread(what=f"sockets and cores ({CPU_ROOT}/cpu*/topology)", why="not there"))
    numbers = tuple(node.node for node in nodes)
    allowance = read_allowance(host, online, numbers or None)
    caches = read_caches(host, online or ())
    last = caches[-1] if caches else None
    bias = host.read(f"{CPU_ROOT}/cpu{online[0]}/power/energy_perf_bias").text if online else ""
    layout = CpuLayout(
        model=model,
        online=format_cpu_list(online or ()),
        offline=format_cpu_list(offline),
        allowed=format_cpu_list(allowance.cpus or ()),
        allowed_mems=format_cpu_list(allowance.memory_nodes or ()),
        cgroup_cpu_limit=allowance.cpu_limit,
        cgroup_memory_limit_bytes=allowance.memory_limit_bytes,
        limits=allowance.limits,
        sockets=len(packages) if packages is not None else None,
        cores=len(cores) if cores is not None else None,
        threads_per_core=max(map(len, cores)) if cores else None,
        siblings=tuple(format_cpu_list(core) for core in cores or ()),
        sub_numa=detect_sub_numa(nodes, packages),
        **_read_clock_policy(host),
        energy_bias=int(bias) if bias.isdecimal() else None,
        caches=caches,
        last_level_cache_bytes=last.size_bytes * last.instances if last and last.instances else None,
    )
    return layout, (*unread, *allowance.unread)


def _read_machine(host: Host, devices: tuple[Device, ...], so_far: Mapping[str, Any]) -> dict[str, Any]:
    nodes = tuple(node for node in so_far.get("numa", ()) if isinstance(node, NumaNode))
    layout, unread = read_cpu(host, nodes)
    return {"cpu": layout, "unread": unread}


QUESTION = Question(
    name="cpu",
    scope="machine",
    order=20,
    summary="processors, sockets, cores and threads, caches, governor, and what this process may use",
    read_machine=_read_machine,
)
