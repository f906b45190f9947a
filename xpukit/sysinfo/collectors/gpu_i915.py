"""sysfs of GPUs under i915: clocks, throttle reasons, memory, engines, sensors."""

from __future__ import annotations

from xpukit.facts.sysinfo import load_inquiry
from xpukit.sysinfo.collector import Asker, Collector
from xpukit.sysinfo.gpu_places import find_gpus
from xpukit.sysinfo.inquire import expand

_NAME = "gpu_i915"
_VALUE_BYTES = 4096


def collect(asker: Asker) -> None:
    inquiry = load_inquiry(_NAME)
    for gpu in find_gpus(asker):
        if gpu.driver != "i915":
            continue
        patterns = [f"{gpu.sys_path}/{name}" for name in inquiry.words("device_files")]
        patterns += [f"{card}/{name}" for card in gpu.card_paths for name in inquiry.words("card_files")]
        for path in expand(asker, tuple(patterns)):
            asker.read(path, limit_bytes=_VALUE_BYTES)


COLLECTOR = Collector(
    name=_NAME,
    summary="GPUs under i915: clocks, throttle reasons, memory, engines, sensors",
    preset="minimal",
    collect=collect,
    timeout_s=30,
    root_adds="values that only root may read, as power limits on some kernels",
    order=110,
)
