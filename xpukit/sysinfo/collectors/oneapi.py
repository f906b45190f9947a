"""oneAPI: components, versions, and which of them is current."""

from __future__ import annotations

from xpukit.sysinfo.collector import Asker, Collector
from xpukit.sysinfo.inquire import ask_listed

_NAME = "oneapi"


def collect(asker: Asker) -> None:
    for root in asker.env("ONEAPI_ROOT").values():
        if root.startswith("/") and root.rstrip("/") != "/opt/intel/oneapi":
            for name in asker.list(root).names:
                asker.list(f"{root.rstrip('/')}/{name}")
    ask_listed(asker, _NAME)


COLLECTOR = Collector(
    name=_NAME,
    summary="oneAPI components with all versions, the current ones, setvars.sh, the offline installer's version",
    preset="default",
    collect=collect,
    timeout_s=20,
    order=440,
)
