"""Describes a machine in Python and writes what umockdev needs to show it to the real libudev and sysfs readers.

PCI, DRM and hwmon devices go into a umockdev description; everything that is no device (processors, NUMA nodes,
modules, IOMMU groups, debugfs) is a plain file below the mocked /sys. Attribute names and forms are those of the
kernel's documentation (Documentation/ABI/testing/sysfs-bus-pci, sysfs-driver-intel-xe-hwmon, gpu/xe).
"""

from __future__ import annotations

from dataclasses import dataclass, field

SPEEDS = {1: "2.5", 2: "5.0", 3: "8.0", 4: "16.0", 5: "32.0", 6: "64.0"}
PORT_TYPES = {"endpoint": 0x0, "root-port": 0x4, "upstream": 0x5, "downstream": 0x6, "bridge": 0x7}
# ACS bits: source validation, request and completion redirect, upstream forwarding: what Linux sets with an IOMMU.
ACS_LINUX = 0x1D
CONFIG_BYTES = 4096
# What the kernel shows of it to anyone but root.
HEADER_BYTES = 64

MEM_32 = 0x00040200
MEM_64 = 0x00140204
MEM_64_PREFETCH = 0x0014220C


@dataclass(frozen=True)
class Speed:
    """A link's generation and lanes."""

    gen: int
    width: int


@dataclass
class Node:
    """One line block of the description."""

    path: str
    properties: dict[str, str]
    attributes: dict[str, str] = field(default_factory=dict)
    binary: dict[str, bytes] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    device_node: str = ""
    node_links: tuple[str, ...] = ()

    def describe(self) -> str:
        lines = [f"P: {self.path}"]
        if self.device_node:
            lines.append(f"N: {self.device_node}")
        lines += [f"S: {link}" for link in self.node_links]
        lines += [f"E: {name}={value}" for name, value in self.properties.items()]
        # umockdev ends an attribute where the line ends; what a kernel file ends in is written as \n.
        for name, value in self.attributes.items():
            text = value.replace("\\", "\\\\").replace("\n", "\\n")
            lines.append(f"A: {name}={text}\\n")
        lines += [f"H: {name}={value.hex()}" for name, value in self.binary.items()]
        lines += [f"L: {name}={target}" for name, target in self.links.items()]
        return "\n".join(lines) + "\n"


@dataclass
class Port:
    """A PCI function in the making: bridges are parents of others."""

    bdf: str
    path: str
    numa_node: int


@dataclass
class Bar:
    """A memory window; `resize` is the mask of sizes offered (bit n: 2**n MiB), 0 for a fixed window."""

    size_bytes: int
    flags: int = MEM_64_PREFETCH
    resize: int = 0


def build_config(
    *,
    vendor: str,
    device: str,
    class_code: str,
    bridge: bool,
    port_type: str,
    acs: tuple[int, int] | None = None,
    max_link: Speed | None = None,
    link: Speed | None = None,
) -> bytes:
    """4096 bytes of configuration space: header, power management, PCI Express, and AER and ACS behind them."""
    config = bytearray(CONFIG_BYTES)
    config[0:2] = bytes.fromhex(vendor)[::-1]
    config[2:4] = bytes.fromhex(device)[::-1]
    config[4:6] = (0x0406).to_bytes(2, "little")
    config[6:8] = (0x0010).to_bytes(2, "little")
    config[9:12] = bytes.fromhex(class_code)[::-1]
    config[0x0E] = 1 if bridge else 0
    config[0x34] = 0x40
    config[0x40:0x44] = bytes((0x01, 0x70, 0x03, 0x00))
    config[0x70:0x72] = bytes((0x10, 0x00))
    config[0x72:0x74] = (2 | PORT_TYPES[port_type] << 4).to_bytes(2, "little")
    if max_link:
        config[0x7C:0x80] = (max_link.gen | max_link.width << 4).to_bytes(4, "little")
    if link:
        config[0x82:0x84] = (link.gen | link.width << 4).to_bytes(2, "little")
    after_aer = 0x148 if acs else 0
    config[0x100:0x104] = (0x0001 | 2 << 16 | after_aer << 20).to_bytes(4, "little")
    if acs:
        config[0x148:0x14C] = (0x000D | 1 << 16).to_bytes(4, "little")
        config[0x14C:0x14E] = acs[0].to_bytes(2, "little")
        config[0x14E:0x150] = acs[1].to_bytes(2, "little")
    return bytes(config)


def format_aer(kind: str, counts: dict[str, int]) -> str:
    """An aer_dev_* file with the kernel's names."""
    names = {
        "correctable": ("RxErr", "BadTLP", "BadDLLP", "Rollover", "Timeout", "NonFatalErr", "CorrIntErr", "HeaderOF"),
        "nonfatal": ("Undefined", "DLP", "SDES", "TLP", "FCP", "CmpltTO", "CmpltAbrt", "UnxCmplt", "RxOF", "MalfTLP"),
        "fatal": ("Undefined", "DLP", "SDES", "TLP", "FCP", "CmpltTO", "CmpltAbrt", "UnxCmplt", "RxOF", "MalfTLP"),
    }[kind]
    total = {"correctable": "TOTAL_ERR_COR", "nonfatal": "TOTAL_ERR_NONFATAL", "fatal": "TOTAL_ERR_FATAL"}[kind]
    lines = [f"{name} {counts.get(name, 0)}" for name in names]
    return "\n".join([*lines, f"{total} {sum(counts.values())}"])


@dataclass
class MockMachine:
    """A machine. `files` are relative to /sys; `proc` are whole paths elsewhere; `links` are symlinks below /sys.

    `user` is who probes: anyone but root may not read debugfs nor open device nodes, and sees the first 64 bytes of
    configuration space only.
    """

    name: str
    description: str
    kernel: str = "6.14.0-1006-intel"
    hostname: str = "gpu-server"
    user: str = "root"
    release: tuple[str, str] = ("24.04", "Ubuntu 24.04.3 LTS")
    memory_bytes: int = 512 << 30
    nodes: list[Node] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    proc: dict[str, str] = field(default_factory=dict)
    iommu: bool = True
    cpu_model: str = "Intel(R) Xeon(R) 6530"
    cpu_flags: str = "fpu sse2 avx2 avx512f amx_tile"
    cpus: int = 0
    _windows: int = 0x10_0000_0000
    _groups: int = 0

    def write_description(self) -> str:
        """The umockdev description of all devices."""
        self._number_buses()
        if self.user != "root":
            for node in self.nodes:
                node.binary = {name: data[:HEADER_BYTES] for name, data in node.binary.items()}
        return "\n".join(node.describe() for node in self.nodes)

    def _number_buses(self) -> None:
        """Bridges know the buses behind them only when all devices are there: primary, secondary, subordinate."""
        functions = {node.path: node for node in self.nodes if "config" in node.binary}
        for path, node in functions.items():
            if not node.binary["config"][0x0E] & 1:
                continue
            below = [other.rpartition("/")[2] for other in functions if other.startswith(f"{path}/")]
            buses = [int(bdf[5:7], 16) for bdf in below] or [0]
            config = bytearray(node.binary["config"])
            config[0x18:0x1B] = bytes((int(path.rpartition("/")[2][5:7], 16), min(buses), max(buses)))
            node.binary["config"] = bytes(config)

    # -- PCI ------------------------------------------------------------------------------------------------------

    def add_bridge(
        self,
        parent: Port | None,
        bdf: str,
        ids: str,
        kind: str,
        *,
        most: Speed,
        now: Speed | None = None,
        numa_node: int | None = None,
        acs: tuple[int, int] | None = None,
        aer: dict[str, int] | None = None,
    ) -> Port:
        """A root port (no parent) or a port of a switch. `most` is what it can do, `now` what it does."""
        return self._add_function(
            parent,
            bdf,
            ids,
            class_code="060400",
            port_type=kind,
            driver="pcieport",
            most=most,
            now=now or most,
            numa_node=numa_node,
            acs=acs,
            aer=aer,
        )

    def add_endpoint(
        self,
        parent: Port | None,
        bdf: str,
        ids: str,
        *,
        class_code: str,
        driver: str,
        subsystem: str = "8086:1701",
        bars: dict[int, Bar] | None = None,
        most: Speed | None = None,
        now: Speed | None = None,
        numa_node: int | None = None,
        revision: int = 0,
        attributes: dict[str, str] | None = None,
        links: dict[str, str] | None = None,
        database: tuple[str, str] = ("", ""),
    ) -> Port:
        """A function that does something. Without `most` it claims 2.5 GT/s x1, as Intel's GPUs behind a switch do."""
        claim = most or Speed(1, 1)
        return self._add_function(
            parent,
            bdf,
            ids,
            class_code=class_code,
            port_type="endpoint",
            driver=driver,
            most=claim,
            now=now or claim,
            numa_node=numa_node,
            subsystem=subsystem,
            bars=bars or {},
            revision=revision,
            attributes=attributes or {},
            links=links or {},
            database=database,
        )

    def _add_function(
        self,
        parent: Port | None,
        bdf: str,
        ids: str,
        *,
        class_code: str,
        port_type: str,
        driver: str,
        most: Speed,
        now: Speed,
        numa_node: int | None,
        subsystem: str = "8086:0000",
        bars: dict[int, Bar] | None = None,
        acs: tuple[int, int] | None = None,
        aer: dict[str, int] | None = None,
        revision: int = 1,
        attributes: dict[str, str] | None = None,
        links: dict[str, str] | None = None,
        database: tuple[str, str] = ("", ""),
    ) -> Port:
        above = parent.path if parent else f"/devices/pci{bdf[:7]}"
        node = numa_node if numa_node is not None else (parent.numa_node if parent else -1)
        port = Port(bdf=bdf, path=f"{above}/{bdf}", numa_node=node)
        vendor, _, device = ids.partition(":")
        is_bridge = port_type != "endpoint"
        properties = {
            "SUBSYSTEM": "pci",
            "PCI_CLASS": class_code.lstrip("0").upper(),
            "PCI_ID": ids.upper(),
            "PCI_SUBSYS_ID": subsystem.upper(),
            "PCI_SLOT_NAME": bdf,
        }
        if driver:
            properties = {"DRIVER": driver, **properties}
        for part, text in zip(("VENDOR", "MODEL"), database, strict=True):
            if text:
                properties[f"ID_{part}_FROM_DATABASE"] = text
        own = {
            "vendor": f"0x{vendor}",
            "device": f"0x{device}",
            "class": f"0x{class_code}",
            "subsystem_vendor": f"0x{subsystem.partition(':')[0]}",
            "subsystem_device": f"0x{subsystem.partition(':')[2]}",
            "revision": f"0x{revision:02x}",
            "numa_node": str(node),
            "local_cpulist": self._local_cpus(node),
            "power_state": "D0",
            "irq": "0",
            "current_link_speed": f"{SPEEDS[now.gen]} GT/s PCIe",
            "current_link_width": str(now.width),
            "max_link_speed": f"{SPEEDS[most.gen]} GT/s PCIe",
            "max_link_width": str(most.width),
            "power/runtime_status": "active",
            "resource": self._lay_out(bars or {}),
        }
        for kind in ("correctable", "nonfatal", "fatal"):
            own[f"aer_dev_{kind}"] = format_aer(kind, (aer or {}) if kind == "correctable" else {})
        for index, bar in (bars or {}).items():
            if bar.resize:
                own[f"resource{index}_resize"] = f"{bar.resize:016x}"
        depth = port.path.count("/")
        symlinks = dict(links or {})
        if driver:
            symlinks["driver"] = "../" * (depth - 1) + f"bus/pci/drivers/{driver}"
        if self.iommu:
            self._groups += 1
            symlinks["iommu_group"] = "../" * (depth - 1) + f"kernel/iommu_groups/{self._groups}"
            self.files[f"kernel/iommu_groups/{self._groups}/type"] = "DMA-FQ"
            self.links[f"kernel/iommu_groups/{self._groups}/devices/{bdf}"] = f"../../../..{port.path}"
        self.nodes.append(
            Node(
                path=port.path,
                properties=properties,
                attributes={**own, **(attributes or {})},
                binary={
                    "config": build_config(
                        vendor=vendor,
                        device=device,
                        class_code=class_code,
                        bridge=is_bridge,
                        port_type=port_type,
                        acs=acs,
                        max_link=most,
                        link=now,
                    )
                },
                links=symlinks,
            )
        )
        return port

    def _lay_out(self, bars: dict[int, Bar]) -> str:
        """The `resource` file: six BARs, the ROM, six of SR-IOV."""
        lines = []
        for index in range(13):
            bar = bars.get(index)
            if bar is None:
                lines.append("0x0000000000000000 0x0000000000000000 0x0000000000000000")
                continue
            self._windows = (self._windows + bar.size_bytes - 1) // bar.size_bytes * bar.size_bytes
            end = self._windows + bar.size_bytes - 1
            lines.append(f"0x{self._windows:016x} 0x{end:016x} 0x{bar.flags:016x}")
            self._windows += bar.size_bytes
        return "\n".join(lines)

    def _local_cpus(self, node: int) -> str:
        known = self.files.get(f"devices/system/node/node{node}/cpulist")
        return known if known is not None else self.files.get("devices/system/cpu/online", "")

    # -- what hangs below a GPU ------------------------------------------------------------------------------------

    def add_drm(
        self, gpu: Port, card: int, render: int | None, *, attributes: dict[str, str] | None = None, outputs: int = 0
    ) -> str:
        """Card and render nodes with their by-path links; returns the card's path."""
        path = f"{gpu.path}/drm/card{card}"
        nodes = [(f"card{card}", "card", card)]
        if render is not None:
            nodes.append((f"renderD{render}", "render", render))
        for name, kind, minor in nodes:
            self.nodes.append(
                Node(
                    path=f"{gpu.path}/drm/{name}",
                    properties={
                        "SUBSYSTEM": "drm",
                        "DEVNAME": f"/dev/dri/{name}",
                        "DEVTYPE": "drm_minor",
                        "MAJOR": "226",
                        "MINOR": str(minor),
                        "ID_PATH": f"pci-{gpu.bdf}",
                    },
                    attributes={"dev": f"226:{minor}", **((attributes or {}) if kind == "card" else {})},
                    links={"device": f"../../../{gpu.bdf}"},
                    device_node=f"dri/{name}",
                    node_links=(f"dri/by-path/pci-{gpu.bdf}-{kind}",),
                )
            )
        for output in range(outputs):
            self.nodes.append(
                Node(
                    path=f"{path}/card{card}-DP-{output + 1}",
                    properties={"SUBSYSTEM": "drm", "DEVTYPE": "drm_connector"},
                    attributes={"status": "disconnected"},
                )
            )
        return path

    def add_hwmon(self, gpu: Port, number: int, attributes: dict[str, str]) -> None:
        """One hwmon chip below a GPU."""
        self.nodes.append(
            Node(
                path=f"{gpu.path}/hwmon/hwmon{number}",
                properties={"SUBSYSTEM": "hwmon"},
                attributes=attributes,
            )
        )

    # -- processors and memory ----------------------------------------------------------------------------------------

    def add_processors(self, *, sockets: int, cores: int, threads: int = 2, nodes_per_socket: int = 1) -> None:
        """Sockets in the usual numbering: all first threads, then all second threads; memory shared out evenly."""
        first = sockets * cores
        self.cpus = first * threads
        span = f"0-{self.cpus - 1}"
        for name in ("online", "present", "possible"):
            self.files[f"devices/system/cpu/{name}"] = span
        self.files["devices/system/cpu/offline"] = ""
        self.files["devices/system/cpu/smt/active"] = "1" if threads > 1 else "0"
        for cpu in range(self.cpus):
            core = cpu % first
            siblings = ",".join(str(core + first * thread) for thread in range(threads))
            base = f"devices/system/cpu/cpu{cpu}"
            self.files[f"{base}/topology/physical_package_id"] = str(core // cores)
            self.files[f"{base}/topology/core_id"] = str(core % cores)
            package = ",".join(
                f"{first * thread + core // cores * cores}-{first * thread + core // cores * cores + cores - 1}"
                for thread in range(threads)
            )
            self.files[f"{base}/topology/package_cpus_list"] = package
            self.files[f"{base}/topology/core_siblings_list"] = package
            self.files[f"{base}/topology/thread_siblings_list"] = siblings
            self.files[f"{base}/topology/core_cpus_list"] = siblings
            self.files[f"{base}/cpufreq/scaling_governor"] = "performance"
        count = sockets * nodes_per_socket
        per_node = cores // nodes_per_socket
        share = self.memory_bytes // count
        for name in ("online", "possible", "has_cpu", "has_memory", "has_normal_memory"):
            self.files[f"devices/system/node/{name}"] = f"0-{count - 1}" if count > 1 else "0"
        for node in range(count):
            spans = [
                f"{first * thread + node * per_node}-{first * thread + (node + 1) * per_node - 1}"
                for thread in range(threads)
            ]
            base = f"devices/system/node/node{node}"
            distances = [
                10 if other == node else 12 if other // nodes_per_socket == node // nodes_per_socket else 21
                for other in range(count)
            ]
            self.files[f"{base}/cpulist"] = ",".join(spans)
            self.files[f"{base}/distance"] = " ".join(map(str, distances))
            self.files[f"{base}/meminfo"] = (
                f"Node {node} MemTotal:       {share >> 10} kB\n"
                f"Node {node} MemFree:        {share * 9 // 10 >> 10} kB\n"
                f"Node {node} MemUsed:        {share // 10 >> 10} kB"
            )
        self.proc["/proc/cpuinfo"] = "processor\t: 0\nvendor_id\t: GenuineIntel\n"
        self.proc["/proc/cpuinfo"] += f"model name\t: {self.cpu_model}\nflags\t\t: {self.cpu_flags}\n"
        self.proc["/proc/self/cgroup"] = "0::/user.slice/user-0.slice/session-1.scope\n"
        self.proc["/proc/self/mountinfo"] = (
            "35 24 0:30 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
        )
        scope = "fs/cgroup/user.slice/user-0.slice/session-1.scope"
        self.files["fs/cgroup/cgroup.controllers"] = "cpuset cpu io memory pids"
        self.files["fs/cgroup/cpuset.cpus.effective"] = span
        self.files["fs/cgroup/cpuset.mems.effective"] = self.files["devices/system/node/online"]
        for place in (scope, scope.rpartition("/")[0], scope.rpartition("/")[0].rpartition("/")[0]):
            self.files[f"{place}/cpu.max"] = "max 100000"
            self.files[f"{place}/memory.max"] = "max"
        self.proc["/proc/self/status"] = (
            f"Name:\tpython3\nCpus_allowed_list:\t{span}\n"
            f"Mems_allowed_list:\t{self.files['devices/system/node/online']}\n"
        )

    def add_module(self, name: str, parameters: dict[str, str], *, builtin: bool = False, version: str = "") -> None:
        """A kernel module below /sys/module."""
        self.files[f"module/{name}/uevent"] = ""
        if not builtin:
            self.files[f"module/{name}/initstate"] = "live"
            self.files[f"module/{name}/srcversion"] = "5F2E4C7D9A1B3E6F80C2D4A"
        if version:
            self.files[f"module/{name}/version"] = version
        for key, value in parameters.items():
            self.files[f"module/{name}/parameters/{key}"] = value
