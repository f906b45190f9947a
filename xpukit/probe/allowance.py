"""What this process may really use of a machine: CPU affinity, cpuset, CPU quota and memory limit of its cgroups."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator
from typing import NamedTuple

import msgspec

from xpukit.core.machine import Unread
from xpukit.core.units import format_bytes, format_cpu_list, parse_cpu_list
from xpukit.host.door import Host
from xpukit.probe.question import describe_unread

# cgroup v1 says "no memory limit" with the largest multiple of a page; no machine comes near this.
_NO_LIMIT_BYTES = 1 << 60


class Allowance(msgspec.Struct, frozen=True, kw_only=True):
    """CPUs and memory nodes this process may use (None: could not be told), its quota in CPUs, its memory limit.

    `limits` say in words what narrows each of them; "" sources do not exist: no limit, no line.
    """

    cpus: tuple[int, ...] | None = None
    memory_nodes: tuple[int, ...] | None = None
    cpu_limit: float | None = None
    memory_limit_bytes: int | None = None
    limits: tuple[str, ...] = ()
    unread: tuple[Unread, ...] = ()


class CgroupMount(NamedTuple):
    """A mounted cgroup hierarchy. `controllers` is empty for version 2, which has all of them."""

    version: int
    root: str
    point: str
    controllers: frozenset[str]


def parse_cpus(text: str) -> tuple[int, ...] | None:
    """A kernel CPU or node list, or None when it is not one."""
    try:
        return parse_cpu_list(text)
    except ValueError:
        return None


def parse_mounts(mountinfo: str) -> tuple[CgroupMount, ...]:
    """The cgroup mounts of a /proc/PID/mountinfo."""
    found = []
    for line in mountinfo.splitlines():
        before, dash, after = line.partition(" - ")
        place, kind = before.split(), after.split()
        if not dash or len(place) < 5 or not kind or kind[0] not in ("cgroup", "cgroup2"):
            continue
        options = kind[2].split(",") if len(kind) > 2 else []
        version = 2 if kind[0] == "cgroup2" else 1
        controllers = frozenset(options) if version == 1 else frozenset()
        found.append(CgroupMount(version, _unescape(place[3]), _unescape(place[4]), controllers))
    return tuple(found)


def parse_membership(text: str) -> dict[str, str]:
    """/proc/PID/cgroup as {controller: path}; "" is version 2's hierarchy."""
    paths: dict[str, str] = {}
    for line in text.splitlines():
        _, _, rest = line.partition(":")
        controllers, colon, path = rest.partition(":")
        if colon and path.startswith("/"):
            for name in controllers.split(","):
                paths.setdefault(name, path)
    return paths


def list_cgroup_dirs(
    mounts: tuple[CgroupMount, ...], membership: dict[str, str], controller: str
) -> tuple[int, tuple[str, ...]]:
    """(cgroup version, directories from this process's own cgroup up to the mount point) for a controller.

    A version 1 hierarchy that has the controller goes first: then version 2 cannot have it.
    """
    for mount in sorted(mounts, key=lambda mount: mount.version):
        if mount.version == 1 and controller not in mount.controllers:
            continue
        path = membership.get(controller if mount.version == 1 else "")
        if path is not None:
            return mount.version, tuple(_climb(mount, path))
    return 0, ()


def read_allowance(host: Host, online: tuple[int, ...] | None, nodes: tuple[int, ...] | None) -> Allowance:
    """Ask the kernel what this process may use. `online` CPUs and `nodes` of the machine bound the answer."""
    unread: list[Unread] = []
    limits: list[str] = []
    status = host.read("/proc/self/status")
    fields = _parse_status(status.text)
    if status.error:
        unread.append(describe_unread("CPU affinity (/proc/self/status)", status.error))
    cpus = _narrow(online, parse_cpus(fields.get("Cpus_allowed_list", "")), "affinity: CPUs", limits)
    memory_nodes = _narrow(nodes, parse_cpus(fields.get("Mems_allowed_list", "")), "affinity: nodes", limits)
    cpu_limit: float | None = None
    memory_limit: int | None = None
    texts = [host.read(path) for path in ("/proc/self/cgroup", "/proc/self/mountinfo")]
    for name, answer in zip(("cgroup", "mountinfo"), texts, strict=True):
        if answer.error:
            unread.append(describe_unread(f"cgroup limits (/proc/self/{name})", answer.error))
    membership, mounts = parse_membership(texts[0].text), parse_mounts(texts[1].text)

    version, dirs = list_cgroup_dirs(mounts, membership, "cpuset")
    names = ("cpuset.cpus.effective",) if version == 2 else ("cpuset.effective_cpus", "cpuset.cpus")
    place, said = _find_nearest(host, dirs, names)
    cpus = _narrow(cpus, parse_cpus(said), f"{place}: CPUs", limits)
    names = ("cpuset.mems.effective",) if version == 2 else ("cpuset.effective_mems", "cpuset.mems")
    place, said = _find_nearest(host, dirs, names)
    memory_nodes = _narrow(memory_nodes, parse_cpus(said), f"{place}: nodes", limits)

    version, dirs = list_cgroup_dirs(mounts, membership, "cpu")
    read_quota = _read_quota_v2 if version == 2 else _read_quota_v1
    found = _find_least(host, dirs, read_quota)
    if found is not None:
        cpu_limit = found[1]
        limits.append(f"{found[0]}: quota of {cpu_limit:g} CPUs")

    version, dirs = list_cgroup_dirs(mounts, membership, "memory")
    read_limit = _read_memory_v2 if version == 2 else _read_memory_v1
    found = _find_least(host, dirs, read_limit)
    if found is not None:
        memory_limit = int(found[1])
        limits.append(f"{found[0]}: memory limit of {format_bytes(memory_limit)}")
    return Allowance(
        cpus=cpus,
        memory_nodes=memory_nodes,
        cpu_limit=cpu_limit,
        memory_limit_bytes=memory_limit,
        limits=tuple(limits),
        unread=tuple(unread),
    )


def _unescape(text: str) -> str:
    """mountinfo writes white space and backslashes as octal."""
    for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, char)
    return text


def _climb(mount: CgroupMount, path: str) -> Iterator[str]:
    """Directories from `path` up to the mount point. A container may see its own cgroup mounted as the root
    (`mount.root`), or a path above its namespace ("/../.."): both leave the mount point itself."""
    if mount.root != "/":
        inside = path == mount.root or path.startswith(mount.root.rstrip("/") + "/")
        path = path[len(mount.root.rstrip("/")) :] if inside else "/"
    parts = [part for part in posixpath.normpath(path).split("/") if part and part != ".."]
    for count in range(len(parts), -1, -1):
        yield posixpath.join(mount.point, *parts[:count])


def _parse_status(text: str) -> dict[str, str]:
    pairs = (line.partition(":") for line in text.splitlines())
    return {key: value.strip() for key, _, value in pairs}


def _narrow(
    known: tuple[int, ...] | None, said: tuple[int, ...] | None, source: str, limits: list[str]
) -> tuple[int, ...] | None:
    """What both allow. An empty list says nothing (version 1 shows it before it is set up)."""
    if not said:
        return known
    if known is None:
        return said
    both = tuple(number for number in known if number in set(said))
    if not both:
        return known
    if both != known:
        limits.append(f"{source} {format_cpu_list(both)} of {format_cpu_list(known)}")
    return both


def _find_nearest(host: Host, dirs: tuple[str, ...], names: tuple[str, ...]) -> tuple[str, str]:
    """(path, content) of the first non-empty file in the nearest directory that has one; ("", "") if none."""
    for directory in dirs:
        for name in names:
            answer = host.read(f"{directory}/{name}")
            if answer.ok and answer.text:
                return f"{directory}/{name}", answer.text
    return "", ""


def _find_least(
    host: Host, dirs: tuple[str, ...], read_one: Callable[[Host, str], tuple[str, float] | None]
) -> tuple[str, float] | None:
    """The smallest (path, limit) on the way up: every ancestor's limit holds."""
    found = [limit for limit in (read_one(host, directory) for directory in dirs) if limit is not None]
    return min(found, key=lambda limit: limit[1], default=None)


def _read_quota_v2(host: Host, directory: str) -> tuple[str, float] | None:
    path = f"{directory}/cpu.max"
    words = host.read(path).text.split()
    return _divide(path, words[0], words[1]) if len(words) == 2 else None


def _read_quota_v1(host: Host, directory: str) -> tuple[str, float] | None:
    path = f"{directory}/cpu.cfs_quota_us"
    quota = host.read(path).text
    if not quota or quota.startswith("-"):
        return None
    return _divide(path, quota, host.read(f"{directory}/cpu.cfs_period_us").text)


def _divide(path: str, quota: str, period: str) -> tuple[str, float] | None:
    if not (quota.isdecimal() and period.isdecimal()) or int(period) == 0:
        return None
    return path, int(quota) / int(period)


def _read_memory_v2(host: Host, directory: str) -> tuple[str, float] | None:
    return _read_bytes(host, f"{directory}/memory.max")


def _read_memory_v1(host: Host, directory: str) -> tuple[str, float] | None:
    return _read_bytes(host, f"{directory}/memory.limit_in_bytes")


def _read_bytes(host: Host, path: str) -> tuple[str, float] | None:
    text = host.read(path).text
    if not text.isdecimal() or int(text) >= _NO_LIMIT_BYTES:
        return None
    return path, int(text)
