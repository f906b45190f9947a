"""The kernel log of the boot before, and copies that the system keeps in files."""

from __future__ import annotations

from xpukit.facts.sysinfo import load_inquiry
from xpukit.sysinfo.collector import Asker, Collector
from xpukit.sysinfo.inquire import ask_paths
from xpukit.sysinfo.kernel_journal import ask_journal, make_pattern

_DATA = "kernel_log_files"


def collect(asker: Asker) -> None:
    inquiry = load_inquiry(_DATA)
    ask_journal(asker, boot=-1)
    asker.run("journalctl", "--list-boots", "--no-pager", "-q", timeout_s=10, limit_bytes=16 << 10, typical_bytes=1000)
    files = [path for path in inquiry.words("files") if not asker.stat(path).error]
    if files:
        asker.run("grep", "-aiE", make_pattern(), *files, timeout_s=15, limit_bytes=512 << 10, typical_bytes=60000)
    for paths in inquiry.paths:
        ask_paths(asker, paths)


COLLECTOR = Collector(
    name="kernel_log_before",
    summary="kernel log of the boot before and the system's log files, only lines about the GPU stack",
    preset="default",
    collect=collect,
    timeout_s=50,
    root_adds="the logs, where this user is not in group adm or systemd-journal",
    order=280,
)
