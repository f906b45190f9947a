"""What keeps GPUs apart: ACS redirect, IOMMU, virtual machines, drivers, SR-IOV, a small BAR."""

from __future__ import annotations

from collections.abc import Sequence

from xpukit.core.finding import Evidence
from xpukit.core.machine import Machine
from xpukit.core.units import format_bytes
from xpukit.evaluate.p2p_causes import (
    AVOID,
    ISSUE_935,
    ISSUE_VM,
    KERNEL_ARGUMENTS,
    KERNEL_P2PDMA,
    KERNEL_WORD,
    RECHECK,
    SYS,
    Cause,
    show_paths,
)
from xpukit.evaluate.p2p_observed import Observation
from xpukit.evaluate.p2p_path import PairPath
from xpukit.facts.p2p import load_shapes

_PASSTHROUGH = ("vfio-pci", "xe-vfio-pci", "xe-vfio", "pci-stub")
_COMPUTE = ("xe", "i915")


def find_redirect(machine: Machine, seen: Observation) -> Sequence[Cause] | str:
    """ACS redirect on a bridge below the common one: the way over the switch is closed, all goes to the root."""
    path = seen.path
    if path.across in ("device", "card"):
        return ""
    if not path.common:
        return "ACS redirect: plays no part, there is no common switch below which traffic could turn round"
    ports = {port.bdf: port for device in path.ends for port in device.acs if port.bdf in path.ports}
    redirecting = [ports[bdf] for bdf in path.ports if bdf in ports and ports[bdf].redirects]
    unread = _find_unread_acs(path)
    if redirecting:
        shape = load_shapes()["acs-redirect-switch"]
        return [
            Cause(
                id="XPK-P2P-ACS-REDIRECT",
                subject=path.common,
                what=f"ACS redirect on bridges below {path.common} sends peer traffic up to the root complex "
                "instead of straight across",
                evidence=(
                    *(
                        Evidence(source=f"{SYS}/{port.bdf}/config, ACS control", value=", ".join(port.enabled))
                        for port in redirecting
                    ),
                    Evidence(source="common bridge", value=path.common),
                    Evidence(source=f"known case: {shape.source}", value=f"{shape.summary}; {shape.value_gbps:g} GB/s"),
                ),
                remedy=(),
                links=(ISSUE_935, KERNEL_P2PDMA, KERNEL_ARGUMENTS),
                ports=tuple(port.bdf for port in redirecting),
            )
        ]
    if unread:
        return [
            Cause(
                id="XPK-P2P-ACS-UNKNOWN",
                subject=path.common,
                what=f"whether ACS redirect is on below {path.common} could not be read",
                evidence=tuple(Evidence(source=f"{SYS}/{bdf}/config", value="first 64 bytes only") for bdf in unread),
                remedy=("run as root: sudo xpukit probe", "then: sudo lspci -vv | grep -E '^[0-9a-f]|ACSCtl'"),
                severity="info",
                conclusive=False,
            )
        ]
    read = [bdf for bdf in path.ports if bdf in ports]
    return f"ACS redirect: off on {', '.join(read)}" if read else "ACS redirect: no bridge below has ACS"


def _find_unread_acs(path: PairPath) -> list[str]:
    told = " ".join(row.what for device in path.ends for row in device.unread if row.what.startswith("ACS of "))
    return [bdf for bdf in path.ports if bdf in told]


def advise_clearing(ports: Sequence[str]) -> tuple[str, ...]:
    """Steps that take ACS redirect off these bridges: now, and for good."""
    listed = ";".join(ports)
    # Request redirect, completion redirect and egress control, and no other bit: value:mask.
    return (
        *(f"sudo setpci -s {bdf} ECAP_ACS+0x6.w=0000:002c" for bdf in ports),
        f"to keep it after a reboot: kernel argument pci=disable_acs_redir={listed} (separated by ';', not ','; in "
        "GRUB's files the ';' needs quoting, so look afterwards: cat /proc/cmdline)",
        "a BIOS switch 'ACS Control' does the same for all bridges; devices handed to virtual machines lose isolation",
        f"{RECHECK}; where it stays wrong (intel/compute-runtime issue 942) keep off the path for good",
        AVOID,
    )


def find_virtual_machine(machine: Machine, seen: Observation) -> Sequence[Cause] | str:
    """In a virtual machine the bridges are the hypervisor's."""
    platform = machine.platform
    if not platform.get("vm"):
        told = str(platform.get("vm_evidence") or "")
        return f"virtual machine: no ({told})" if platform.get("vm") is False else ""
    return [
        Cause(
            id="XPK-P2P-VM",
            subject="",
            what=f"this is a virtual machine ({platform.get('hypervisor') or 'unknown hypervisor'}): the PCIe tree "
            "that the kernel judges P2P by is the hypervisor's, and the host's IOMMU stands between the cards",
            evidence=(
                Evidence(source="platform", value=str(platform.get("vm_evidence") or "virtual machine")),
                *show_paths(seen.path),
            ),
            remedy=(
                KERNEL_WORD,
                "put the cards below one virtual PCIe switch (QEMU: x3130-upstream and xio3130-downstream), so that "
                "they share an upstream bridge in the guest",
                "on the host: xpukit probe there shows the real bridges, ACS and IOMMU; containers need no passthrough",
                AVOID,
            ),
            links=(ISSUE_VM, "https://github.com/intel/llm-scaler/issues/216"),
            severity="info" if seen.symptom == "foreseen" else "warning",
        )
    ]


def find_driver(machine: Machine, seen: Observation) -> Sequence[Cause] | str:
    """No compute driver, one for virtual machines, or two different ones."""
    causes = []
    for device in seen.path.ends:
        if device.driver in _COMPUTE:
            continue
        kept = device.driver in _PASSTHROUGH
        causes.append(
            Cause(
                id="XPK-P2P-RESERVED-FOR-VM" if kept else "XPK-P2P-NO-DRIVER",
                subject=device.bdf,
                what=f"{device.bdf} is kept for virtual machines (driver {device.driver})"
                if kept
                else f"{device.bdf} has no compute driver ({device.driver or 'none'})",
                evidence=(Evidence(source=f"{SYS}/{device.bdf}/driver", value=device.driver or "none"),),
                remedy=(
                    f"unbind it: echo {device.bdf} | sudo tee {SYS}/{device.bdf}/driver/unbind"
                    if device.driver
                    else f"see why: sudo dmesg | grep {device.bdf}",
                    f"bind it: echo {device.bdf} | sudo tee /sys/bus/pci/drivers/xe/bind",
                ),
                severity="info" if kept and seen.symptom == "foreseen" else "warning",
            )
        )
    drivers = sorted({device.driver for device in seen.path.ends if device.driver in _COMPUTE})
    if len(drivers) > 1:
        causes.append(
            Cause(
                id="XPK-P2P-MIXED-DRIVERS",
                subject="",
                what=f"the two are under different drivers ({' and '.join(drivers)}), which share no memory",
                evidence=tuple(
                    Evidence(source=f"{SYS}/{device.bdf}/driver", value=device.driver) for device in seen.path.ends
                ),
                remedy=("bind both to one, on the kernel command line: xe.force_probe=ID i915.force_probe=!ID",),
            )
        )
    return causes or f"driver: {drivers[0]} on both"


def find_function_kind(machine: Machine, seen: Observation) -> Sequence[Cause] | str:
    """A virtual function, or a GPU of the processor, is no peer as a card is."""
    causes = []
    for device in seen.path.ends:
        if device.virtual_function:
            owner = device.physical_function or "another function"
            causes.append(
                Cause(
                    id="XPK-P2P-VIRTUAL-FUNCTION",
                    subject=owner,
                    what=f"virtual functions of {owner} take part, which share one card, its link and its memory",
                    evidence=(Evidence(source=f"{SYS}/{device.bdf}/physfn", value=owner),),
                    remedy=(
                        "measure and serve with whole cards: "
                        f"echo 0 | sudo tee {SYS}/{owner if device.physical_function else device.bdf}/sriov_numvfs",
                        AVOID,
                    ),
                    severity="info" if seen.symptom == "foreseen" else "warning",
                )
            )
        elif device.discrete is False:
            causes.append(
                Cause(
                    id="XPK-P2P-INTEGRATED",
                    subject=device.bdf,
                    what=f"{device.name} at {device.bdf} is part of the processor, without memory of its own to reach",
                    evidence=(Evidence(source=f"{SYS}/{device.bdf}/device", value=device.device_id),),
                    remedy=("leave it out: xpukit evaluate --device with the cards only, ONEAPI_DEVICE_SELECTOR",),
                    severity="info",
                )
            )
    return causes or "SR-IOV: both are whole cards"


def find_small_bar(machine: Machine, seen: Observation) -> Sequence[Cause] | str:
    """A peer reaches only what the BAR shows."""
    causes = []
    shown = []
    for device in seen.path.ends:
        if device.discrete is False or device.virtual_function or device.bar_bytes is None:
            continue
        small = device.extra.get("small_bar")
        if small is None and device.memory_bytes:
            small = device.bar_bytes < device.memory_bytes // 2
        shown.append(f"{device.bdf} {format_bytes(device.bar_bytes)}")
        if not small:
            continue
        whole = f" of {format_bytes(device.memory_bytes)}" if device.memory_bytes else ""
        causes.append(
            Cause(
                id="XPK-P2P-SMALL-BAR",
                subject="",
                what=f"only {format_bytes(device.bar_bytes)}{whole} of a card's memory is on the bus (no resizable "
                "BAR), and peers reach nothing else",
                evidence=(Evidence(source=f"{SYS}/{device.bdf}/resource", value=format_bytes(device.bar_bytes)),),
                remedy=(
                    "in the BIOS: 'Above 4G Decoding' and 'Resizable BAR' on, CSM off",
                    "where the BIOS has no such setting: kernel argument pci=realloc",
                    f"look afterwards: lspci -vvs {device.bdf} | grep -iE 'region|resizable'",
                ),
            )
        )
    return causes or (f"BAR: shows the whole memory ({', '.join(shown)})" if shown else "")


def find_iommu(machine: Machine, seen: Observation) -> Sequence[Cause] | str:
    """The IOMMU translates what passes the root complex."""
    path = seen.path
    if path.across in ("device", "card"):
        return ""
    modes = {device.bdf: device.iommu.mode for device in path.ends if device.iommu is not None and device.iommu.mode}
    translating = [bdf for bdf, mode in modes.items() if mode.upper().startswith("DMA")]
    if not translating:
        return f"IOMMU: {', '.join(sorted(set(modes.values())))}, translates nothing" if modes else ""
    redirected = any(port.redirects for device in path.ends for port in device.acs if port.bdf in path.ports)
    if path.common and not redirected:
        return f"IOMMU: translating, but traffic turns round at {path.common} below it"
    return [
        Cause(
            id="XPK-P2P-IOMMU",
            subject="",
            what="the IOMMU translates this traffic at the root complex",
            evidence=tuple(
                Evidence(
                    source=f"/sys/kernel/iommu_groups/{device.iommu.group}/type ({device.bdf})", value=device.iommu.mode
                )
                for device in path.ends
                if device.iommu is not None and device.bdf in translating
            ),
            remedy=(
                "kernel argument iommu=pt (the devices see physical addresses); intel_iommu=off where nothing else "
                "needs it",
                "look afterwards: cat /sys/kernel/iommu_groups/*/type",
                RECHECK,
            ),
            links=(KERNEL_ARGUMENTS,),
            severity="info",
            conclusive=False,
        )
    ]
