"""Where a device's debugfs directory is, which only root may read."""

from __future__ import annotations

from xpukit.core.machine import Unread
from xpukit.host.door import Host
from xpukit.probe.drm import find_nodes
from xpukit.probe.question import PciFunction, describe_unread

ROOT = "/sys/kernel/debug/dri"


def find_directory(host: Host, function: PciFunction) -> tuple[str, tuple[Unread, ...]]:
    """(directory, why there is none): named by BDF in newer kernels, by card number in all."""
    listing = host.list(ROOT)
    if listing.error:
        row = describe_unread(ROOT, listing.error)
        if listing.error == "ENOENT":
            row = Unread(what=ROOT, why="not there", remedy="mount -t debugfs none /sys/kernel/debug (as root)")
        return "", (row,)
    index = find_nodes(host, function).card_index
    for name in (function.bdf, str(index) if index is not None else ""):
        if name and name in listing.names:
            return f"{ROOT}/{name}", ()
    return "", (Unread(what=f"{ROOT}/{function.bdf}", why="not there", remedy=""),)
