"""Which Intel GPUs and accelerators are there, as PCI functions, and what they are called."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from xpukit.core.machine import OtherDevice, Unread
from xpukit.facts.devices import INTEL, load_table, lookup_device, name_unknown
from xpukit.host.answers import UdevDevice
from xpukit.host.door import Host
from xpukit.probe.question import PciFunction, Question, describe_unread
from xpukit.probe.sysfs import read_int, read_text

# Class and subclass: VGA, 3D and other display controllers; processing accelerators.
GPU_CLASSES = {"0300": "display", "0302": "display", "0380": "display", "1200": "accelerator"}
_NPU_DRIVER = "intel_vpu"
_PCI_DEVICES = "/sys/bus/pci/devices"
_BDF = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
_ROOT_BUS = re.compile(r"/pci[0-9a-f]{4,8}:[0-9a-f]{2}/")


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """All PCI functions, sorted by BDF."""

    functions: tuple[PciFunction, ...] = ()
    unread: tuple[Unread, ...] = ()

    @property
    def intel_gpus(self) -> tuple[PciFunction, ...]:
        """Every Intel function of a display or accelerator class."""
        return tuple(f for f in self.functions if f.vendor_id == INTEL and f.pci_class[:4] in GPU_CLASSES)


def list_functions(host: Host) -> Listing:
    """All PCI functions by libudev, or by sysfs alone where libudev cannot be had."""
    answer = host.udev("pci")
    devices = answer.devices
    unread: tuple[Unread, ...] = ()
    if answer.error and not devices:
        devices, error = _list_sysfs(host)
        if error:
            unread = (
                Unread(what="PCI devices (libudev)", why=answer.error, remedy="install libudev (libudev1)"),
                describe_unread(_PCI_DEVICES, error),
            )
    elif not devices and (error := host.list(_PCI_DEVICES).error):
        unread = (describe_unread(_PCI_DEVICES, error),)
    functions = [describe_function(device) for device in devices]
    found = sorted((f for f in functions if f is not None), key=lambda f: _sort_key(f.bdf))
    return Listing(functions=tuple(found), unread=unread)


def _list_sysfs(host: Host) -> tuple[tuple[UdevDevice, ...], str]:
    names = host.list(_PCI_DEVICES)
    devices = []
    for name in names.names:
        path = host.resolve(f"{_PCI_DEVICES}/{name}")
        text = read_text(host, f"{_PCI_DEVICES}/{name}/uevent")
        if path.error or text is None:
            continue
        properties = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
        devices.append(
            UdevDevice(
                sys_path=path.target,
                sys_name=name,
                subsystem="pci",
                driver=properties.get("DRIVER", ""),
                properties=properties,
            )
        )
    return tuple(devices), names.error


def describe_function(device: UdevDevice) -> PciFunction | None:
    """The function that udev describes; None for what is not a PCI function with an id."""
    vendor, _, product = device.properties.get("PCI_ID", "").lower().partition(":")
    if not vendor or not product or not _BDF.fullmatch(device.sys_name):
        return None
    # Below a controller that is a root complex of its own (Intel VMD, an NVMe RAID) another bus begins.
    above = _BDF.findall(_ROOT_BUS.split(device.sys_path)[-1])[:-1]
    return PciFunction(
        bdf=device.sys_name,
        sys_path=device.sys_path,
        vendor_id=vendor,
        device_id=product,
        subsystem_id=device.properties.get("PCI_SUBSYS_ID", "").lower(),
        pci_class=device.properties.get("PCI_CLASS", "").lower().rjust(6, "0"),
        driver=device.driver or device.properties.get("DRIVER", ""),
        path=tuple(above),
    )


def _sort_key(bdf: str) -> tuple[int, ...]:
    return tuple(int(part, 16) for part in re.split(r"[:.]", bdf))


def index_functions(so_far: Mapping[str, Any]) -> dict[str, PciFunction]:
    """All PCI functions by BDF, for questions that look at bridges or neighbours."""
    return {function.bdf: function for function in so_far.get("functions", ())}


def list_others(host: Host, listing: Listing, *, include_all: bool) -> tuple[OtherDevice, ...]:
    """Display and accelerator functions of other vendors; with `include_all` network cards and NVMe drives too."""
    ours = {function.bdf for function in listing.intel_gpus}
    names = {device.sys_name: _database_name(device) for device in host.udev("pci").devices}
    others = []
    for function in listing.functions:
        kind = GPU_CLASSES.get(function.pci_class[:4], "")
        if include_all and not kind:
            kind = {"02": "network", "01": "nvme"}.get(function.pci_class[:2], "")
            if kind == "nvme" and function.pci_class[:4] != "0108":
                kind = ""
        if not kind or function.bdf in ours:
            continue
        node = read_int(host, f"{function.sys_path}/numa_node")
        others.append(
            OtherDevice(
                bdf=function.bdf,
                vendor_id=function.vendor_id,
                device_id=function.device_id,
                pci_class=function.pci_class,
                kind=kind,
                name=names.get(function.bdf, ""),
                driver=function.driver,
                numa_node=node if node is not None and node >= 0 else None,
                path=function.path,
            )
        )
    return tuple(others)


def _database_name(device: UdevDevice) -> str:
    words = (device.properties.get(f"ID_{part}_FROM_DATABASE", "") for part in ("VENDOR", "MODEL"))
    return " ".join(word for word in words if word)


def read_identity(host: Host, function: PciFunction, so_far: Mapping[str, Any]) -> dict[str, Any]:
    """Ids, name, SR-IOV role and power state of a function."""
    facts = lookup_device(function.vendor_id, function.device_id)
    found: dict[str, Any] = {
        "bdf": function.bdf,
        "vendor_id": function.vendor_id,
        "device_id": function.device_id,
        "subsystem_id": function.subsystem_id,
        "pci_class": function.pci_class,
        "revision": (read_text(host, f"{function.sys_path}/revision") or "").removeprefix("0x"),
        "path": function.path,
        "known": facts is not None,
        "name": facts.name if facts else _name_unknown(function),
        "power_state": read_text(host, f"{function.sys_path}/power_state") or "",
        "sources": {"ids": "udev"},
    }
    if facts:
        found |= {
            "family": facts.architecture,
            "codename": facts.codename,
            "discrete": facts.discrete,
            "sources": {"ids": "udev", "name": f"xpukit device table of {load_table().date}"},
        }
        if facts.tiles:
            found["tiles"] = facts.tiles
            found["sources"]["tiles"] = f"xpukit device table of {load_table().date}"
    return found | _read_sriov(host, function)


def _name_unknown(function: PciFunction) -> str:
    if function.driver == _NPU_DRIVER:
        return f"Intel NPU (0x{function.device_id.upper()})"
    name = name_unknown(function.device_id)
    return name if function.pci_class[:2] == "03" else name.replace("Intel GPU", "Intel accelerator")


def _read_sriov(host: Host, function: PciFunction) -> dict[str, Any]:
    physical = host.link(f"{function.sys_path}/physfn")
    if not physical.error:
        return {"virtual_function": True, "physical_function": physical.target.rpartition("/")[2]}
    return {
        "vfs_enabled": read_int(host, f"{function.sys_path}/sriov_numvfs"),
        "vfs_possible": read_int(host, f"{function.sys_path}/sriov_totalvfs"),
    }


QUESTION = Question(
    name="pci",
    scope="device",
    order=10,
    summary="ids, name, SR-IOV role and power state of each Intel GPU function",
    read_device=read_identity,
)
