"""Functions that no longer answer, and machines on which no bus can be seen."""

from __future__ import annotations

import msgspec
import pytest

from tests.machines.dict_host import DictHost
from tests.machines.recorded_machines import open_loosely, read_machine
from xpukit.core.finding import Finding
from xpukit.core.machine import Machine
from xpukit.host.answers import FileAnswer, UdevDevice
from xpukit.host.overlay import OverlayHost
from xpukit.probe.machine import probe_machine

GONE = FileAnswer(data=b"\xff" * 4096)
LOST_GPU = "0000:5c:00.0"


def lose(*functions: str) -> Machine:
    """The machine of four B60, with these functions answering as they do once link or power are gone."""
    host = open_loosely("b60x4_bmc")
    paths = {device.sys_name: device.sys_path for device in host.udev("pci").devices}
    said = {
        "current_link_speed": "Unknown",
        "max_link_speed": "Unknown",
        "current_link_width": "63",
        "max_link_width": "63",
    }
    changes: dict[tuple[str, ...], msgspec.Struct] = {}
    for bdf in functions:
        changes[("read", f"{paths[bdf]}/config")] = GONE
        changes |= {("read", f"{paths[bdf]}/{name}"): FileAnswer(data=text.encode()) for name, text in said.items()}
    return probe_machine(OverlayHost(host, changes))


def find(machine: Machine, identifier: str) -> list[Finding]:
    return [finding for finding in machine.findings if finding.id == identifier]


@pytest.mark.parametrize("with_switch", [False, True])
def test_a_gpu_that_fell_off_the_bus_is_said_and_the_rest_still_read(with_switch: bool) -> None:
    whole = read_machine("b60x4_bmc")
    device = next(one for one in whole.devices if one.bdf == LOST_GPU)
    switch = device.path[1:] if with_switch else ()
    machine = lose(LOST_GPU, *switch)
    (finding,) = find(machine, "XPK-PROBE-OFF-BUS")
    assert (finding.severity, finding.subject) == ("critical", LOST_GPU)
    # The first port that is gone says where to look: the card's own switch, here.
    assert any(switch and switch[0] in evidence.source for evidence in finding.evidence) == with_switch
    assert [one.bdf for one in machine.devices] == [one.bdf for one in whole.devices]
    assert not any("defect" in row.why for row in machine.unread)
    assert not find(whole, "XPK-PROBE-OFF-BUS")


def test_a_config_that_nobody_may_read_is_not_a_lost_device() -> None:
    host = open_loosely("b60x4_bmc")
    path = next(device.sys_path for device in host.udev("pci").devices if device.sys_name == LOST_GPU)
    for answer in (
        FileAnswer(error="EACCES"),
        FileAnswer(data=b""),
        FileAnswer(data=b"\x86\x80\x11\xe2" + b"\xff" * 60),
    ):
        machine = probe_machine(OverlayHost(host, {("read", f"{path}/config"): answer}))
        assert not find(machine, "XPK-PROBE-OFF-BUS")


@pytest.mark.parametrize(
    ("files", "summary", "remedy"),
    [
        ({"/sys/bus/pci/devices/x/y": ""}, "the PCI bus cannot be seen", "host's /sys"),
        ({"/.dockerenv": "", "/dev/dri/renderD129": ""}, "the PCI bus cannot be seen", "/dev/dri/renderD129: programs"),
        (
            {"/proc/sys/kernel/osrelease": "5.15.167.4-microsoft-standard-WSL2\n", "/dev/dxg": ""},
            "as always under WSL",
            "compute runtime",
        ),
        ({"/proc/sys/kernel/osrelease": "6.6.87.2-microsoft-standard-WSL2\n"}, "as always under WSL", "wsl --update"),
    ],
)
def test_no_bus_is_not_an_empty_bus(files: dict[str, str], summary: str, remedy: str) -> None:
    (finding,) = find(probe_machine(DictHost(files)), "XPK-PROBE-NO-GPU")
    assert summary in finding.summary
    assert remedy in " ".join(finding.remedy)
    assert "power cables" not in " ".join(finding.remedy)


def make_function(path: str, ids: str, pci_class: str, driver: str = "") -> UdevDevice:
    properties = {"PCI_ID": ids, "PCI_CLASS": pci_class}
    return UdevDevice(
        sys_path=path, sys_name=path.rpartition("/")[2], subsystem="pci", driver=driver, properties=properties
    )


def test_below_vmd_another_bus_begins() -> None:
    controller = "/sys/devices/pci0000:00/0000:00:0e.0"
    ports = [f"{controller}/pci10000:e0/10000:e0:0{number}.0" for number in (6, 7)]
    machine = probe_machine(
        DictHost(
            {f"{controller}/numa_node": "1\n"},
            udev=[
                make_function(controller, "8086:9A0B", "10400", "vmd"),
                *(make_function(port, "8086:A74D", "60400", "pcieport") for port in ports),
                make_function(f"{ports[0]}/10000:e1:00.0", "8086:E211", "30000", "xe"),
                make_function(f"{ports[1]}/10000:e2:00.0", "8086:E211", "30000", "xe"),
            ],
        )
    )
    assert [device.path for device in machine.devices] == [("10000:e0:06.0",), ("10000:e0:07.0",)]
    # Two root ports: peers meet in the host bridge, not in a switch.
    assert machine.topology is not None
    assert machine.topology.matrix[0][1] == "PHB"
    # Where it hangs in the machine is still the controller's place.
    assert [(device.numa_node, device.numa_rule) for device in machine.devices] == [(1, "ancestor 0000:00:0e.0")] * 2
