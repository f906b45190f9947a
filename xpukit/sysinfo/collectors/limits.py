"""What this process may use: ulimits and control group."""

from __future__ import annotations

import posixpath

from xpukit.facts.sysinfo import load_inquiry
from xpukit.sysinfo.collector import Asker, Collector
from xpukit.sysinfo.inquire import ask_listed

_NAME = "limits"
_CGROUP_ROOT = "/sys/fs/cgroup"


def collect(asker: Asker) -> None:
    ask_listed(asker, _NAME)
    inquiry = load_inquiry(_NAME)
    groups = find_cgroups(asker.read("/proc/self/cgroup", limit_bytes=32 << 10).text)
    for group in groups:
        for name in inquiry.words("cgroup_files"):
            asker.read(f"{group}/{name}", limit_bytes=4096)
    if not groups:
        for path in inquiry.words("cgroup_v1_files"):
            asker.read(path, limit_bytes=4096)


def find_cgroups(text: str) -> tuple[str, ...]:
    """The directory of our group under cgroup v2 and its parents, which may hold the limit; () under v1.

    The root itself is last: in a container with its own namespace it is our group.
    """
    for line in text.splitlines():
        if not line.startswith("0::/"):
            continue
        path = posixpath.normpath(line.removeprefix("0::"))
        found = []
        while path not in ("/", "") and ".." not in path:
            found.append(_CGROUP_ROOT + path)
            path = posixpath.dirname(path)
        return (*found, _CGROUP_ROOT)
    return ()


COLLECTOR = Collector(
    name=_NAME,
    summary="ulimits of this process, limits.conf, control group limits",
    preset="default",
    collect=collect,
    timeout_s=10,
    order=350,
)
