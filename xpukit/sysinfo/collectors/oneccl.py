"""oneCCL and MPI: versions, build information, copies."""

from __future__ import annotations

from xpukit.facts.sysinfo import load_inquiry
from xpukit.sysinfo.collector import Asker, Collector
from xpukit.sysinfo.inquire import ask_listed, expand

_NAME = "oneccl"


def collect(asker: Asker) -> None:
    ask_listed(asker, _NAME)
    inquiry = load_inquiry(_NAME)
    for root in asker.env("CCL_ROOT").values():
        asker.list(f"{root}/lib")
        asker.read(f"{root}/include/oneapi/ccl/config.h", limit_bytes=32 << 10)
    for path in inquiry.words("mpirun"):
        if not asker.stat(path).error:
            asker.run(path, "-V", timeout_s=10, typical_bytes=200)
    for path in expand(asker, inquiry.words("ldd")):
        if not asker.stat(path).error:
            asker.run("ldd", path, timeout_s=5, typical_bytes=1500)


COLLECTOR = Collector(
    name=_NAME,
    summary="oneCCL and MPI: versions, build date, libraries and providers",
    preset="default",
    collect=collect,
    timeout_s=40,
    order=450,
)
