"""GPUs that a plan can be made for without having them (data/platforms/gpus.toml)."""

from __future__ import annotations

import difflib
import re
from functools import cache
from typing import Literal

import msgspec

from xpukit.core.errors import UsageError
from xpukit.facts.tables import read_table

SCHEMA = "xpukit.platforms/1"


class PlatformGpu(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A GPU; the data file says what each field means. None: not known."""

    name: str
    full_name: str
    vendor: Literal["intel", "nvidia"]
    memory_mib: int
    source: str
    aliases: tuple[str, ...] = ()
    pci_id: str = ""
    memory_bandwidth_gbps: float | None = None
    fp16_tflops: float | None = None
    fp8_tflops: float | None = None
    pcie_speed_gts: float | None = None
    pcie_width: int | None = None
    tiles: int = 1
    fabric: str = ""
    fabric_gbps: float | None = None

    @property
    def memory_bytes(self) -> int:
        """Memory of a card, over all its tiles."""
        return self.memory_mib << 20


class Layout(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How GPUs are spread over sockets from so many GPUs on."""

    name: str
    from_gpus: int
    sockets: int
    source: str


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    schema: str
    date: str
    gpu: tuple[PlatformGpu, ...]
    layout: tuple[Layout, ...]


@cache
def _load() -> _File:
    return read_table("platforms", "gpus", _File, SCHEMA)


def list_gpus() -> tuple[PlatformGpu, ...]:
    """All GPUs that a platform can be named after."""
    return _load().gpu


def find_gpu(name: str) -> PlatformGpu:
    """A GPU by name or alias; case, blanks, `-` and `_` do not count. Raises UsageError, naming the nearest."""
    wanted = _fold(name)
    by_name = {_fold(one): gpu for gpu in list_gpus() for one in (gpu.name, gpu.full_name, *gpu.aliases)}
    if wanted in by_name:
        return by_name[wanted]
    near = difflib.get_close_matches(wanted, by_name, n=1)
    known = ", ".join(gpu.name for gpu in list_gpus())
    hint = f"did you mean {by_name[near[0]].name}? known: {known}" if near else f"known: {known}"
    raise UsageError(f"no GPU {name!r} to plan for", hint=hint)


def find_by_pci_id(device_id: str) -> PlatformGpu | None:
    """The GPU of a PCI id (`2335`, `0x2335`); None: not one that we know. No id here is of two vendors."""
    wanted = device_id.strip().lower().removeprefix("0x")
    return next((gpu for gpu in list_gpus() if gpu.pci_id == wanted), None) if wanted else None


def find_layout(gpus: int) -> Layout | None:
    """The layout guessed for a machine with so many GPUs; None: one socket."""
    return max(
        (layout for layout in _load().layout if gpus >= layout.from_gpus),
        key=lambda layout: layout.from_gpus,
        default=None,
    )


def _fold(text: str) -> str:
    return re.sub(r"[\s_-]", "", text).lower().removeprefix("nvidia").removeprefix("intel")
