"""Firmware files of the GPUs: which are there, with size and checksum, and which the drivers ask for."""

from __future__ import annotations

from xpukit.facts.sysinfo import load_inquiry
from xpukit.sysinfo.collector import Asker, Collector
from xpukit.sysinfo.inquire import ask_listed

_NAME = "firmware"
_ROOT = "/lib/firmware"


def collect(asker: Asker) -> None:
    ask_listed(asker, _NAME)
    inquiry = load_inquiry(_NAME)
    listed = {path: asker.list(path).names for path in inquiry.words("directories")}
    there = [path for path, names in listed.items() if names]
    if not there:
        asker.note(f"no firmware of Intel GPUs below {_ROOT}")
        return
    asker.run("ls", "-laL", "--time-style=long-iso", *there, timeout_s=5, typical_bytes=15000)
    wanted = [
        name
        for driver in ("xe", "i915")
        for name in asker.run("modinfo", "-F", "firmware", driver, timeout_s=5, typical_bytes=1000).text.split()
    ]
    files = [f"{_ROOT}/xe/{name}" for name in listed.get(f"{_ROOT}/xe", ()) if name.endswith((".bin", ".zst", ".xz"))]
    for name in wanted:
        folder, _, last = f"{_ROOT}/{name}".rpartition("/")
        files += [f"{folder}/{last}{end}" for end in inquiry.words("suffixes") if last + end in listed.get(folder, ())]
    files = list(dict.fromkeys(files))
    if files:
        asker.run("sha256sum", *files, timeout_s=15, typical_bytes=110 * len(files))


COLLECTOR = Collector(
    name=_NAME,
    summary="firmware files of xe, i915 and the NPU with sizes and SHA-256, and what the drivers ask for",
    preset="default",
    collect=collect,
    timeout_s=30,
    order=290,
)
