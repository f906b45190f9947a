"""More of xpu-smi, in the words of the generation that is installed. Never a test that loads a GPU."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from xpukit.core.json_document import BAD_JSON
from xpukit.facts.sysinfo import load_inquiry
from xpukit.sysinfo.collector import GPU_LANE, Asker, Collector

_NAME = "xpu_smi_details"
_PROGRAM = "xpu-smi"


def collect(asker: Asker) -> None:
    version = asker.run(_PROGRAM, "-v", timeout_s=10, typical_bytes=150)
    if version.failure == "not-found":
        asker.note("xpu-smi is not installed")
        return
    inquiry = load_inquiry(_NAME)
    generation = read_generation(version.text)
    asker.note(f"xpu-smi {generation}.x" if generation else "xpu-smi tells no version: asked as 1.x")
    once = inquiry.words("once") + (inquiry.words("once_v2") if generation >= 2 else ())
    for words in once:
        _ask(asker, words)
    devices = read_device_ids(asker.run(_PROGRAM, "discovery", "-j", timeout_s=20, typical_bytes=1500).out)
    if not devices:
        return
    each = inquiry.words("each") + (() if generation >= 2 else inquiry.words("each_v1"))
    for device in devices:
        for words in each:
            _ask(asker, words, device)
    for words in inquiry.words("dump_v2" if generation >= 2 else "dump_v1"):
        _ask(asker, words, ",".join(devices))


def _ask(asker: Asker, words: str, *more: str) -> None:
    asker.run(_PROGRAM, *words.split(), *more, timeout_s=15, limit_bytes=64 << 10, typical_bytes=1500)


def read_generation(text: str) -> int:
    """The first number of the version that `xpu-smi -v` says, 0 when it says none."""
    found = re.search(r"^\s*Version:\s*(\d+)\.", text, re.MULTILINE)
    return int(found[1]) if found else 0


def read_device_ids(out: bytes) -> tuple[str, ...]:
    """Numbers of the devices in the JSON of `xpu-smi discovery`; what is no such JSON has none."""
    try:
        document: Any = msgspec.json.decode(out[max(out.find(b"{"), 0) :])
    except BAD_JSON:
        return ()
    listed = document.get("device_list") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        return ()
    ids = (row.get("device_id") for row in listed if isinstance(row, dict))
    return tuple(str(number) for number in ids if isinstance(number, int))


COLLECTOR = Collector(
    name=_NAME,
    summary="xpu-smi: topology, health, processes, statistics, settings and one dump of metrics",
    preset="default",
    collect=collect,
    timeout_s=90,
    root_adds="metrics and engine use that the driver keeps from ordinary users",
    order=430,
    lane=GPU_LANE,
)
