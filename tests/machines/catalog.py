"""The machines that probe is tested on. Each function builds one from scratch."""

from __future__ import annotations

from collections.abc import Callable

from tests.machines.cards import (
    B60,
    B580,
    GIB,
    MIB,
    SWITCH_ACS,
    SWITCH_ACS_OFF,
    add_alchemist,
    add_battlemage,
    add_bmc,
    add_i915_debugfs,
    add_i915_module,
    add_max,
    add_nic,
    add_nvme,
    add_xe_module,
    describe_i915_gt,
)
from tests.machines.stacks import (
    BARE,
    DATA_CENTER,
    DESKTOP_WITHOUT_GROUP,
    GUEST,
    PLAIN,
    SERVER,
    SERVER_WITHOUT_GROUP,
    SERVER_XPU_SMI_2,
    WORKSTATION,
    Stack,
)
from tests.machines.umockdev_builder import Bar, MockMachine, Port, Speed

_ROOT_PORT = "8086:352a"  # Xeon (Sapphire Rapids) root port
_PEX_GEN4 = "1000:c010"
_PEX_GEN5 = "1000:c030"
_SLOT = Speed(5, 16)


def _root(machine: MockMachine, bdf: str, node: int, most: Speed = _SLOT, now: Speed | None = None) -> Port:
    return machine.add_bridge(None, bdf, _ROOT_PORT, "root-port", most=most, now=now, numa_node=node, acs=SWITCH_ACS)


def build_b60x4_bmc() -> MockMachine:
    """Four Arc Pro B60 on one socket; the BMC is card0; the card in the last slot trained to x4."""
    machine = MockMachine("b60x4_bmc", "4x Arc Pro B60, one socket, BMC as card0", hostname="b60-four")
    machine.add_processors(sockets=1, cores=32)
    add_xe_module(machine)
    add_bmc(machine, _root(machine, "0000:00:1c.0", 0, Speed(2, 1)), 1, card=0)
    for index, bus in enumerate((0x15, 0x37, 0x59, 0x7B)):
        now = Speed(5, 4) if index == 3 else Speed(5, 8)
        slot = _root(machine, f"0000:{bus:02x}:01.0", 0, now=now)
        add_battlemage(
            machine, slot, bus + 1, card=index + 1, render=128 + index, hwmon=index, now=now, throttled=index == 1
        )
    add_nvme(machine, _root(machine, "0000:00:1d.0", 0, Speed(4, 4)), "0000:05:00.0")
    return machine


def build_b60x8_2s() -> MockMachine:
    """Eight B60 on two sockets: four behind a Gen4 switch with ACS redirection, four in slots of their own."""
    machine = MockMachine("b60x8_2s", "8x Arc Pro B60, two sockets, one PCIe switch", memory_bytes=1 << 40)
    machine.add_processors(sockets=2, cores=48)
    add_xe_module(machine)
    add_bmc(machine, _root(machine, "0000:00:1c.0", 0, Speed(2, 1)), 1, card=0)
    root = _root(machine, "0000:16:01.0", 0, now=Speed(4, 16))
    switch = machine.add_bridge(root, "0000:17:00.0", _PEX_GEN4, "upstream", most=Speed(4, 16))
    for index in range(4):
        port = machine.add_bridge(
            switch,
            f"0000:18:{index * 4:02x}.0",
            _PEX_GEN4,
            "downstream",
            most=Speed(4, 16),
            now=Speed(4, 8),
            acs=SWITCH_ACS,
        )
        add_battlemage(
            machine,
            port,
            0x19 + index * 4,
            card=index + 1,
            render=128 + index,
            hwmon=index,
            now=Speed(4, 8),
        )
    for index, bus in enumerate((0x97, 0xA8, 0xC0, 0xD8)):
        slot = _root(machine, f"0000:{bus:02x}:01.0", 1, now=Speed(5, 8))
        add_battlemage(machine, slot, bus + 1, card=index + 5, render=132 + index, hwmon=index + 4)
    add_nic(machine, _root(machine, "0000:38:01.0", 0), "0000:39:00.0")
    add_nic(machine, _root(machine, "0000:e0:01.0", 1), "0000:e1:00.0")
    add_nvme(machine, _root(machine, "0000:6a:01.0", 0, Speed(4, 4)), "0000:6b:00.0")
    return machine


def build_dual_card() -> MockMachine:
    """One card with two B60 behind a switch, in an x16 slot that runs at Gen4."""
    machine = MockMachine("dual_card", "a dual-GPU card behind a switch", memory_bytes=128 << 30)
    machine.add_processors(sockets=1, cores=16)
    add_xe_module(machine)
    root = _root(machine, "0000:00:01.0", 0, Speed(4, 16))
    switch = machine.add_bridge(
        root, "0000:01:00.0", _PEX_GEN5, "upstream", most=Speed(5, 16), now=Speed(4, 16), aer={"BadTLP": 3}
    )
    for index in range(2):
        port = machine.add_bridge(
            switch,
            f"0000:02:{index:02x}.0",
            _PEX_GEN5,
            "downstream",
            most=Speed(5, 8),
            acs=SWITCH_ACS_OFF,
        )
        add_battlemage(machine, port, 3 + index * 4, card=index, render=128 + index, hwmon=index)
    return machine


def _build_desktop(name: str, description: str, bar_bytes: int) -> MockMachine:
    """A desktop whose integrated GPU is card0 and whose firmware says nothing about NUMA."""
    machine = MockMachine(
        name,
        description,
        kernel="6.8.0-60-generic",
        memory_bytes=64 << 30,
        hostname="desktop",
        cpu_model="13th Gen Intel(R) Core(TM) i7-13700K",
    )
    machine.add_processors(sockets=1, cores=8)
    add_i915_module(machine)
    integrated = machine.add_endpoint(
        None,
        "0000:00:02.0",
        "8086:a780",
        class_code="030000",
        driver="i915",
        subsystem="1043:8882",
        revision=4,
        bars={0: Bar(16 * MIB, flags=0x00140204), 2: Bar(256 * MIB)},
        attributes={"sriov_numvfs": "0", "sriov_totalvfs": "7"},
        database=("Intel Corporation", "Raptor Lake-S GT1 [UHD Graphics 770]"),
    )
    machine.add_drm(integrated, 0, 128, attributes=describe_i915_gt(0, top=1650, actual=350), outputs=2)
    add_i915_debugfs(machine, 0, guc="70.29.2", huc="7.9.3", dmc="2.20")
    slot = machine.add_bridge(
        None, "0000:00:01.0", "8086:a70d", "root-port", most=Speed(5, 16), now=Speed(4, 16), acs=(0x1F, 0)
    )
    add_alchemist(machine, slot, 1, card=1, render=129, bar_bytes=bar_bytes)
    return machine


def build_a770() -> MockMachine:
    return _build_desktop("a770", "Arc A770 in a desktop, resizable BAR on", 16 * GIB)


def build_a770_small_bar() -> MockMachine:
    machine = _build_desktop("a770_small_bar", "Arc A770 in a desktop, resizable BAR off", 256 * MIB)
    machine.user = "alex"
    return machine


def build_max1550() -> MockMachine:
    """Two Max 1550, one on each socket, four NUMA nodes; out-of-tree driver."""
    machine = MockMachine(
        "max1550",
        "2x Data Center GPU Max 1550 (two tiles each)",
        kernel="5.15.0-1063-intel",
        memory_bytes=1 << 40,
        release=("22.04", "Ubuntu 22.04.5 LTS"),
        cpu_model="Intel(R) Xeon(R) Platinum 8470",
    )
    machine.add_processors(sockets=2, cores=52, nodes_per_socket=2)
    add_i915_module(machine, version="1.24.5.15.250105")
    for index, (bus, node) in enumerate(((0x29, 0), (0xA9, 2))):
        slot = _root(machine, f"0000:{bus:02x}:01.0", node)
        add_max(machine, slot, bus + 1, card=index, render=128 + index, hwmon=index * 3)
    return machine


def build_unknown_id() -> MockMachine:
    """A card newer than our table, with a switch whose ids we do not know either."""
    machine = MockMachine("unknown_id", "an Intel GPU that the table does not hold", kernel="7.2.0")
    machine.add_processors(sockets=1, cores=16)
    add_xe_module(machine)
    slot = _root(machine, "0000:00:01.0", 0)
    add_battlemage(
        machine, slot, 1, card=0, render=128, ids="8086:f0a1", up="8086:f0fe", downs=("8086:f0f0", "8086:f0f1"), hwmon=0
    )
    return machine


def build_unbound() -> MockMachine:
    """One B60 without a driver, one given to vfio-pci."""
    machine = MockMachine("unbound", "a B60 without driver and one bound to vfio-pci", kernel="6.8.0-60-generic")
    machine.add_processors(sockets=1, cores=16)
    machine.add_module("vfio_pci", {"ids": "8086:e211", "disable_idle_d3": "N"}, version="0.2")
    for bus, driver in ((0x15, ""), (0x37, "vfio-pci")):
        slot = _root(machine, f"0000:{bus:02x}:01.0", 0, now=Speed(5, 8))
        add_battlemage(machine, slot, bus + 1, card=0, render=None, driver=driver)
    return machine


def build_vm() -> MockMachine:
    """A virtual machine with one B60 passed through; the card's switch stays with the host."""
    machine = MockMachine("vm", "a virtual machine with a B60 passed through", iommu=False, memory_bytes=64 << 30)
    machine.hostname = "guest"
    machine.cpu_flags += " hypervisor"
    for name, value in (("sys_vendor", "QEMU"), ("product_name", "Standard PC (Q35 + ICH9, 2009)")):
        machine.files[f"class/dmi/id/{name}"] = value
    machine.add_processors(sockets=1, cores=8, threads=1)
    add_xe_module(machine)
    screen = machine.add_endpoint(
        None,
        "0000:00:01.0",
        "1234:1111",
        class_code="030000",
        driver="bochs-drm",
        subsystem="1af4:1100",
        bars={0: Bar(16 * MIB, flags=0x00042208)},
    )
    machine.add_drm(screen, 0, None)
    virtual = machine.add_bridge(None, "0000:00:02.0", "1b36:000c", "root-port", most=Speed(4, 32))
    gpu = machine.add_endpoint(
        virtual,
        "0000:01:00.0",
        B60.ids,
        class_code="030000",
        driver="xe",
        subsystem=B60.subsystem,
        bars={0: Bar(16 * MIB), 2: Bar(32 * GIB)},
        attributes={"tile0/physical_vram_size_bytes": str(24 * GIB), "tile0/gt0/freq0/max_freq": "2400"},
    )
    machine.add_drm(gpu, 1, 128)
    return machine


def build_sriov() -> MockMachine:
    """A B60 with two virtual functions: one at work under xe, one for a guest under xe-vfio-pci."""
    machine = MockMachine("sriov", "a B60 with two SR-IOV virtual functions", kernel="6.19.0")
    machine.add_processors(sockets=1, cores=16)
    add_xe_module(machine)
    slot = _root(machine, "0000:15:01.0", 0, now=Speed(5, 8))
    physical = add_battlemage(machine, slot, 0x16, card=0, render=128, vfs=2)
    parent = Port(bdf="0000:17:01.0", path=physical.path.rpartition("/")[0], numa_node=0)
    for number, driver in ((1, "xe"), (2, "xe-vfio-pci")):
        virtual = machine.add_endpoint(
            parent,
            f"0000:18:00.{number}",
            B60.ids,
            class_code="030000",
            driver=driver,
            subsystem=B60.subsystem,
            bars={0: Bar(16 * MIB), 2: Bar(8 * GIB)},
            links={"physfn": f"../{physical.bdf}"},
        )
        if driver == "xe":
            machine.add_drm(virtual, 1, 129)
    return machine


def build_b580() -> MockMachine:
    """A healthy workstation with one Arc B580: nothing to complain about."""
    machine = MockMachine(
        "b580",
        "Arc B580 in a workstation, healthy",
        kernel="6.17.0-8-generic",
        memory_bytes=64 << 30,
        hostname="workstation",
        iommu=False,
        cpu_model="Intel(R) Core(TM) Ultra 7 265K",
    )
    machine.add_processors(sockets=1, cores=20, threads=1)
    add_xe_module(machine)
    slot = machine.add_bridge(
        None, "0000:00:01.0", "8086:7ecc", "root-port", most=Speed(5, 16), now=Speed(4, 8), numa_node=-1
    )
    add_battlemage(machine, slot, 1, card=0, render=128, board=B580)
    return machine


def build_b60_x4_slot() -> MockMachine:
    """A B60 in a slot with four lanes of an older board that saves power: the link is as good as it can be there."""
    machine = MockMachine(
        "b60_x4_slot",
        "Arc Pro B60 in an x4 slot, power saving on",
        kernel="6.14.0-1011-intel",
        memory_bytes=64 << 30,
        hostname="small-box",
        iommu=False,
        cpu_model="13th Gen Intel(R) Core(TM) i5-13500",
    )
    machine.add_processors(sockets=1, cores=8)
    add_xe_module(machine)
    machine.files["module/pcie_aspm/parameters/policy"] = "default performance [powersave] powersupersave"
    slot = machine.add_bridge(
        None, "0000:00:1b.4", "8086:7a44", "root-port", most=Speed(4, 4), numa_node=-1, aer={"RxErr": 41, "Rollover": 2}
    )
    gpu = add_battlemage(machine, slot, 3, card=0, render=128, now=Speed(4, 4))
    card = next(node for node in machine.nodes if node.path.endswith("/0000:03:00.0"))
    card.attributes |= {"link/l0s_aspm": "0", "link/l1_aspm": "1", "link/l1_1_aspm": "0", "link/l1_2_aspm": "0"}
    # It hung lately, and the driver kept a dump.
    machine.files["class/devcoredump/devcd1/data"] = "**** Xe Device Coredump ****"
    machine.links["class/devcoredump/devcd1/failing_device"] = f"../../..{gpu.path}"
    return machine


def build_b60_no_render() -> MockMachine:
    """Two B60 and a user who is not in the group render."""
    machine = MockMachine("b60_no_render", "2x Arc Pro B60, user outside of render", kernel="6.14.0-1011-intel")
    machine.user = "maria"
    machine.add_processors(sockets=1, cores=24)
    add_xe_module(machine)
    for index, bus in enumerate((0x15, 0x37)):
        slot = _root(machine, f"0000:{bus:02x}:01.0", 0, now=Speed(5, 8))
        add_battlemage(machine, slot, bus + 1, card=index, render=128 + index, hwmon=index)
    return machine


MACHINES: dict[str, Callable[[], MockMachine]] = {
    "b60x4_bmc": build_b60x4_bmc,
    "b60x8_2s": build_b60x8_2s,
    "dual_card": build_dual_card,
    "a770": build_a770,
    "a770_small_bar": build_a770_small_bar,
    "max1550": build_max1550,
    "unknown_id": build_unknown_id,
    "unbound": build_unbound,
    "vm": build_vm,
    "sriov": build_sriov,
    "b580": build_b580,
    "b60_x4_slot": build_b60_x4_slot,
    "b60_no_render": build_b60_no_render,
}

STACKS: dict[str, Stack] = {
    "b60x4_bmc": SERVER_XPU_SMI_2,
    "b60x8_2s": SERVER,
    "dual_card": WORKSTATION,
    "a770": WORKSTATION,
    "a770_small_bar": DESKTOP_WITHOUT_GROUP,
    "max1550": DATA_CENTER,
    "unknown_id": PLAIN,
    "unbound": BARE,
    "vm": GUEST,
    "sriov": PLAIN,
    "b580": PLAIN,
    "b60_x4_slot": PLAIN,
    "b60_no_render": SERVER_WITHOUT_GROUP,
}
"""The software of each machine."""
