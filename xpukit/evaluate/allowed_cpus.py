"""How many processors a run may use."""

from __future__ import annotations

import re

from xpukit.core.units import parse_cpu_list
from xpukit.evaluate.benchmark import Scope


def count_allowed_cpus(scope: Scope) -> int:
    """Processors that this process may run on, by the nodes of the scope, else as the kernel says; 1 when unknown."""
    cpus = {cpu for _, text in scope.numa_nodes for cpu in parse_cpu_list(text)}
    if not cpus:
        found = re.search(r"^Cpus_allowed_list:\s*(\S+)", scope.host.read("/proc/self/status").text, re.MULTILINE)
        cpus = set(parse_cpu_list(found.group(1))) if found else set()
    return max(1, len(cpus))
