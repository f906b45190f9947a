from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.machines.recorded_machines import find_device, list_machines, open_loosely, open_machine, read_machine
from xpukit.host.answers import FileAnswer, LinkAnswer, NamesAnswer, UdevAnswer, UdevDevice
from xpukit.host.overlay import OverlayHost
from xpukit.probe.machine import probe_machine
from xpukit.probe.pci import describe_function, list_functions


def test_devices_are_numbered_in_the_order_of_their_addresses() -> None:
    devices = read_machine("b60x8_2s").devices
    assert [device.index for device in devices] == list(range(8))
    assert [device.bdf[5:7] for device in devices] == ["1b", "1f", "23", "27", "9a", "ab", "c3", "db"]


def test_a_bmc_is_listed_as_another_display_and_is_card0() -> None:
    machine = read_machine("b60x4_bmc")
    bmc = next(other for other in machine.others if other.kind == "display")
    assert (bmc.bdf, bmc.vendor_id, bmc.driver) == ("0000:02:00.0", "1a03", "ast")
    assert "ASPEED" in bmc.name
    assert [(device.index, device.card_index) for device in machine.devices] == [(0, 1), (1, 2), (2, 3), (3, 4)]


def test_others_are_only_displays_unless_all_is_asked() -> None:
    kinds = {other.kind for other in read_machine("b60x8_2s").others}
    assert kinds == {"display", "network", "nvme"}
    plain = probe_machine(open_machine("b60x8_2s"))
    assert {other.kind for other in plain.others} == {"display"}


def test_an_unknown_id_is_an_intel_gpu_and_not_skipped() -> None:
    (device,) = read_machine("unknown_id").devices
    assert (device.name, device.known) == ("Intel GPU (unknown SKU 0xF0A1)", False)
    assert device.driver == "xe"
    assert device.discrete is None


def test_names_and_families_come_from_the_table() -> None:
    device = find_device("max1550", "0000:aa:00.0")
    assert (device.name, device.known, device.tiles) == ("Intel Data Center GPU Max 1550", True, 2)
    assert (device.codename, device.family, device.pci_class) == ("Ponte Vecchio", "Xe-HPC", "038000")
    assert device.sources["name"].startswith("xpukit device table")


def test_the_way_to_the_root_is_in_order() -> None:
    assert find_device("b60x8_2s", "0000:27:00.0").path == (
        "0000:16:01.0",
        "0000:17:00.0",
        "0000:18:0c.0",
        "0000:25:00.0",
        "0000:26:01.0",
    )
    assert find_device("a770", "0000:00:02.0").path == ()


def test_physical_and_virtual_functions() -> None:
    physical, first, second = read_machine("sriov").devices
    assert (physical.virtual_function, physical.vfs_enabled, physical.vfs_possible) == (False, 2, 24)
    for virtual in (first, second):
        assert virtual.virtual_function
        assert virtual.physical_function == physical.bdf
        assert virtual.vfs_enabled is None
    assert (first.driver, second.driver) == ("xe", "xe-vfio-pci")


@pytest.mark.parametrize("name", list_machines())
def test_sysfs_alone_gives_the_same_functions(name: str) -> None:
    """Where libudev cannot be loaded, /sys/bus/pci/devices is read."""
    replay = open_machine(name)
    udev = replay.udev("pci")
    changes: dict[tuple[str, ...], msgspec.Struct] = {
        ("udev", "pci"): UdevAnswer(error="libudev: not found"),
        ("list", "/sys/bus/pci/devices"): NamesAnswer(names=tuple(device.sys_name for device in udev.devices)),
    }
    for device in udev.devices:
        text = "".join(f"{key}={value}\n" for key, value in device.properties.items())
        base = f"/sys/bus/pci/devices/{device.sys_name}"
        changes["read", f"{base}/uevent"] = FileAnswer(data=text.encode())
        changes["resolve", base] = LinkAnswer(target=device.sys_path)
    without = list_functions(OverlayHost(replay, changes))
    assert without.functions == list_functions(replay).functions
    assert without.unread == ()


def test_without_libudev_and_sysfs_it_is_said() -> None:
    changes = {
        ("udev", "pci"): UdevAnswer(error="libudev: not found"),
        ("list", "/sys/bus/pci/devices"): NamesAnswer(error="ENOENT"),
    }
    listing = list_functions(OverlayHost(open_machine("vm"), changes))
    assert listing.functions == ()
    assert [row.what for row in listing.unread] == ["PCI devices (libudev)", "/sys/bus/pci/devices"]


@pytest.mark.parametrize(
    ("pci_class", "vendor", "listed"),
    [
        ("30000", "8086", True),
        ("30200", "8086", True),
        ("38000", "8086", True),
        ("120000", "8086", True),
        ("40300", "8086", False),
        ("60400", "8086", False),
        ("30000", "10DE", False),
    ],
)
def test_classes(pci_class: str, vendor: str, listed: bool) -> None:
    device = UdevDevice(
        sys_path="/sys/devices/pci0000:00/0000:00:02.0",
        sys_name="0000:00:02.0",
        subsystem="pci",
        properties={"PCI_CLASS": pci_class, "PCI_ID": f"{vendor}:E211"},
    )
    host = OverlayHost(open_machine("vm"), {("udev", "pci"): UdevAnswer(devices=(device,))})
    assert bool(list_functions(host).intel_gpus) is listed


@given(
    st.text(max_size=20),
    st.text(max_size=60),
    st.dictionaries(st.sampled_from(["PCI_ID", "PCI_CLASS", "PCI_SUBSYS_ID", "DRIVER"]), st.text(max_size=12)),
)
def test_odd_devices_are_passed_over(name: str, path: str, properties: dict[str, str]) -> None:
    device = UdevDevice(sys_path=path, sys_name=name, subsystem="pci", properties=properties)
    described = describe_function(device)
    assert described is None or described.bdf == name


def test_an_npu_is_an_accelerator_and_named_so() -> None:
    properties = {"PCI_CLASS": "120000", "PCI_ID": "8086:7D1D", "PCI_SLOT_NAME": "0000:00:0b.0"}
    path = "/sys/devices/pci0000:00/0000:00:0b.0"
    for driver, name in (("intel_vpu", "Intel NPU (0x7D1D)"), ("", "Intel accelerator (unknown SKU 0x7D1D)")):
        npu = UdevDevice(sys_path=path, sys_name="0000:00:0b.0", subsystem="pci", driver=driver, properties=properties)
        replay = open_loosely("vm")
        found = UdevAnswer(devices=(*replay.udev("pci").devices, npu))
        machine = probe_machine(OverlayHost(replay, {("udev", "pci"): found}), include_all=True)
        (device,) = (device for device in machine.devices if device.bdf == "0000:00:0b.0")
        assert (device.name, device.link, device.known) == (name, None, False)
        assert not any("link" in row.what for row in device.unread)
