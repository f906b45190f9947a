"""GPUs in a virtual machine, and GPUs cut into virtual functions."""

from __future__ import annotations

from collections.abc import Iterable

from xpukit.core.finding import Evidence, Finding, Unchecked
from xpukit.doctor.check import Check, Patient
from xpukit.doctor.hardware import COMPUTE_DRIVERS, SYS, explain, is_vm, list_found, list_serving_cards

_ISSUES = (
    "https://github.com/intel/llm-scaler/issues/216",
    "https://github.com/intel/torch-xpu-ops/issues/4241",
)


def look_at_virtualization(patient: Patient) -> Iterable[Finding | Unchecked]:
    """Passthrough without P2P, and SR-IOV on a card that serves."""
    for found in list_found(patient, "XPK-PROBE-VM"):
        yield explain(
            found,
            explanation="a guest sees the bridges that the hypervisor made up. Links, NUMA nodes and distances between "
            "GPUs are not those of the hardware, and what slows a guest down is often on the host.",
            concerns="virtual machines",
            links=("https://docs.kernel.org/driver-api/vfio.html",),
            remedy=("on the host: xpukit sysinfo, and xpukit doctor on that bundle",),
        )
    if is_vm(patient):
        yield from _find_guest_without_p2p(patient)
    yield from _find_shared_card(patient)


def _find_guest_without_p2p(patient: Patient) -> Iterable[Finding]:
    """Two GPUs of a guest that share no bridge: the guest's kernel then allows P2P for known host bridges only."""
    cards = list_serving_cards(patient)
    apart = len({device.path[:1] for device in cards}) > 1 or any(not device.path for device in cards)
    if len(cards) < 2 or not apart:
        return
    yield Finding(
        id="XPK-VM-NO-P2P",
        severity="warning",
        summary=f"{len(cards)} GPUs are passed through to this virtual machine without a common bridge: "
        "they cannot copy to each other directly",
        evidence=(
            Evidence(source="platform", value=str(patient.machine.platform.get("vm_evidence") or "virtual machine")),
            *(
                Evidence(source=f"bridges above {device.bdf}", value=" > ".join(device.path) or "none")
                for device in cards
            ),
        ),
        explanation="Level Zero reports such devices as without peer access; oneCCL either stops ('do not have P2P "
        "capabilities') or copies through the host, which costs tensor parallelism most of its gain.",
        concerns="two or more GPUs in a virtual machine",
        remedy=(
            "use host memory for collectives: export CCL_TOPO_P2P_ACCESS=0",
            "or give the guest one virtual PCIe switch for all GPUs (QEMU: x3130-upstream and xio3130-downstream)",
            "or serve from containers on the host: they need no passthrough",
        ),
        commands=("export CCL_TOPO_P2P_ACCESS=0",),
        links=_ISSUES,
    )


def _find_shared_card(patient: Patient) -> Iterable[Finding]:
    for device in patient.machine.devices:
        if device.virtual_function or not device.vfs_enabled or device.driver not in COMPUTE_DRIVERS:
            continue
        yield Finding(
            id="XPK-SRIOV-SHARES-CARD",
            severity="warning",
            summary=f"{device.bdf} has {device.vfs_enabled} virtual function"
            f"{'s' * (device.vfs_enabled != 1)} enabled while its own driver {device.driver} serves on it",
            evidence=(
                Evidence(source=f"{SYS}/{device.bdf}/sriov_numvfs", value=str(device.vfs_enabled)),
                Evidence(source=f"{SYS}/{device.bdf}/driver", value=device.driver),
            ),
            explanation="the functions share the card's memory and time: the physical function has less of both than "
            "the card's data sheet says, and a busy guest slows it down.",
            concerns="cards with SR-IOV (Arc Pro B-series, Flex, Max)",
            remedy=(
                "serve in the guests or on the host, not both; to have the whole card here, once no guest uses it: "
                f"echo 0 | sudo tee {SYS}/{device.bdf}/sriov_numvfs",
            ),
            links=("https://docs.kernel.org/PCI/pci-iov-howto.html",),
            subject=device.bdf,
        )


CHECK = Check(
    name="passthrough",
    summary="virtual machines see their GPUs so that these can talk; no card is cut up and served from at once",
    ids=("XPK-PROBE-VM", "XPK-VM-NO-P2P", "XPK-SRIOV-SHARES-CARD"),
    look=look_at_virtualization,
    concerns="virtual machines, SR-IOV",
    order=210,
)
