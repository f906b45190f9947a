"""What a rule about a pair of GPUs says, and the texts that rules share.

A rule gives Causes when it holds for a pair, else the words that exclude it ("" where it does not apply).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from xpukit.core.finding import Evidence, Severity
from xpukit.core.machine import Machine
from xpukit.evaluate.p2p_observed import Observation
from xpukit.evaluate.p2p_path import PairPath

SYS = "/sys/bus/pci/devices"
AVOID = "until then keep collectives off this path: export CCL_TOPO_P2P_ACCESS=0"
RECHECK = "measure again, with the data verified: xpukit evaluate --only p2p"
KERNEL_WORD = "see whether the kernel refuses: sudo dmesg | grep -i 'peer-to-peer DMA'"
ISSUE_935 = "https://github.com/intel/compute-runtime/issues/935"
ISSUE_VM = "https://github.com/intel/torch-xpu-ops/issues/4241"
KERNEL_P2PDMA = "https://docs.kernel.org/driver-api/pci/p2pdma.html"
KERNEL_ARGUMENTS = "https://docs.kernel.org/admin-guide/kernel-parameters.html"


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """Why a pair cannot, does badly, or does wrong. Causes with the same id and subject are told together.

    `severity` is that of a foreseen or slow pair. `conclusive`: it explains by itself what was seen.
    """

    id: str
    subject: str
    what: str
    evidence: tuple[Evidence, ...]
    remedy: tuple[str, ...]
    links: tuple[str, ...] = ()
    severity: Severity = "warning"
    conclusive: bool = True
    ports: tuple[str, ...] = ()


Rule = Callable[[Machine, Observation], Sequence[Cause] | str]


def show_paths(path: PairPath) -> tuple[Evidence, ...]:
    return tuple(
        Evidence(source=f"{SYS}/{device.bdf}, bridges above", value=" > ".join(device.path) or "none visible")
        for device in path.ends
    )
