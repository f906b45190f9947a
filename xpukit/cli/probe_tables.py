"""What `xpukit probe` shows on the terminal. Short names and addresses for people; JSON has the whole ones."""

from __future__ import annotations

from collections.abc import Iterable

from xpukit.cli.probe_state import print_state
from xpukit.cli.render import make_console, print_fields, print_findings, print_table
from xpukit.core.machine import Device, Link, Machine, SoftwareItem, Unread
from xpukit.core.units import format_bytes
from xpukit.probe.pcie_link import compute_gbps

# Firmware that decides whether a driver works; the rest is listed with -v.
_MAIN_FIRMWARE = ("GuC", "HuC", "DMC", "GSC")


def print_machine(machine: Machine, hostname: str, *, color: bool, verbose: int) -> None:
    """Devices, links, state, NUMA nodes, topology, software, findings; with -v also what could not be read."""
    _print_devices(machine, hostname, color=color)
    _print_links(machine, color=color, verbose=verbose)
    print_state(machine.devices, color=color)
    _print_numa(machine, color=color)
    _print_topology(machine, color=color)
    _print_software(machine, color=color, verbose=verbose)
    print_findings("Findings", machine.findings, color=color)
    _print_unread(machine, color=color, verbose=verbose)


def _or_dash(value: object) -> str:
    return "-" if value is None or value == "" else str(value)


def shorten_name(name: str) -> str:
    """A product's name without what every product's name has: 'Intel Arc Pro B60 Graphics' -> 'Arc Pro B60'."""
    short = name.replace("(R)", "").replace("(TM)", "")
    if not short.startswith("Intel GPU"):
        short = short.removeprefix("Intel ").removeprefix("Data Center ")
    return " ".join(short.removesuffix(" Graphics").split())


def shorten_bdf(bdf: str) -> str:
    """'0000:18:00.0' -> '18:00.0', as lspci shows it; other PCI domains stay."""
    return bdf.removeprefix("0000:")


def _print_devices(machine: Machine, hostname: str, *, color: bool) -> None:
    devices = machine.devices
    count = len(devices)
    title = f"{hostname}: {count or 'no'} Intel GPU{'s' if count != 1 else ''}"
    if devices:
        columns = ["#", "BDF", "id", "name", "driver", "nodes", "NUMA", "memory", "L0 mask"]
        has_nodes = len(machine.numa) > 1
        rows = [_show_device(device, is_guess=has_nodes and _is_guessed(device)) for device in devices]
        # Columns that say something on some machines only; one tile is what every card has.
        for name, values, plain in (
            ("tiles", [device.tiles for device in devices], (None, 1)),
            ("SYCL", [device.sycl_index for device in devices], (None,)),
            ("xpu-smi", [device.xpu_smi_index for device in devices], (None,)),
        ):
            if any(value not in plain for value in values):
                columns.append(name)
                rows = [[*row, _or_dash(value)] for row, value in zip(rows, values, strict=True)]
        print_table(title, columns, rows, color=color)
        if has_nodes:
            _print_guessed_nodes(devices, color=color)
    else:
        make_console(color=color).print(title + "\n", style="bold" if color else None)
    if machine.others:
        print_table(
            "Other devices",
            ("BDF", "id", "kind", "name", "driver", "NUMA"),
            [
                (
                    other.bdf,
                    f"{other.vendor_id}:{other.device_id}",
                    other.kind,
                    _or_dash(other.name),
                    _or_dash(other.driver),
                    _or_dash(other.numa_node),
                )
                for other in machine.others
            ],
            color=color,
        )


def _is_guessed(device: Device) -> bool:
    return device.numa_node is not None and device.numa_rule not in ("", "device")


def _print_guessed_nodes(devices: Iterable[Device], *, color: bool) -> None:
    rules = sorted({device.numa_rule for device in devices if _is_guessed(device)})
    if rules:
        make_console(color=color).print(f"NUMA *: the firmware does not say; by {', '.join(rules)}\n")


def _show_device(device: Device, *, is_guess: bool) -> list[str]:
    nodes = " ".join(node.rpartition("/")[2] for node in (device.card_node, device.render_node) if node)
    memory = format_bytes(device.memory_bytes)
    return [
        str(device.index),
        device.bdf,
        f"{device.vendor_id}:{device.device_id}",
        shorten_name(device.name) + (" (VF)" if device.virtual_function else ""),
        device.driver or "none",
        nodes or "-",
        _or_dash(device.numa_node) + "*" * is_guess,
        f"{memory} shared" if device.discrete is False and device.memory_bytes else memory,
        device.affinity_mask or "-",
    ]


def _print_links(machine: Machine, *, color: bool, verbose: int) -> None:
    if not machine.devices:
        return
    rows = []
    for device in machine.devices:
        link = device.link
        iommu = "-"
        if device.iommu is not None:
            iommu = "off" if device.iommu.mode == "off" else f"{_or_dash(device.iommu.group)} {device.iommu.mode}"
        rows.append(
            (
                str(device.index),
                _show_link(link),
                (shorten_bdf(link.limited_by) or "card") if link and link.limit_gbps is not None else "-",
                f"{link.limit_gbps:.1f} GB/s" if link and link.limit_gbps is not None else "-",
                format_bytes(device.bar_bytes),
                iommu,
                " ".join(shorten_bdf(port.bdf) for port in device.acs if port.redirects) or "-",
                _show_firmware(device, verbose=verbose),
            )
        )
    print_table(
        "Links and firmware",
        ("#", "link", "limited by", "at most", "BAR", "IOMMU", "ACS redirect", "firmware"),
        rows,
        color=color,
    )
    notes = [*_describe_shared(machine.devices), *_describe_notes(machine.devices)]
    if notes:
        console = make_console(color=color)
        for note in notes:
            console.print(f"  {note}")
        console.print()


def _show_firmware(device: Device, *, verbose: int) -> str:
    shown = [item for item in device.firmware if item.version and (verbose or item.name in _MAIN_FIRMWARE)]
    return (", " if verbose else " ").join(f"{item.name} {item.version}" for item in shown) or "-"


def _show_link(link: Link | None) -> str:
    """What it runs at, and what it could where that is more."""
    if link is None or (link.current_speed_gts is None and link.current_width is None):
        return "-"
    now = _show_speed(link.current_speed_gts, link.current_width)
    if not link.degraded:
        return now
    is_narrow_only = link.current_speed_gts == link.max_speed_gts
    best = f"x{link.max_width}" if is_narrow_only else _show_speed(link.max_speed_gts, link.max_width)
    return f"{now} of {best}"


def _show_speed(speed_gts: float | None, width: int | None) -> str:
    speed = "?" if speed_gts is None else f"{speed_gts:g}"
    return f"{speed} GT/s x{'?' if width is None else width}"


def _describe_shared(devices: Iterable[Device]) -> Iterable[str]:
    """Slots whose link more than one GPU uses."""
    users: dict[tuple[str, str], list[Device]] = {}
    for device in devices:
        if device.link is not None and device.link.hops and not device.virtual_function:
            hop = device.link.hops[0]
            users.setdefault((hop.bdf, hop.partner_bdf), []).append(device)
    for (above, below), sharing in users.items():
        link = sharing[0].link
        if len(sharing) < 2 or link is None:
            continue
        hop = link.hops[0]
        rate = compute_gbps(hop.current_speed_gts, hop.current_width)
        speed = _show_speed(hop.current_speed_gts, hop.current_width) + (f", {rate:.1f} GB/s" if rate else "")
        names = " ".join(f"GPU{device.index}" for device in sharing)
        yield f"{names} share the link {shorten_bdf(above)} to {shorten_bdf(below)} ({speed})"


def _describe_notes(devices: Iterable[Device]) -> Iterable[str]:
    for device in devices:
        for note in (device.link.note if device.link else "").split("; "):
            if note and not note.startswith("shares the link"):
                yield f"GPU{device.index}: {note}"


def _print_numa(machine: Machine, *, color: bool) -> None:
    cpu = machine.cpu
    print_fields(
        "CPU",
        [
            ("model", cpu.model),
            ("layout", _describe_cpu(machine)),
            ("online", cpu.online + (f" (offline {cpu.offline})" if cpu.offline else "")),
            ("usable here", cpu.allowed if cpu.allowed != cpu.online else ""),
            ("CPU quota", f"{cpu.cgroup_cpu_limit:g} CPUs" if cpu.cgroup_cpu_limit is not None else ""),
            ("governor", cpu.governor),
            ("memory", format_bytes(machine.memory_bytes)),
        ],
        color=color,
    )
    if not machine.numa:
        return
    columns = ["node", "CPUs", "memory", "distances", "GPUs"]
    rows = [
        [
            str(node.node),
            node.cpus or "none",
            format_bytes(node.memory_bytes),
            " ".join(str(distance) for distance in node.distances),
            " ".join(f"GPU{device.index}" for device in machine.devices if device.numa_node == node.node) or "-",
        ]
        for node in machine.numa
    ]
    if any(node.allowed_cpus != node.cpus for node in machine.numa):
        columns.insert(2, "usable CPUs")
        for row, node in zip(rows, machine.numa, strict=True):
            row.insert(2, node.allowed_cpus or "none")
    print_table("NUMA nodes", columns, rows, color=color)


def _describe_cpu(machine: Machine) -> str:
    cpu = machine.cpu
    parts = []
    if cpu.sockets is not None:
        parts.append(f"{cpu.sockets} socket{'s' if cpu.sockets != 1 else ''}")
    if cpu.cores is not None:
        parts.append(f"{cpu.cores} core{'s' if cpu.cores != 1 else ''}")
    if cpu.threads_per_core is not None:
        parts.append(f"{cpu.threads_per_core} thread{'s' if cpu.threads_per_core != 1 else ''} a core")
    if cpu.sub_numa:
        parts.append("sub-NUMA clusters")
    return ", ".join(parts)


def _print_topology(machine: Machine, *, color: bool) -> None:
    topology = machine.topology
    if len(topology.labels) < 2:
        return
    print_table(
        "Topology",
        ("", *topology.labels),
        [(label, *row) for label, row in zip(topology.labels, topology.matrix, strict=True)],
        color=color,
    )
    used = {cell for row in topology.matrix for cell in row}
    print_fields("", [(name, text) for name, text in topology.legend.items() if name in used], color=color)


def _print_software(machine: Machine, *, color: bool, verbose: int) -> None:
    items = [item for item in machine.software if item.found or verbose]
    if items:
        columns = ("part", "version", "source", *(("note",) if verbose else ()))
        print_table("Software", columns, [_show_software(item, verbose=verbose) for item in items], color=color)
    absent = sum(1 for item in machine.software if not item.found)
    if absent and not verbose:
        make_console(color=color).print(f"{absent} parts were not found (-v lists them and where was looked)\n")


def _show_software(item: SoftwareItem, *, verbose: int) -> tuple[str, ...]:
    if verbose:
        return (item.name, _or_dash(item.version), _or_dash(item.source), item.note)
    return (item.name, item.version or _shorten_note(item.note), _or_dash(item.source))


def _shorten_note(note: str) -> str:
    """What stands where a part has no version: a library without its directory, '9 OpenCL devices' without whose."""
    return _or_dash(note.rpartition("/")[2] if note.startswith("/") else note.partition(" of ")[0])


def _print_unread(machine: Machine, *, color: bool, verbose: int) -> None:
    rows: dict[Unread, list[str]] = {}
    for of, unread in (
        *((f"GPU{device.index}", row) for device in machine.devices for row in device.unread),
        *(("machine", row) for row in machine.unread),
    ):
        rows.setdefault(unread, []).append(of)
    if not rows:
        return
    console = make_console(color=color)
    if verbose:
        console.print("Could not be read", style="bold" if color else None)
        for row, whose in rows.items():
            console.print(f"  {' '.join(whose)}: {row.what}: {row.why}")
            if row.remedy:
                console.print(f"      do: {row.remedy}")
        return
    count = sum(map(len, rows.values()))
    console.print(f"{count} thing{'s' * (count != 1)} could not be read (-v says why); what would help:")
    given = {step for finding in machine.findings for step in finding.remedy}
    helped: dict[str, list[str]] = {}
    for row in rows:
        if row.remedy and row.remedy not in given and row.what not in helped.setdefault(row.remedy, []):
            helped[row.remedy].append(row.what)
    for remedy, whats in helped.items():
        more = f" and {len(whats) - 2} more" if len(whats) > 2 else ""
        console.print(f"  - {', '.join(whats[:2])}{more}: {remedy}")
