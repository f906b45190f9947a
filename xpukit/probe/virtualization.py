"""Is this a virtual machine, a container, WSL? Each answer with what gave it away."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from xpukit.core.machine import Device
from xpukit.host.door import Host
from xpukit.probe.question import Question

DMI = "/sys/class/dmi/id"
DMI_NAMES = ("sys_vendor", "product_name", "board_vendor", "board_name", "bios_vendor", "bios_version", "bios_date")
# Text in sys_vendor, product_name or bios_vendor -> the hypervisor. A bare-metal cloud instance has these too, so the
# processor's hypervisor flag decides where it can be read.
HYPERVISORS = (
    ("qemu", "QEMU/KVM"),
    ("kvm", "QEMU/KVM"),
    ("bochs", "QEMU/KVM"),
    ("rhev", "QEMU/KVM"),
    ("openstack", "QEMU/KVM"),
    ("vmware", "VMware"),
    ("virtualbox", "VirtualBox"),
    ("innotek", "VirtualBox"),
    ("xen", "Xen"),
    ("virtual machine", "Hyper-V"),
    ("parallels", "Parallels"),
    ("bhyve", "bhyve"),
    ("amazon ec2", "Amazon EC2"),
    ("google compute engine", "Google Compute Engine"),
    ("firecracker", "Firecracker"),
    ("cloud-hypervisor", "Cloud Hypervisor"),
)
_CGROUPS = (
    ("kubepods", "kubernetes"),
    ("docker", "docker"),
    ("libpod", "podman"),
    ("containerd", "containerd"),
    ("lxc", "lxc"),
)


def read_machine(host: Host, devices: tuple[Device, ...], so_far: Mapping[str, Any]) -> dict[str, Any]:
    """`Machine.platform`: architecture, board, VM and container with evidence."""
    board = {name: answer.text for name in DMI_NAMES if (answer := host.read(f"{DMI}/{name}")).ok and answer.text}
    vm, hypervisor, vm_evidence = judge_vm(
        board,
        has_flag=find_hypervisor_flag(host.read("/proc/cpuinfo", limit_bytes=1 << 16).text),
        hypervisor_type=host.read("/sys/hypervisor/type").text,
        kernel=host.read("/proc/sys/kernel/osrelease").text,
    )
    container, container_evidence = _find_container(host)
    # What Windows shares with WSL is no PCI function: Level Zero reaches it through this node.
    shared = {"dxg": host.exists("/dev/dxg")} if hypervisor == "WSL" else {}
    return {
        "platform": {
            **shared,
            "architecture": host.identity().machine,
            "board": board,
            "vm": vm,
            "hypervisor": hypervisor,
            "vm_evidence": vm_evidence,
            "container": container,
            "container_evidence": container_evidence,
        }
    }


def find_hypervisor_flag(cpuinfo: str) -> bool | None:
    """Whether the first processor's flags have `hypervisor`; None without a flags line (other architectures)."""
    match = re.search(r"^flags\s*:(.*)$", cpuinfo, re.MULTILINE)
    return "hypervisor" in match.group(1).split() if match else None


def judge_vm(
    board: Mapping[str, str], *, has_flag: bool | None, hypervisor_type: str, kernel: str
) -> tuple[bool | None, str, str]:
    """(is a VM, hypervisor, evidence); None when nothing tells."""
    if "microsoft" in kernel.lower():
        return True, "WSL", f"/proc/sys/kernel/osrelease: {kernel}"
    named = ""
    source = ""
    for key in ("product_name", "sys_vendor", "bios_vendor"):
        value = board.get(key, "")
        hit = next((name for text, name in HYPERVISORS if text in value.lower()), "")
        if hit and not named:
            named, source = hit, f"{DMI}/{key}: {value}"
    if has_flag:
        return True, named or hypervisor_type or "unknown", source or "/proc/cpuinfo: flag hypervisor"
    if has_flag is False:
        return False, "", "/proc/cpuinfo: no flag hypervisor"
    if hypervisor_type:
        return True, named or hypervisor_type, f"/sys/hypervisor/type: {hypervisor_type}"
    if named:
        return True, named, source
    return None, "", ""


def _find_container(host: Host) -> tuple[str, str]:
    """(kind, evidence); ("", "") outside."""
    if host.env("KUBERNETES_SERVICE_HOST").value:
        return "kubernetes", "environment: KUBERNETES_SERVICE_HOST"
    for path, kind in (("/run/.containerenv", "podman"), ("/.dockerenv", "docker")):
        if host.exists(path):
            return kind, path
    marker = host.read("/run/systemd/container")
    if marker.ok and marker.text:
        return marker.text.split()[0], "/run/systemd/container"
    groups = host.read("/proc/1/cgroup").text
    for text, kind in _CGROUPS:
        if text in groups:
            return kind, f"/proc/1/cgroup: {text}"
    return "", ""


QUESTION = Question(
    name="virtualization",
    scope="machine",
    order=100,
    summary="virtual machine, container, board and firmware",
    read_machine=read_machine,
)
