"""Under which conditions a run measures: clocks, load, memory, other users of the device."""

from __future__ import annotations

from typing import Any

from xpukit.core.units import parse_cpu_list
from xpukit.host import Host

_CPUFREQ = "/sys/devices/system/cpu/cpu{cpu}/cpufreq/{name}"


def read_host_conditions(host: Host) -> dict[str, Any]:
    """Load averages, available memory, governors and clocks of the CPUs, and the busiest other processes' names."""
    load = host.read("/proc/loadavg").text.split()
    online = host.read("/sys/devices/system/cpu/online").text
    try:
        cpus = parse_cpu_list(online)
    except ValueError:
        cpus = ()
    governors = {
        governor for cpu in cpus if (governor := host.read(_CPUFREQ.format(cpu=cpu, name="scaling_governor")).text)
    }
    clocks_mhz = [
        int(text) / 1000
        for cpu in cpus
        if (text := host.read(_CPUFREQ.format(cpu=cpu, name="scaling_cur_freq")).text).isdigit()
    ]
    return {
        "load_average": [float(value) for value in load[:3] if value.replace(".", "", 1).isdigit()],
        "memory_available_bytes": host.memory().available_bytes,
        "cpu_governors": sorted(governors),
        "cpu_clock_mhz": {"min": min(clocks_mhz), "max": max(clocks_mhz)} if clocks_mhz else None,
    }
