"""Memory of the machine, of a container and of processes, and what the GPUs say."""

from __future__ import annotations

import json
from collections.abc import Sequence

from xpukit.core.json_document import BAD_JSON
from xpukit.host.door import Host
from xpukit.operate.exporter.collect import Exporter

_DOCKER_TIMEOUT_S = 20.0
_CGROUPS = "/sys/fs/cgroup"
# Of `memory.stat`: memory that is no file's, in both versions of cgroups.
_ANONYMOUS = {"anon": 1, "total_rss": 1}
_GPU = {"hw_gpu_memory_usage_bytes": "gpu_memory_bytes", "hw_gpu_resets_total": "gpu_resets"}


def read_host_memory(host: Host) -> dict[str, float]:
    """Available and total main memory."""
    memory = host.memory()
    if memory.error or not memory.total_bytes:
        return {}
    return {"host_available_bytes": memory.available_bytes, "host_total_bytes": memory.total_bytes}


def find_cgroup(host: Host, container: str) -> str:
    """The directory with `memory.stat` of a running Docker container, "" where there is none to be seen."""
    ran = host.run(["docker", "inspect", container], timeout_s=_DOCKER_TIMEOUT_S)
    try:
        pid = json.loads(ran.text)[0]["State"]["Pid"]
    except (LookupError, TypeError, *BAD_JSON):
        return ""
    if not isinstance(pid, int) or pid < 1:
        return ""
    for line in host.read(f"/proc/{pid}/cgroup").text.splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        place = ""
        if number == "0" and not controllers:
            place = f"{_CGROUPS}{path}"
        elif "memory" in controllers.split(","):
            place = f"{_CGROUPS}/memory{path}"
        if place and host.exists(f"{place}/memory.stat"):
            return place
    return ""


def read_container(host: Host, cgroup: str) -> dict[str, float]:
    """Anonymous memory of a cgroup."""
    if not cgroup:
        return {}
    for line in host.read(f"{cgroup}/memory.stat").text.splitlines():
        name, _, value = line.partition(" ")
        if name in _ANONYMOUS and value.strip().isdecimal():
            return {"container_bytes": float(value)}
    return {}


def read_processes(host: Host, root: int) -> dict[str, float]:
    """Resident memory of a process and all that descend from it or share its session."""
    parents: dict[int, tuple[int, int, float]] = {}
    for name in host.list("/proc").names:
        if not name.isdecimal():
            continue
        # "1234 (name with blanks) S parent group session ... rss": the name may hold brackets too.
        fields = host.read(f"/proc/{name}/stat").text.rpartition(")")[2].split()
        if len(fields) > 21 and fields[1].isdecimal() and fields[3].isdecimal() and fields[21].lstrip("-").isdecimal():
            parents[int(name)] = (int(fields[1]), int(fields[3]), float(fields[21]))
    if root not in parents:
        return {}
    wanted = {root} | {pid for pid, (_, group, _) in parents.items() if group == root}
    while more := {pid for pid, (parent, _, _) in parents.items() if parent in wanted} - wanted:
        wanted |= more
    page_bytes = _read_page_bytes(host)
    return {"processes_bytes": sum(parents[pid][2] for pid in wanted) * page_bytes}


def _read_page_bytes(host: Host) -> int:
    """From what the kernel says of us in pages and in kB; 4096 where it does not."""
    for line in host.read("/proc/self/smaps", limit_bytes=4096).text.splitlines():
        name, _, value = line.partition(":")
        if name == "KernelPageSize" and value.split()[:1] and value.split()[0].isdecimal():
            return int(value.split()[0]) * 1024
    return 4096


def read_gpus(exporter: Exporter) -> dict[str, float]:
    """Memory in use and resets by GPU; empty where no source says them."""
    readings: dict[str, float] = {}
    for sample in exporter.collect():
        name = _GPU.get(sample.name)
        place = dict(sample.labels).get("hw_id", "")
        if name and place:
            readings.setdefault(f"{name} {place}", sample.value)
    return readings


def join_highest(samples: Sequence[dict[str, float]]) -> dict[str, float]:
    """The highest of each reading."""
    found: dict[str, float] = {}
    for sample in samples:
        for name, value in sample.items():
            found[name] = max(value, found.get(name, value))
    return found
