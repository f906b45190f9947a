"""No Intel GPU was found: is there none, or none that could be seen from here?"""

from __future__ import annotations

from collections.abc import Iterable

from xpukit.core.finding import Evidence, Finding
from xpukit.probe.situation import Situation


def find_no_gpu(at: Situation) -> Iterable[Finding]:
    """No Intel GPU on the bus, or no bus to see one on."""
    if at.devices:
        return
    others = ", ".join(f"{other.name or other.vendor_id} at {other.bdf}" for other in at.others[:4])
    evidence = Evidence(source="udev pci", value="no function 8086:* of class 0x0300, 0x0302, 0x0380 or 0x1200")
    summary = "no Intel GPU on the PCI bus: only the processor can be measured"
    if at.platform.get("hypervisor") == "WSL":
        summary = "no Intel GPU on the PCI bus, as always under WSL: Windows shares one through /dev/dxg"
        remedy = _advise_wsl(bool(at.platform.get("dxg")))
    elif not at.sees_bus:
        evidence = Evidence(source="/sys/bus/pci/devices", value="nothing is there")
        summary = "the PCI bus cannot be seen from here, and so no GPU"
        remedy = ("in a container: let it see the host's /sys, or run xpukit on the host",)
    else:
        remedy = _advise_empty_bus(at)
    if at.render_nodes:
        remedy = (*remedy, f"{', '.join(at.render_nodes)}: programs can open a GPU here, whatever it is")
    yield Finding(
        id="XPK-PROBE-NO-GPU",
        severity="warning",
        summary=summary,
        evidence=(evidence, *((Evidence(source="other display devices", value=others),) if others else ())),
        remedy=remedy,
    )


def _advise_wsl(has_dxg: bool) -> tuple[str, ...]:
    if has_dxg:
        return (
            "install the compute runtime in WSL (libze-intel-gpu1): Level Zero and SYCL then list the GPU",
            "link, memory size, clocks and NUMA are Windows': measure under Linux itself for them",
        )
    return ("/dev/dxg is not there: install Intel's driver in Windows, then: wsl --update, wsl --shutdown",)


def _advise_empty_bus(at: Situation) -> tuple[str, ...]:
    inside = (
        ("this is a virtual machine: hand the GPU to it (PCI passthrough or a virtual function) on the host",)
        if at.is_vm
        else ()
    )
    container = ("in a container: check on the host too",) if at.platform.get("container") else ()
    return (
        *inside,
        *container,
        "if a card is plugged in: check its power cables and seat, and 'Above 4G Decoding' in the BIOS",
        "look at: lspci -nn -d 8086: ; dmesg | grep -i 'no space for\\|failed to assign'",
    )
