"""What stands between GPUs that could talk directly: ACS redirect on the bridges, translation by the IOMMU."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import combinations

from xpukit.core.finding import Evidence, Finding, Unchecked
from xpukit.core.machine import AcsPort, Device
from xpukit.doctor.check import Check, Patient
from xpukit.doctor.hardware import KERNEL_ARGUMENTS, SYS, is_vm, list_serving_cards
from xpukit.facts.p2p import load_shapes

_P2PDMA = "https://docs.kernel.org/driver-api/pci/p2pdma.html"


def look_between_cards(patient: Patient) -> Iterable[Finding | Unchecked]:
    """Only where there are at least two cards, and not in a virtual machine, whose bridges are the hypervisor's."""
    cards = list_serving_cards(patient)
    if len(cards) < 2 or is_vm(patient):
        return
    yield from _find_redirect(cards)
    yield from _find_translation(cards)


def list_shared(cards: list[Device]) -> Mapping[str, set[str]]:
    """By the lowest bridge that two cards share: the bridges below it on the way to either. Empty path: no entry.

    Any of them with ACS redirect makes the kernel send (and allow) peer traffic over the root complex only.
    """
    below: dict[str, set[str]] = {}
    for one, other in combinations(cards, 2):
        common = 0
        for left, right in zip(one.path, other.path, strict=False):
            if left != right:
                break
            common += 1
        if common:
            ports = below.setdefault(one.path[common - 1], set())
            ports.update(one.path[common:], other.path[common:])
    return below


def _find_redirect(cards: list[Device]) -> Iterable[Finding | Unchecked]:
    known: dict[str, AcsPort] = {port.bdf: port for device in cards for port in device.acs}
    unread = " ".join(row.what for device in cards for row in device.unread if row.what.startswith("ACS of "))
    shape = load_shapes()["acs-redirect-switch"]
    for common, ports in sorted(list_shared(cards).items()):
        redirecting = sorted(bdf for bdf in ports if bdf in known and known[bdf].redirects)
        closed = sorted(bdf for bdf in ports if bdf in unread)
        if redirecting:
            peers = [device.bdf for device in cards if common in device.path]
            yield Finding(
                id="XPK-ACS-REDIRECT",
                severity="warning",
                summary=f"ACS redirect on {len(redirecting)} bridge{'s' * (len(redirecting) != 1)} below {common} "
                "sends traffic between its GPUs up to the root complex",
                evidence=(
                    *(
                        Evidence(source=f"{SYS}/{bdf}/config, ACS control", value=", ".join(known[bdf].enabled))
                        for bdf in redirecting
                    ),
                    Evidence(source=f"GPUs below {common}", value=", ".join(peers)),
                    Evidence(source=f"known case: {shape.source}", value=shape.summary),
                ),
                explanation="GPUs behind one PCIe switch can copy to each other without leaving it. With ACS redirect "
                "they cannot: collectives of tensor parallelism become slower, are refused, or (known case) bring "
                "wrong data.",
                concerns="two or more GPUs behind one PCIe switch; switched on by the kernel with the IOMMU, or by the "
                "BIOS",
                remedy=(
                    "take it off until the next boot (below), then measure with the data verified: "
                    "xpukit evaluate --only p2p",
                    f"for good: kernel argument pci=disable_acs_redir={';'.join(redirecting)} (quote the ';'), or the "
                    "BIOS switch 'ACS Control'",
                    "do it only on a host whose GPUs are not given to virtual machines: they lose their isolation",
                    "until then keep collectives off this path: export CCL_TOPO_P2P_ACCESS=0",
                ),
                commands=tuple(f"sudo setpci -s {bdf} ECAP_ACS+0x6.w=0000:002c" for bdf in redirecting),
                links=(shape.link, _P2PDMA, KERNEL_ARGUMENTS),
                subject=common,
            )
        elif closed:
            yield Unchecked(
                check="iommu_acs",
                why=f"ACS of {', '.join(closed)} (below {common}): only the first 64 bytes of config space may be read",
                remedy="run as root: it would tell whether traffic between GPUs is redirected",
            )


def _find_translation(cards: list[Device]) -> Iterable[Finding]:
    translating = [
        device for device in cards if device.iommu is not None and device.iommu.mode.upper().startswith("DMA")
    ]
    if len(translating) < 2:
        return
    yield Finding(
        id="XPK-IOMMU-TRANSLATING",
        severity="info",
        summary=f"the IOMMU translates the addresses of {len(translating)} GPUs",
        evidence=tuple(
            Evidence(
                source=f"/sys/kernel/iommu_groups/{device.iommu.group}/type ({device.bdf})", value=device.iommu.mode
            )
            for device in translating
            if device.iommu is not None
        ),
        explanation="traffic between GPUs that passes the root complex, and all copies to the host, are translated "
        "page by page. That costs some bandwidth and latency, and on some platforms peer-to-peer fails with it.",
        concerns="two or more GPUs; Intel VT-d or AMD-Vi on",
        remedy=(
            "where no device is given to a virtual machine: kernel argument iommu=pt, then reboot (devices see "
            "physical addresses); off altogether: intel_iommu=off or amd_iommu=off",
            "look afterwards: cat /sys/kernel/iommu_groups/*/type, then: xpukit evaluate --only p2p",
        ),
        links=(KERNEL_ARGUMENTS,),
    )


CHECK = Check(
    name="iommu_acs",
    summary="nothing redirects or translates traffic between GPUs",
    ids=("XPK-ACS-REDIRECT", "XPK-IOMMU-TRANSLATING"),
    look=look_between_cards,
    concerns="machines with two or more discrete GPUs",
    order=200,
)
