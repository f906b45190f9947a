"""sysfs of GPUs under xe: clocks, throttle reasons, memory, firmware state, sensors."""

from __future__ import annotations

from xpukit.facts.sysinfo import load_inquiry
from xpukit.sysinfo.collector import Asker, Collector
from xpukit.sysinfo.gpu_places import find_gpus
from xpukit.sysinfo.inquire import ask_listed, expand

_NAME = "gpu_xe"
_VALUE_BYTES = 4096


def collect(asker: Asker) -> None:
    ask_listed(asker, _NAME)
    names = load_inquiry(_NAME).words("device_files")
    for gpu in find_gpus(asker):
        if gpu.driver != "xe":
            continue
        for path in expand(asker, tuple(f"{gpu.sys_path}/{name}" for name in names)):
            asker.read(path, limit_bytes=_VALUE_BYTES)


COLLECTOR = Collector(
    name=_NAME,
    summary="GPUs under xe: clocks, throttle reasons, memory, late-bound firmware, sensors",
    preset="minimal",
    collect=collect,
    timeout_s=30,
    root_adds="values that only root may read, as power limits on some kernels",
    order=100,
)
