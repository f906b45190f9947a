"""Where Intel GPUs are in sysfs: their functions, all bridges above them, their card directories.

Asked anew by each collector that needs it: an answer already recorded costs nothing.
"""

from __future__ import annotations

import re

import msgspec

from xpukit.facts.devices import INTEL
from xpukit.sysinfo.collector import Asker

PCI_DEVICES = "/sys/bus/pci/devices"
DRM_CLASS = "/sys/class/drm"
# VGA, 3D and other display controllers, processing accelerators (PCI Code and ID Assignment Specification).
_GPU_CLASSES = ("300", "302", "380", "1200")
_BDF = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")


class Gpu(msgspec.Struct, frozen=True, kw_only=True):
    """One Intel function of a display or accelerator class. `above`: bridges, from the root port down."""

    bdf: str
    sys_path: str
    driver: str = ""
    above: tuple[str, ...] = ()
    cards: tuple[str, ...] = ()

    @property
    def card_paths(self) -> tuple[str, ...]:
        """Its `cardN` directories below /sys/class/drm."""
        return tuple(f"{DRM_CLASS}/{name}" for name in self.cards)


def find_gpus(asker: Asker) -> tuple[Gpu, ...]:
    """All Intel GPUs and accelerators, bound to a driver or not, sorted by BDF."""
    found = []
    for bdf in asker.list(PCI_DEVICES).names:
        if not _BDF.fullmatch(bdf):
            continue
        lines = asker.read(f"{PCI_DEVICES}/{bdf}/uevent", limit_bytes=4096).text.splitlines()
        values = dict(line.split("=", 1) for line in lines if "=" in line)
        vendor = values.get("PCI_ID", "").lower().partition(":")[0]
        if vendor == INTEL and values.get("PCI_CLASS", "")[:-2].upper() in _GPU_CLASSES:
            found.append(_describe(asker, bdf, values.get("DRIVER", "")))
    return tuple(found)


def _describe(asker: Asker, bdf: str, driver: str) -> Gpu:
    real = asker.resolve(f"{PCI_DEVICES}/{bdf}").target
    below = asker.list(f"{PCI_DEVICES}/{bdf}/drm").names
    return Gpu(
        bdf=bdf,
        sys_path=real or f"{PCI_DEVICES}/{bdf}",
        driver=driver,
        above=tuple(part for part in _BDF.findall(real) if part != bdf),
        cards=tuple(name for name in below if re.fullmatch(r"card\d+", name)),
    )


def list_chain(gpus: tuple[Gpu, ...]) -> dict[str, str]:
    """Directory by BDF of the GPUs and of every bridge above one, each once, parents first.

    Resolved paths, which are also what probe asks by: an answer is recorded once.
    """
    chain: dict[str, str] = {}
    for gpu in gpus:
        for bdf in gpu.above:
            chain.setdefault(bdf, gpu.sys_path[: gpu.sys_path.index(f"/{bdf}/") + len(bdf) + 1])
        chain.setdefault(gpu.bdf, gpu.sys_path)
    return chain
