"""Processes that have a GPU open, with what the driver says each of them uses."""

from __future__ import annotations

import re

from xpukit.facts.sysinfo import load_inquiry
from xpukit.sysinfo.collector import Asker, Collector
from xpukit.sysinfo.inquire import expand

_NAME = "gpu_processes"
_OPEN_FILE = re.compile(r"^/proc/(\d+)/fd/(\d+)$", re.MULTILINE)
# Of each process; one DRM client's numbers are the same in all its files.
_MOST_FILES = 8


def collect(asker: Asker) -> None:
    inquiry = load_inquiry(_NAME)
    nodes = expand(asker, inquiry.words("node_globs"))
    if nodes and asker.which("fuser").value:
        asker.run("fuser", "-v", *nodes, timeout_s=10, typical_bytes=300)
    ran = asker.run(*inquiry.words("finder"), timeout_s=15, limit_bytes=32 << 10, typical_bytes=300)
    open_files = group_open_files(ran.text)
    most = int(inquiry.words("most_processes")[0])
    if len(open_files) > most:
        asker.note(f"{most} of {len(open_files)} processes that have a GPU open")
    for pid, descriptors in list(open_files.items())[:most]:
        for name in inquiry.words("process_files"):
            asker.read(f"/proc/{pid}/{name}", limit_bytes=16 << 10)
        for descriptor in descriptors[:_MOST_FILES]:
            asker.read(f"/proc/{pid}/fdinfo/{descriptor}", limit_bytes=16 << 10)
    if not open_files and not ran.failure:
        asker.note("no process that this user may look into has a GPU open")


def group_open_files(text: str) -> dict[str, list[str]]:
    """Descriptors by process, from lines like /proc/12/fd/7, in their order."""
    found: dict[str, list[str]] = {}
    for pid, descriptor in _OPEN_FILE.findall(text):
        found.setdefault(pid, []).append(descriptor)
    return found


COLLECTOR = Collector(
    name=_NAME,
    summary="processes that have a GPU open: command line, limits, memory and engine time by the driver",
    preset="default",
    collect=collect,
    timeout_s=40,
    root_adds="processes of other users and of containers",
    order=520,
)
