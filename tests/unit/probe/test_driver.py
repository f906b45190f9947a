from __future__ import annotations

from tests.machines.recorded_machines import find_device, open_machine, read_machine
from xpukit.host.answers import FileAnswer, NamesAnswer
from xpukit.host.overlay import OverlayHost
from xpukit.probe.machine import probe_machine


def test_a_module_of_the_kernel_has_the_kernels_version() -> None:
    device = find_device("b60x4_bmc", "0000:18:00.0")
    assert (device.driver, device.driver_version) == ("xe", "kernel 6.14.0-1006-intel")
    assert device.driver_parameters["guc_log_level"] == "-1"
    assert device.extra["driver_module"]["builtin"] is False


def test_an_out_of_tree_module_has_its_own_version() -> None:
    device = find_device("max1550", "0000:2a:00.0")
    assert (device.driver, device.driver_version) == ("i915", "1.24.5.15.250105")


def test_a_driver_that_is_built_in() -> None:
    changes = {("list", "/sys/module/xe"): NamesAnswer(names=("parameters", "uevent"))}
    device = probe_machine(OverlayHost(open_machine("vm"), changes), include_all=True).devices[0]
    assert device.extra["driver_module"]["builtin"] is True


def test_unbound_and_passed_through() -> None:
    unbound, vfio = read_machine("unbound").devices
    assert (unbound.driver, unbound.driver_version, unbound.driver_parameters) == ("", "", {})
    assert vfio.driver == "vfio-pci"
    assert vfio.extra["driver_module"]["passthrough"] is True
    subjects = [f.subject for f in read_machine("unbound").findings if f.id == "XPK-PROBE-NO-DRIVER"]
    assert subjects == [unbound.bdf]


def test_parameters_that_only_root_may_read_are_one_row() -> None:
    base = "/sys/module/xe/parameters"
    changes = {("read", f"{base}/{name}"): FileAnswer(error="EACCES") for name in ("force_probe", "wedged_mode")}
    device = probe_machine(OverlayHost(open_machine("vm"), changes), include_all=True).devices[0]
    (row,) = (row for row in device.unread if row.what.startswith(base))
    assert (row.what, row.remedy) == (f"{base}: force_probe, wedged_mode", "run as root")
    assert "max_vfs" in device.driver_parameters
