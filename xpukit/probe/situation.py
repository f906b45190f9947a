"""What the rules of findings.py look at: the joined readings of a machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from xpukit.core.finding import Finding
from xpukit.core.machine import Device, NumaNode, OtherDevice


class Situation(msgspec.Struct, frozen=True, kw_only=True):
    """What the rules look at: the joined readings and what earlier questions concluded."""

    devices: tuple[Device, ...] = ()
    others: tuple[OtherDevice, ...] = ()
    numa: tuple[NumaNode, ...] = ()
    platform: dict[str, Any] = {}
    level_zero: dict[str, Any] = {}
    selectors: dict[str, str] = {}
    # Whether any PCI function was listed, and where none was, the render nodes that are there all the same.
    sees_bus: bool = True
    render_nodes: tuple[str, ...] = ()

    @property
    def is_vm(self) -> bool:
        return bool(self.platform.get("vm"))


Rule = Callable[[Situation], Iterable[Finding]]
