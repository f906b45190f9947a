"""DRM nodes: which there are, whose they are, who may open them."""

from __future__ import annotations

from xpukit.facts.sysinfo import load_inquiry
from xpukit.sysinfo.collector import Asker, Collector
from xpukit.sysinfo.inquire import ask_listed, expand

_NAME = "drm"


def collect(asker: Asker) -> None:
    ask_listed(asker, _NAME)
    nodes = expand(asker, load_inquiry(_NAME).words("node_globs"))
    if not nodes:
        asker.note("no DRM node below /dev/dri")
    elif asker.which("getfacl").value:
        asker.run("getfacl", "-p", *nodes, timeout_s=5, typical_bytes=150 * len(nodes))


COLLECTOR = Collector(
    name=_NAME,
    summary="/dev/dri nodes, by-path links, owners and access lists, udev rules",
    preset="minimal",
    collect=collect,
    timeout_s=15,
    order=90,
)
