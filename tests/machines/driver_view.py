"""The GPUs of a described machine as Intel's user-space driver and tools show them.

Names, sizes and forms are those that the tools print (xpu-smi's and sycl-ls's documentation, tests/data); the values
of a card come from the machine's description, so that all sources agree where a healthy machine's do.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.machines.umockdev_builder import SPEEDS, MockMachine, Node

_GENERATIONS = {f"{speed} GT/s PCIe": number for number, speed in SPEEDS.items()}


@dataclass(frozen=True)
class Model:
    """A product as the driver describes it; `settings` are keys of the fake driver (tests/native/build.py)."""

    name: str
    memory_mib: int
    clock_mhz: int
    gfx_firmware: str = ""
    tiles: int = 0
    ip_version: str = "20.1.0"
    integrated: bool = False
    settings: Mapping[str, int] = field(default_factory=dict)


MODELS = {
    "e211": Model(
        "Intel(R) Arc(TM) Pro B60 Graphics", 24480, 2400, "BMG__21.1156",
        settings={"slices": 5, "subslices": 4, "eus": 8, "bus_width": 192, "memory_clock": 2375},
    ),
    "e20b": Model(
        "Intel(R) Arc(TM) B580 Graphics", 12216, 2850, "BMG__21.1156",
        settings={"slices": 5, "subslices": 4, "eus": 8, "bus_width": 192, "memory_clock": 2375},
    ),
    "f0a1": Model("Intel(R) Graphics [0xf0a1]", 24480, 2400, "NEW__1.1001", ip_version="35.0.0"),
    "56a0": Model(
        "Intel(R) Arc(TM) A770 Graphics", 15473, 2400, "DG02_1.3267", ip_version="12.55.8",
        settings={"slices": 8, "subslices": 8, "eus": 8, "bus_width": 256, "memory_clock": 2187},
    ),
    "a780": Model(
        "Intel(R) UHD Graphics 770", 59511, 1650, ip_version="12.2.0", integrated=True,
        settings={"slices": 1, "subslices": 2, "eus": 16, "bus_width": 64, "memory_clock": 0},
    ),
    "0bd5": Model(
        "Intel(R) Data Center GPU Max 1550", 131072, 1600, "PVC2_1.23374", tiles=2, ip_version="12.60.7",
        settings={"slices": 2, "subslices": 64, "eus": 8, "bus_width": 8192, "ecc": 1, "fabric_ports": 4},
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Gpu:
    """One GPU of a machine that a compute driver has."""

    bdf: str
    device_id: str
    model: Model
    card: str
    memory_mib: int
    is_virtual: bool
    clock_mhz: int
    throttled: bool
    link_gen: int
    link_width: int

    @property
    def uuid(self) -> bytes:
        """As the driver makes it: vendor, device, revision, domain, bus, device, function."""
        bus, device, function = int(self.bdf[5:7], 16), int(self.bdf[8:10], 16), int(self.bdf[11])
        number = int(self.device_id, 16)
        return bytes((0x86, 0x80, number & 0xFF, number >> 8, 0, 0, 0, 0, bus, device, function)) + bytes(5)


def list_gpus(machine: MockMachine) -> list[Gpu]:
    """All GPUs under xe or i915, by PCI address."""
    by_path = {node.path: node for node in machine.nodes}
    found = []
    for node in machine.nodes:
        properties = node.properties
        if properties.get("DRIVER") not in ("xe", "i915") or not properties.get("PCI_ID", "").startswith("8086:"):
            continue
        device_id = properties["PCI_ID"].partition(":")[2].lower()
        model = MODELS[device_id]
        card_path = next(path for path in sorted(by_path) if path.startswith(f"{node.path}/drm/card"))
        attributes = {**node.attributes, **by_path[card_path].attributes}
        clock = attributes.get("tile0/gt0/freq0/act_freq") or attributes.get("gt/gt0/rps_act_freq_mhz") or "400"
        port = _find_card_port(node, by_path)
        found.append(
            Gpu(
                bdf=properties["PCI_SLOT_NAME"],
                device_id=device_id,
                model=model,
                card=card_path.rpartition("/")[2],
                memory_mib=8000 if "physfn" in node.links else model.memory_mib,
                is_virtual="physfn" in node.links,
                clock_mhz=int(clock),
                throttled=attributes.get("tile0/gt0/freq0/throttle/reason_pl1") == "1",
                link_gen=0 if model.integrated else _GENERATIONS[port.attributes["current_link_speed"]],
                link_width=0 if model.integrated else int(port.attributes["current_link_width"]),
            )
        )
    return sorted(found, key=lambda gpu: gpu.bdf)


def _find_card_port(node: Node, by_path: Mapping[str, Node]) -> Node:
    """Where the driver reads the link: the upstream port of the card's own switch, if it has one."""
    physical = node.links.get("physfn", "").rpartition("/")[2]
    if physical:
        node = next(other for other in by_path.values() if other.path.endswith(f"/{physical}"))
    if node.attributes["max_link_width"] != "1":
        return node
    above = by_path.get(node.path.rpartition("/")[0].rpartition("/")[0])
    return above if above is not None and "current_link_speed" in above.attributes else node


def order_gpus(machine: MockMachine, order: tuple[int, ...]) -> list[Gpu]:
    """The driver's order: `order` are places in PCI order; () is discrete GPUs first, each kind by PCI address."""
    gpus = list_gpus(machine)
    if order:
        return [gpus[place] for place in order]
    return sorted(gpus, key=lambda gpu: (gpu.model.integrated, gpu.bdf))


def describe_for_driver(gpu: Gpu) -> dict[str, object]:
    """A [device] of the fake driver's configuration."""
    firmware = [f"GFX {gpu.model.gfx_firmware}"] if gpu.model.gfx_firmware and not gpu.is_virtual else []
    return {
        "name": gpu.model.name,
        "id": f"0x{gpu.device_id}",
        "bdf": gpu.bdf,
        "memory_mib": gpu.memory_mib,
        "memory_free_mib": gpu.memory_mib - 480,
        "clock_mhz": gpu.model.clock_mhz,
        "tiles": gpu.model.tiles,
        "frequency_mhz": gpu.clock_mhz,
        "temperature_c": 52,
        "throttle": int(gpu.throttled),
        "link_gen": gpu.link_gen,
        "link_width": gpu.link_width,
        "max_gen": 0 if gpu.model.integrated else max(4, gpu.link_gen),
        "max_width": 0 if gpu.model.integrated else max(8, gpu.link_width),
        "firmware": firmware,
        **gpu.model.settings,
    }


# -- xpu-smi ----------------------------------------------------------------------------------------------------------

# What 2.x prints before anything else on boards whose management controller does not answer.
_AMC_ERRORS = "[Error] Failed to write to I2C device: Remote I/O error\n[Error] mctp Control : I2C Write failure\n"


def _list_brief(index: int, gpu: Gpu, *, generation: int) -> dict[str, object]:
    uuid = gpu.uuid[::-1].hex()
    found: dict[str, object] = {
        "device_function_type": "virtual" if gpu.is_virtual else "physical",
        "device_id": index,
        "device_name": gpu.model.name,
        "device_type": "GPU",
        "drm_device": f"/dev/dri/{gpu.card}",
        "pci_bdf_address": gpu.bdf,
        "pci_device_id": f"0x{gpu.device_id}",
        "uuid": "-".join((uuid[:8], uuid[8:12], uuid[12:16], uuid[16:20], uuid[20:])),
        "vendor_name": "Intel(R) Corporation",
    }
    return found if generation == 1 else {**found, "device_state": "normal"}


def write_discovery(gpus: list[Gpu], *, generation: int) -> str:
    """`xpu-smi discovery -j`."""
    document = {"device_list": [_list_brief(index, gpu, generation=generation) for index, gpu in enumerate(gpus)]}
    text = json.dumps(document, indent=4 if generation == 1 else 2) + "\n"
    return text if generation == 1 else _AMC_ERRORS + text


def write_details(index: int, gpu: Gpu, *, generation: int, driver_version: int) -> str:
    """`xpu-smi discovery -d N -j`."""
    document = {
        **_list_brief(index, gpu, generation=generation),
        "core_clock_rate_mhz": str(gpu.model.clock_mhz),
        "driver_version": str(driver_version),
        "gfx_firmware_name": "GFX",
        "gfx_firmware_version": gpu.model.gfx_firmware,
        "memory_physical_size_byte": str(gpu.memory_mib << 20),
        "number_of_tiles": str(max(1, gpu.model.tiles)),
        "serial_number": "unknown",
    }
    text = json.dumps(dict(sorted(document.items())), indent=4 if generation == 1 else 2) + "\n"
    return text if generation == 1 else _AMC_ERRORS + text


def write_xpu_smi_version(version: str, loader: str) -> str:
    """`xpu-smi -v`."""
    service = f"Service:\n    Version: {version}\n    Build ID: 5f0e1d2c\n    Level Zero Version: {loader}\n"
    return f"CLI:\n    Version: {version}\n    Build ID: 5f0e1d2c\n\n{service}"


# -- SYCL and OpenCL --------------------------------------------------------------------------------------------------


def write_sycl_ls(gpus: list[Gpu], *, driver: str, api: str, cpu: str) -> str:
    """`sycl-ls --verbose` of oneAPI 2026. Tiles are devices of their own, as without ZE_FLAT_DEVICE_HIERARCHY."""
    platform = "Intel(R) oneAPI Unified Runtime over Level-Zero V2"
    listed = [(gpu, tile) for gpu in gpus for tile in range(max(1, gpu.model.tiles))]
    lines = [
        f"[level_zero:gpu][level_zero:{index}] {platform}, {gpu.model.name} {gpu.model.ip_version} [{driver}]"
        for index, (gpu, _) in enumerate(listed)
    ]
    lines.append(f"[opencl:cpu][opencl:0] Intel(R) OpenCL, {cpu} OpenCL 3.0 (Build 0) [2026.20.1.0.12_160000]")
    lines += ["", "Platforms: 2", "Platform [#1]:", f"    Version  : {api}", f"    Name     : {platform}"]
    lines += ["    Vendor   : Intel(R) Corporation", f"    Devices  : {len(listed)}"]
    for index, (gpu, tile) in enumerate(listed):
        uuid = (gpu.uuid[:15] + bytes((tile + 1 if gpu.model.tiles else 0,))).hex()
        lines += [
            f"        Device [#{index}]:",
            "        Type              : gpu",
            f"        Version           : {gpu.model.ip_version}",
            f"        Name              : {gpu.model.name}",
            "        Vendor            : Intel(R) Corporation",
            f"        Driver            : {driver}",
            f"        UUID              : {'-'.join((uuid[:8], uuid[8:12], uuid[12:16], uuid[16:20], uuid[20:]))}",
            f"        DeviceID          : {int(gpu.device_id, 16)}",
            "        Num SubDevices    : 0",
            "        Num SubSubDevices : 0",
            "        Aspects           : gpu fp16 fp64 ext_intel_pci_address",
        ]
    lines += ["Platform [#2]:", "    Version  : OpenCL 3.0 LINUX", "    Name     : Intel(R) OpenCL"]
    lines += ["    Vendor   : Intel(R) Corporation", "    Devices  : 1", "        Device [#0]:"]
    lines += ["        Type              : cpu", "        Version           : OpenCL 3.0 (Build 0)"]
    lines += [f"        Name              : {cpu}", "        Vendor            : Intel(R) Corporation"]
    lines += ["        Driver            : 2026.20.1.0.12_160000", "        Aspects           : cpu fp16"]
    first = gpus[0].model
    lines.append(f"default_selector()      : gpu, {platform}, {first.name} {first.ip_version} [{driver}]")
    return "\n".join(lines) + "\n"


def write_clinfo(gpus: list[Gpu], cpu: str) -> str:
    """`clinfo -l --raw`: the processor's platform, then the GPUs'."""
    lines = ["0: Intel(R) OpenCL", f"0.0: {cpu}", "1: Intel(R) OpenCL Graphics"]
    return "\n".join([*lines, *(f"1.{index}: {gpu.model.name}" for index, gpu in enumerate(gpus))]) + "\n"
