"""Whether a function that the kernel still lists answers at all: one that lost its link or power reads as all ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xpukit.core.finding import Evidence, Finding
from xpukit.host.door import Host
from xpukit.probe.config_space import is_gone
from xpukit.probe.pci import index_functions
from xpukit.probe.question import PciFunction, Question


def read_presence(host: Host, function: PciFunction, so_far: Mapping[str, Any]) -> dict[str, Any]:
    """A finding where the function no longer answers; nothing where it does, or where nobody may read it."""
    path = f"{function.sys_path}/config"
    if not is_gone(host.read(path).data):
        return {}
    known = index_functions(so_far)
    bridges = [known[bdf] for bdf in function.path if bdf in known]
    first = next((port.bdf for port in bridges if is_gone(host.read(f"{port.sys_path}/config").data)), "")
    evidence = [Evidence(source=path, value="ff ff ff ff: no answer")]
    if first:
        evidence.append(
            Evidence(source=f"/sys/bus/pci/devices/{first}/config", value="the first port that is gone too")
        )
    if state := so_far.get("power_state", ""):
        evidence.append(Evidence(source=f"{function.sys_path}/power_state", value=state))
    finding = Finding(
        id="XPK-PROBE-OFF-BUS",
        severity="critical",
        summary=f"{function.bdf} fell off the PCI bus: the kernel lists it, and it no longer answers",
        evidence=tuple(evidence),
        remedy=(
            "see when and why: sudo dmesg | grep -iE 'pcieport|aer|dpc|xe|i915'",
            "power the machine off and on; if it comes back: seat the card again, check its power cable and riser",
        ),
        subject=function.bdf,
    )
    return {"findings": (finding,), "extra": {"answers": False}}


QUESTION = Question(
    name="presence",
    scope="device",
    order=11,
    summary="whether the function answers on the bus",
    read_device=read_presence,
)
