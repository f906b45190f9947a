"""How torch was built. Importing it can hang or take long, so it is in `full` only and has a short time."""

from __future__ import annotations

from xpukit.facts.sysinfo import load_inquiry
from xpukit.sysinfo.collector import GPU_LANE, Asker, Collector
from xpukit.sysinfo.python_places import list_interpreters, list_site_packages

_NAME = "torch"


def collect(asker: Asker) -> None:
    (code,) = load_inquiry(_NAME).words("code")
    for interpreter in list_interpreters(asker):
        places = list_site_packages(asker, interpreter)
        if any(not asker.stat(f"{place}/torch").error for place in places):
            asker.run(interpreter, "-I", "-c", code, timeout_s=30, limit_bytes=32 << 10, typical_bytes=2000)


COLLECTOR = Collector(
    name=_NAME,
    summary="how torch was built, in each environment that has it (imports torch, opens no device)",
    preset="full",
    collect=collect,
    timeout_s=70,
    order=810,
    lane=GPU_LANE,
)
