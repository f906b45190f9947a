"""How large the machine's last-level caches are together: what a memory benchmark must exceed."""

from __future__ import annotations

import re

from xpukit.core.units import parse_cpu_list
from xpukit.host import Host

_CPUS = "/sys/devices/system/cpu"
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def read_last_level_cache(host: Host) -> int | None:
    """Bytes of all last-level caches of the online CPUs (each shared cache once); None when sysfs does not say."""
    online = host.read(f"{_CPUS}/online")
    try:
        cpus = parse_cpu_list(online.text)
    except ValueError:
        return None
    total = 0
    counted: set[int] = set()
    for cpu in cpus:
        if cpu in counted:
            continue
        found = _read_last_cache(host, cpu)
        if found is None:
            return None
        size_bytes, sharing = found
        counted.update(sharing)
        total += size_bytes
    return total or None


def _read_last_cache(host: Host, cpu: int) -> tuple[int, tuple[int, ...]] | None:
    """Size of a CPU's highest cache and the CPUs that share it."""
    folder = f"{_CPUS}/cpu{cpu}/cache"
    indices = [name for name in host.list(folder).names if re.fullmatch(r"index\d+", name)]
    levels = [(host.read(f"{folder}/{name}/level").text, name) for name in indices]
    if not levels:
        return None
    name = max(levels)[1]
    match = re.fullmatch(r"(\d+)([KMG]?)", host.read(f"{folder}/{name}/size").text)
    if match is None:
        return None
    try:
        sharing = parse_cpu_list(host.read(f"{folder}/{name}/shared_cpu_list").text)
    except ValueError:
        sharing = ()
    return int(match[1]) * _UNITS[match[2]], sharing or (cpu,)
