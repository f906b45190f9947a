"""Cards of several generations below a PCIe switch of another vendor, with virtual functions among them."""

from __future__ import annotations

from functools import cache

import pytest

from tests.machines.dict_host import DictHost
from xpukit.core.machine import Device, Machine
from xpukit.host.answers import UdevDevice
from xpukit.probe.machine import probe_machine

ROOT = "/sys/devices/pci0000:40/0000:40:01.0"
SWITCH = f"{ROOT}/0000:41:00.0"
# What is plugged into each downstream port: (upstream, downstream) of the card's own switch, lanes, the GPU's id.
CARDS: tuple[tuple[tuple[str, str] | None, str, str], ...] = (
    (("E2FF", "E2F0"), "8", "E211"),  # Arc Pro B60
    (("4FA0", "4FA4"), "16", "56A0"),  # Arc A770
    (("ABCD", "ABCE"), "8", "FFF0"),  # not known, behind an Intel switch as all discrete ones
    (None, "16", "0BD5"),  # Max 1550: no switch of its own
    (None, "16", "FFF1"),  # not known, without a switch
)
B60, A770, NEW, MAX, BARE = "0000:52:00.0", "0000:56:00.0", "0000:5a:00.0", "0000:5c:00.0", "0000:60:00.0"


def make_host(vfs: int) -> DictHost:
    files: dict[str, str] = {}
    udev: list[UdevDevice] = []

    def add(path: str, ids: str, pci_class: str, speed: str, width: str, driver: str = "pcieport") -> None:
        udev.append(
            UdevDevice(
                sys_path=path,
                sys_name=path.rpartition("/")[2],
                subsystem="pci",
                driver=driver,
                properties={"PCI_ID": ids, "PCI_CLASS": pci_class},
            )
        )
        for name in ("current_link", "max_link"):
            files[f"{path}/{name}_speed"], files[f"{path}/{name}_width"] = f"{speed} GT/s PCIe", width

    add(ROOT, "8086:352A", "60400", "32.0", "16")
    add(SWITCH, "10B5:9797", "60400", "16.0", "16")
    for number, (own, lanes, gpu) in enumerate(CARDS):
        slot, bus = f"{SWITCH}/0000:42:0{number}.0", 0x50 + 4 * number
        add(slot, "10B5:9797", "60400", "16.0", "16")
        if own is None:
            add(f"{slot}/0000:{bus:02x}:00.0", f"8086:{gpu}", "38000", "32.0", lanes, "xe")
            continue
        below = f"{slot}/0000:{bus:02x}:00.0/0000:{bus + 1:02x}:01.0"
        add(f"{slot}/0000:{bus:02x}:00.0", f"8086:{own[0]}", "60400", "16.0", lanes)
        add(below, f"8086:{own[1]}", "60400", "2.5", "1")
        add(f"{below}/0000:{bus + 2:02x}:00.0", f"8086:{gpu}", "30000", "2.5", "1", "xe")
    # Eight virtual functions go on into the next device number.
    physical = f"{SWITCH}/0000:42:00.0/0000:50:00.0/0000:51:01.0/{B60}"
    names = [f"0000:52:{number // 8:02x}.{number % 8}" for number in range(1, vfs + 1)]
    for name in names:
        add(physical.replace(B60, name), "8086:E211", "30000", "2.5", "1", "xe")
    links = {f"{physical.replace(B60, name)}/physfn": f"../{B60}" for name in names}
    return DictHost(files, udev=udev, links=links)


@cache
def read(vfs: int = 0) -> Machine:
    return probe_machine(make_host(vfs))


def find(bdf: str, vfs: int = 0) -> Device:
    return next(device for device in read(vfs).devices if device.bdf == bdf)


@pytest.mark.parametrize(
    ("bdf", "read_at", "speed", "width"),
    [
        (B60, "0000:50:00.0", 16.0, 8),
        (A770, "0000:54:00.0", 16.0, 16),
        (NEW, "0000:58:00.0", 16.0, 8),
        (MAX, MAX, 32.0, 16),
        (BARE, BARE, 32.0, 16),
    ],
)
def test_the_link_is_read_where_the_card_begins(bdf: str, read_at: str, speed: float, width: int) -> None:
    link = find(bdf).link
    assert link is not None
    assert (link.read_at, link.current_speed_gts, link.current_width) == (read_at, speed, width)
    others = sorted({B60, A770, NEW, MAX, BARE} - {bdf})
    assert link.note.startswith("shares the link 0000:40:01.0 to 0000:41:00.0 with ")
    assert sorted(link.note.partition(" with ")[2].split("; ")[0].split(", ")) == others


def test_all_meet_in_that_switch_and_new_ids_are_named_as_what_they_are() -> None:
    machine = read()
    assert machine.topology is not None
    assert {symbol for row in machine.topology.matrix for symbol in row} == {"SELF", "PIX", "TILE"}
    assert set(machine.topology.common.values()) == {"0000:41:00.0"}
    assert [device.name for device in machine.devices if not device.known] == [
        "Intel GPU (unknown SKU 0xFFF0)",
        "Intel GPU (unknown SKU 0xFFF1)",
    ]


def test_virtual_functions_are_no_rivals_of_their_own_card() -> None:
    rivals = {A770, NEW, MAX, BARE}
    functions = [device for device in read(9).devices if device.bdf.startswith("0000:52:")]
    assert [device.virtual_function for device in functions] == [False] + [True] * 9
    assert functions[-1].bdf == "0000:52:01.1"
    for device in functions:
        assert device.link is not None
        assert device.link.read_at == "0000:50:00.0"
        assert set(device.link.note.partition(" with ")[2].split("; ")[0].split(", ")) == rivals
