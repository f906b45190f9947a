"""SYCL devices by sycl-ls, also where setvars.sh was not sourced."""

from __future__ import annotations

from xpukit.facts.sysinfo import load_inquiry
from xpukit.sysinfo.collector import GPU_LANE, Asker, Collector

_NAME = "sycl"


def collect(asker: Asker) -> None:
    inquiry = load_inquiry(_NAME)
    program = asker.which("sycl-ls").value
    env: dict[str, str] = {}
    if not program:
        program = next((path for path in inquiry.words("sycl_ls") if not asker.stat(path).error), "")
        env = {"LD_LIBRARY_PATH": ":".join(inquiry.words("library_path"))}
    if not program:
        asker.note("sycl-ls is not installed")
        return
    asker.run(program, timeout_s=15, env=env, typical_bytes=800)
    asker.run(program, "--verbose", timeout_s=15, env=env, typical_bytes=6000)


COLLECTOR = Collector(
    name=_NAME,
    summary="SYCL devices (sycl-ls, sycl-ls --verbose)",
    preset="minimal",
    collect=collect,
    timeout_s=35,
    order=150,
    lane=GPU_LANE,
)
