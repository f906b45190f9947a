"""The sysfs files of processors and NUMA nodes, written from a few numbers."""

from __future__ import annotations

from collections.abc import Sequence

from xpukit.core.units import format_cpu_list

CPU = "/sys/devices/system/cpu"
NODE = "/sys/devices/system/node"
STATUS = "/proc/self/status"


def write_nodes(nodes: dict[int, tuple[Sequence[int], int, Sequence[int]]]) -> dict[str, str]:
    """{node: (CPUs, memory in KiB, distances)} as /sys/devices/system/node."""
    numbers = tuple(nodes)
    files = {
        f"{NODE}/online": f"{format_cpu_list(numbers)}\n",
        f"{NODE}/possible": f"{format_cpu_list(numbers)}\n",
        f"{NODE}/has_cpu": f"{format_cpu_list([n for n in numbers if nodes[n][0]])}\n",
        f"{NODE}/has_memory": f"{format_cpu_list([n for n in numbers if nodes[n][1]])}\n",
    }
    for number, (cpus, memory_kib, distances) in nodes.items():
        files[f"{NODE}/node{number}/cpulist"] = f"{format_cpu_list(cpus)}\n"
        files[f"{NODE}/node{number}/distance"] = " ".join(map(str, distances)) + "\n"
        files[f"{NODE}/node{number}/meminfo"] = (
            f"Node {number} MemTotal:       {memory_kib} kB\n"
            f"Node {number} MemFree:        {memory_kib // 2} kB\n"
            f"Node {number} HugePages_Total:     0\n"
        )
    return files


def write_cpus(
    packages: dict[int, Sequence[int]], cores: Sequence[Sequence[int]], *, offline: Sequence[int] = ()
) -> dict[str, str]:
    """{package: CPUs} and the CPUs of each core as /sys/devices/system/cpu; offline ones have no topology."""
    online = sorted(cpu for cpus in packages.values() for cpu in cpus)
    files = {
        f"{CPU}/online": f"{format_cpu_list(online)}\n",
        f"{CPU}/present": f"{format_cpu_list([*online, *offline])}\n",
        f"{CPU}/possible": f"{format_cpu_list([*online, *offline])}\n",
        "/proc/cpuinfo": "processor\t: 0\nvendor_id\t: GenuineIntel\nmodel name\t: Intel(R) Xeon(R)  Made 9999\n",
    }
    for package, cpus in packages.items():
        for cpu in cpus:
            core = next(core for core in cores if cpu in core)
            at = f"{CPU}/cpu{cpu}/topology"
            files[f"{at}/physical_package_id"] = f"{package}\n"
            files[f"{at}/package_cpus_list"] = f"{format_cpu_list(list(cpus))}\n"
            files[f"{at}/core_cpus_list"] = f"{format_cpu_list(list(core))}\n"
    return files


def write_allowed(cpus: str, nodes: str) -> dict[str, str]:
    """The lines of /proc/self/status that say what this process may use."""
    return {STATUS: f"Name:\tpython3\nCpus_allowed:\tff\nCpus_allowed_list:\t{cpus}\nMems_allowed_list:\t{nodes}\n"}


def write_aurora() -> dict[str, str]:
    """A node of Aurora (ALCF): two Xeon Max sockets with HBM in flat mode as memory-only nodes 2 and 3.

    Sizes and distances as `numactl -H` shows them in ALCF's user guide (docs/aurora/running-jobs-aurora.md).
    """
    first, second = [*range(52), *range(104, 156)], [*range(52, 104), *range(156, 208)]
    mib = 1024
    return {
        **write_nodes(
            {
                0: (first, 515524 * mib, (10, 21, 13, 23)),
                1: (second, 514994 * mib, (21, 10, 23, 13)),
                2: ((), 65536 * mib, (13, 23, 10, 23)),
                3: ((), 65536 * mib, (23, 13, 23, 10)),
            }
        ),
        **write_cpus({0: first, 1: second}, [(core, core + 104) for core in range(104)]),
        **write_allowed("0-207", "0-3"),
    }
