"""Graphics cards as their kernel drivers show them: bridges of the card, GPU, DRM nodes, clocks, sensors, debugfs."""

from __future__ import annotations

from dataclasses import dataclass

from tests.machines.umockdev_builder import (
    ACS_LINUX,
    MEM_32,
    MEM_64,
    Bar,
    MockMachine,
    Port,
    Speed,
)

MIB = 1 << 20
GIB = 1 << 30
DG2_SWITCH = "8086:4fa0"
# Sizes that a card with a 16 GiB or 32 GiB window offers: 256 MiB and every power of two up to that.
OFFERS_16G = 0x7F00
OFFERS_32G = 0xFF00

_UC = (
    "{name} firmware: {path}\n\tstatus: {status}\n\twanted release version {wanted}\n"
    "\tfound release version {found}\n\tfound compatibility version 1.26.4\n\tuCode: 452160 bytes\n\tRSA: 384 bytes\n"
)
_UC_I915 = (
    "{name} firmware: {path}\n\tstatus: RUNNING\n\tversion: found {found}\n\tuCode: 374080 bytes\n\tRSA: 256 bytes\n"
)


@dataclass(frozen=True)
class Battlemage:
    """A board of the Battlemage family. `ids` are those of the GPU."""

    ids: str
    subsystem: str
    link: Speed
    memory_bytes: int
    bar_bytes: int
    offers: int
    database: str = "Battlemage G21 [Arc Pro B60]"


B60 = Battlemage("8086:e211", "8086:1703", Speed(5, 8), 24 * GIB, 32 * GIB, OFFERS_32G)
B580 = Battlemage("8086:e20b", "8086:1100", Speed(4, 8), 12 * GIB, 16 * GIB, OFFERS_16G, "Battlemage G21 [Arc B580]")


def add_card_switch(
    machine: MockMachine, slot: Port, bus: int, up: str, downs: tuple[str, str], link: Speed, now: Speed | None = None
) -> tuple[Port, Port, Port]:
    """The switch of an Intel card: upstream port, and downstream ports for the GPU and its audio function."""
    domain = slot.bdf[:4]
    upstream = machine.add_bridge(slot, f"{domain}:{bus:02x}:00.0", up, "upstream", most=link, now=now)
    least = Speed(1, 1)
    ports = [
        machine.add_bridge(
            upstream, f"{domain}:{bus + 1:02x}:{device:02x}.0", ids, "downstream", most=least, acs=(0x5F, 0)
        )
        for device, ids in zip((1, 4) if up == DG2_SWITCH else (1, 2), downs, strict=True)
    ]
    return upstream, ports[0], ports[1]


def add_battlemage(
    machine: MockMachine,
    slot: Port,
    bus: int,
    *,
    card: int,
    render: int | None,
    board: Battlemage = B60,
    driver: str = "xe",
    now: Speed | None = None,
    hwmon: int = 0,
    bar_bytes: int | None = None,
    vfs: int = 0,
    throttled: bool = False,
    ids: str = "",
    up: str = "8086:e2ff",
    downs: tuple[str, str] = ("8086:e2f0", "8086:e2f1"),
) -> Port:
    """A Battlemage card in a slot, its buses numbered from `bus`; everything of the driver's only if it is xe."""
    domain = slot.bdf[:4]
    _, gpu_port, audio_port = add_card_switch(machine, slot, bus, up, downs, board.link, now)
    attributes = {}
    if driver == "xe":
        attributes = {
            "tile0/physical_vram_size_bytes": str(board.memory_bytes),
            "vram_d3cold_threshold": "300",
            "auto_link_downgrade_capable": "1",
            "auto_link_downgrade_status": "0",
            "lb_fan_control_version": "203.0.0.0",
            "lb_voltage_regulator_version": "105.3.0.0",
            **describe_xe_gt("tile0/gt0", "gt0-rc", top=2400, actual=1900, throttled=throttled),
            **describe_xe_gt("tile0/gt1", "gt1-mc", top=1500, actual=0),
        }
    attributes |= {"sriov_numvfs": str(vfs), "sriov_totalvfs": "24", "enable": "1", "d3cold_allowed": "1"}
    gpu = machine.add_endpoint(
        gpu_port,
        f"{domain}:{bus + 2:02x}:00.0",
        ids or board.ids,
        class_code="030000",
        driver=driver,
        subsystem=board.subsystem,
        bars={
            0: Bar(16 * MIB),
            2: Bar(bar_bytes or board.bar_bytes, resize=board.offers),
            6: Bar(2 * MIB, flags=MEM_32),
        },
        attributes=attributes,
        database=("Intel Corporation", board.database) if not ids else ("Intel Corporation", ""),
    )
    machine.add_endpoint(
        audio_port,
        f"{domain}:{bus + 3:02x}:00.0",
        "8086:e2f7",
        class_code="040300",
        driver="snd_hda_intel",
        bars={0: Bar(16 << 10, flags=MEM_64)},
    )
    if driver == "xe":
        machine.add_drm(gpu, card, render, outputs=2)
        add_xe_hwmon(machine, gpu, hwmon)
        add_xe_debugfs(machine, gpu.bdf, card, board.memory_bytes)
    return gpu


def describe_xe_gt(path: str, name: str, *, top: int, actual: int, throttled: bool = False) -> dict[str, str]:
    """freq0, throttle and gtidle of one GT under xe."""
    reasons = ("pl1", "pl2", "pl4", "prochot", "ratl", "thermal", "vr_tdc", "vr_thermalert")
    found = {
        f"{path}/freq0/act_freq": actual,
        f"{path}/freq0/cur_freq": actual or 400,
        f"{path}/freq0/max_freq": top,
        f"{path}/freq0/min_freq": 400,
        f"{path}/freq0/rp0_freq": top,
        f"{path}/freq0/rpe_freq": 1150,
        f"{path}/freq0/rpn_freq": 400,
        f"{path}/freq0/throttle/status": int(throttled),
    }
    found |= {f"{path}/freq0/throttle/reason_{why}": int(throttled and why == "pl1") for why in reasons}
    texts = {key: str(value) for key, value in found.items()}
    return texts | {f"{path}/gtidle/name": name, f"{path}/gtidle/idle_status": "gt-c0"}


def add_xe_hwmon(machine: MockMachine, gpu: Port, number: int) -> None:
    """The hwmon chip of xe on Battlemage (kernel 6.16)."""
    values = {
        "name": "xe",
        "energy1_input": "81239412345",
        "energy1_label": "card",
        "energy2_input": "60239412345",
        "energy2_label": "pkg",
        "fan1_input": "1180",
        "in1_input": "843",
        "in1_label": "pkg",
        "power1_cap": "240000000",
        "power1_crit": "400000000",
        "power1_label": "card",
        "power1_max": "200000000",
        "power1_max_interval": "28000",
        "power2_cap": "200000000",
        "power2_label": "pkg",
        "power2_max": "120000000",
        "temp2_input": "52000",
        "temp2_label": "pkg",
        "temp3_input": "58000",
        "temp3_label": "vram",
    }
    machine.add_hwmon(gpu, number, values)


def add_xe_debugfs(machine: MockMachine, bdf: str, card: int, memory_bytes: int) -> None:
    """debugfs of xe: GuC on both GTs, HuC and GSC on the media GT, DMC, VRAM manager."""
    guc = _UC.format(name="GuC", path="xe/bmg_guc_70.bin", status="RUNNING", wanted="70.44.1", found="70.49.4")
    huc = _UC.format(name="HuC", path="xe/bmg_huc.bin", status="RUNNING", wanted="8.2.10", found="8.2.10")
    for place in (bdf, str(card)):
        base = f"kernel/debug/dri/{place}"
        machine.files[f"{base}/name"] = f"xe dev={bdf} unique={bdf}\n"
        machine.files[f"{base}/gt0/uc/guc_info"] = guc + "\nGuC status 0x8002f034:\n"
        machine.files[f"{base}/gt0/uc/huc_info"] = "HuC firmware: N/A\n\tstatus: N/A\n"
        machine.files[f"{base}/gt1/uc/guc_info"] = guc + "\nGuC status 0x8002f034:\n"
        machine.files[f"{base}/gt1/uc/huc_info"] = huc
        machine.files[f"{base}/i915_dmc_info"] = (
            "DMC initialized: yes\nfw loaded: yes\npath: i915/bmg_dmc.bin\nPipe A fw needed: yes\n"
            "Pipe A fw loaded: yes\nversion: 2.6\nDC3CO count: 0\n"
        )
        machine.files[f"{base}/vram0_mm"] = (
            f"  use_type: 1\n  use_tt: 0\n  size: {memory_bytes - 900 * MIB}\n"
            "  usage: 21565440\ndefault_page_size: 4KiB\n"
        )


def add_alchemist(
    machine: MockMachine, slot: Port, bus: int, *, card: int, render: int, bar_bytes: int, hwmon: int = 0
) -> Port:
    """An Arc A770 16 GB under the kernel's i915."""
    domain = slot.bdf[:4]
    _, gpu_port, audio_port = add_card_switch(machine, slot, bus, DG2_SWITCH, ("8086:4fa4", "8086:4fa4"), Speed(4, 16))
    gpu = machine.add_endpoint(
        gpu_port,
        f"{domain}:{bus + 2:02x}:00.0",
        "8086:56a0",
        class_code="030000",
        driver="i915",
        subsystem="1025:3888",
        revision=8,
        bars={
            0: Bar(16 * MIB, flags=MEM_64),
            2: Bar(bar_bytes, resize=OFFERS_16G),
            6: Bar(2 * MIB, flags=MEM_32),
        },
        attributes={"sriov_numvfs": "0", "sriov_totalvfs": "0"},
        database=("Intel Corporation", "DG2 [Arc A770]"),
    )
    machine.add_endpoint(
        audio_port,
        f"{domain}:{bus + 3:02x}:00.0",
        "8086:4f90",
        class_code="040300",
        driver="snd_hda_intel",
        bars={0: Bar(16 << 10, flags=MEM_64)},
    )
    machine.add_drm(gpu, card, render, attributes=describe_i915_gt(0, top=2400, actual=600), outputs=3)
    machine.add_hwmon(
        gpu,
        hwmon,
        {
            "name": "i915",
            "energy1_input": "5123456789",
            "in0_input": "605",
            "power1_max": "190000000",
            "power1_rated_max": "190000000",
            "power1_crit": "320000000",
        },
    )
    add_i915_debugfs(machine, card, guc="70.29.2", huc="7.10.16", dmc="2.8")
    return gpu


def describe_i915_gt(number: int, *, top: int, actual: int) -> dict[str, str]:
    """gt/gtN of i915's card directory."""
    base = f"gt/gt{number}"
    reasons = ("pl1", "pl2", "pl4", "prochot", "ratl", "status", "thermal", "vr_tdc", "vr_thermalert")
    values = {
        f"{base}/id": number,
        f"{base}/rps_act_freq_mhz": actual,
        f"{base}/rps_cur_freq_mhz": actual,
        f"{base}/rps_min_freq_mhz": 300,
        f"{base}/rps_max_freq_mhz": top,
        f"{base}/rps_boost_freq_mhz": top,
        f"{base}/rps_RP0_freq_mhz": top,
        f"{base}/rps_RPn_freq_mhz": 300,
        f"{base}/rc6_enable": 1,
    }
    values |= {f"{base}/throttle_reason_{why}": 0 for why in reasons}
    return {key: str(value) for key, value in values.items()}


def add_i915_debugfs(machine: MockMachine, card: int, *, guc: str, huc: str, dmc: str = "", gts: int = 1) -> None:
    """debugfs of i915, which names the directory by card number."""
    base = f"kernel/debug/dri/{card}"
    for gt in range(gts):
        machine.files[f"{base}/gt{gt}/uc/guc_info"] = _UC_I915.format(name="GuC", path="i915/dg2_guc_70.bin", found=guc)
        if huc:
            machine.files[f"{base}/gt{gt}/uc/huc_info"] = _UC_I915.format(
                name="HuC", path="i915/dg2_huc_gsc.bin", found=huc
            )
    if dmc:
        machine.files[f"{base}/i915_dmc_info"] = (
            f"DMC initialized: yes\nfw loaded: yes\npath: i915/dg2_dmc_ver2_08.bin\nversion: {dmc}\n"
        )


def add_max(machine: MockMachine, slot: Port, bus: int, *, card: int, render: int, hwmon: int) -> Port:
    """A Data Center GPU Max 1550 under Intel's out-of-tree i915: no switch on the card, two tiles, 128 GB."""
    gpu = machine.add_endpoint(
        slot,
        f"{slot.bdf[:4]}:{bus:02x}:00.0",
        "8086:0bd5",
        class_code="038000",
        driver="i915",
        subsystem="8086:0000",
        revision=0x2F,
        most=Speed(5, 16),
        bars={
            0: Bar(1 << 30),
            2: Bar(128 * GIB, resize=0x3FF00),
        },
        attributes={"sriov_numvfs": "0", "sriov_totalvfs": "63"},
        database=("Intel Corporation", "Ponte Vecchio XT (2 Tile) [Data Center GPU Max 1550]"),
    )
    attributes = {"lmem_total_bytes": str(128 * GIB), "prelim_csc_unique_id": "0"}
    for tile in range(2):
        attributes |= describe_i915_gt(tile, top=1600, actual=1550)
    machine.add_drm(gpu, card, render, attributes=attributes)
    machine.add_hwmon(
        gpu,
        hwmon,
        {
            "name": "i915",
            "energy1_input": "991239412345",
            "curr1_crit": "1000000",
            "power1_max": "600000000",
            "power1_rated_max": "600000000",
        },
    )
    for tile in range(2):
        machine.add_hwmon(gpu, hwmon + 1 + tile, {"name": f"i915_gt{tile}", "energy1_input": f"39123941234{tile}"})
    add_i915_debugfs(machine, card, guc="70.6.4", huc="", gts=2)
    return gpu


def add_bmc(machine: MockMachine, root: Port, bus: int, *, card: int) -> Port:
    """An ASPEED board management controller behind its bridge: a display that is nobody's GPU."""
    domain = root.bdf[:4]
    bridge = machine.add_bridge(root, f"{domain}:{bus:02x}:00.0", "1a03:1150", "bridge", most=Speed(2, 1))
    bmc = machine.add_endpoint(
        bridge,
        f"{domain}:{bus + 1:02x}:00.0",
        "1a03:2000",
        class_code="030000",
        driver="ast",
        subsystem="1a03:2000",
        most=Speed(2, 1),
        bars={0: Bar(64 * MIB, flags=MEM_32)},
        database=("ASPEED Technology, Inc.", "ASPEED Graphics Family"),
    )
    machine.add_drm(bmc, card, None, outputs=1)
    return bmc


def add_nvme(machine: MockMachine, root: Port, bdf: str) -> Port:
    """An NVMe drive."""
    return machine.add_endpoint(
        root,
        bdf,
        "144d:a80c",
        class_code="010802",
        driver="nvme",
        subsystem="144d:a801",
        most=Speed(4, 4),
        bars={0: Bar(16 << 10, flags=MEM_64)},
        database=("Samsung Electronics Co Ltd", "NVMe SSD Controller S4LV008[Pascal]"),
    )


def add_nic(machine: MockMachine, root: Port, bdf: str) -> Port:
    """A network card."""
    return machine.add_endpoint(
        root,
        bdf,
        "15b3:1021",
        class_code="020000",
        driver="mlx5_core",
        subsystem="15b3:0023",
        most=Speed(5, 16),
        bars={0: Bar(32 * MIB)},
        database=("Mellanox Technologies", "MT2910 Family [ConnectX-7]"),
    )


def add_xe_module(machine: MockMachine) -> None:
    """The xe module with its parameters."""
    machine.add_module(
        "xe",
        {
            "force_execlist": "N",
            "force_probe": "",
            "guc_log_level": "-1",
            "max_vfs": "0",
            "probe_display": "Y",
            "svm_notifier_size": "512",
            "vram_bar_size": "0",
            "wedged_mode": "1",
        },
    )


def add_i915_module(machine: MockMachine, version: str = "") -> None:
    """The i915 module with some of its parameters."""
    machine.add_module(
        "i915", {"enable_guc": "-1", "force_probe": "*", "lmem_bar_size": "0", "modeset": "-1"}, version=version
    )


SWITCH_ACS = (0x5F, ACS_LINUX)
SWITCH_ACS_OFF = (0x5F, 0x00)
