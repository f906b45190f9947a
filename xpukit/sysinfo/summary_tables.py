"""The rows of the tables in `summary.md`, ready for Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from xpukit.core.machine import Device, Link, Machine, SoftwareItem
from xpukit.core.units import format_bytes
from xpukit.sysinfo.summary_text import as_code, as_text

# The parts that a maintainer asks for first; shown also where they are missing.
_ASKED_FOR = ("Level Zero loader", "Level Zero GPU driver", "OpenCL GPU driver", "oneCCL", "xpu-smi")
# Shown where they are there; the rest is folded.
_SHOWN = (
    "kernel",
    "distribution",
    "kernel driver xe",
    "kernel driver i915",
    "out-of-tree kernel driver",
    "GPU firmware",
    "graphics compiler",
    "oneAPI compiler",
    "oneCCL (pip)",
    "Intel MPI",
    "PyTorch",
    "vLLM",
    "SGLang",
    "LMDeploy",
    "OpenVINO",
    "ipex-llm",
    "Ray",
    "Docker client",
    "Docker daemon",
)
_MAIN_FIRMWARE = ("GuC", "HuC", "DMC", "GSC")
_CELL_CHARS = 160

Row = tuple[str, ...]


def list_stack_rows(machine: Machine, images: Sequence[str]) -> list[Row]:
    """Part and version: software, firmware of the GPUs, container images, and the machine itself."""
    rows: list[Row] = []
    for item in machine.software:
        if item.name in _ASKED_FOR or (item.name in _SHOWN and item.found):
            rows.append((as_text(item.name), _describe_software(item)))
    for name in _MAIN_FIRMWARE:
        rows += _describe_firmware(machine.devices, name)
    rows += [("container image", as_code(image, _CELL_CHARS)) for image in dict.fromkeys(images)]
    cpu = machine.cpu
    sockets = f"{cpu.sockets} sockets, " if cpu.sockets and cpu.sockets > 1 else ""
    cores = f"{cpu.cores} cores, " if cpu.cores else ""
    nodes = f"{len(machine.numa)} NUMA node{'s' if len(machine.numa) != 1 else ''}, " if machine.numa else ""
    memory = f"memory {format_bytes(machine.memory_bytes)}" if machine.memory_bytes else "memory unknown"
    rows.append(("processor", as_code(cpu.model or "unknown", _CELL_CHARS)))
    rows.append(("size", f"{sockets}{cores}{nodes}{memory}"))
    if cpu.governor:
        rows.append(("CPU governor", as_code(cpu.governor, _CELL_CHARS)))
    board = machine.platform.get("board") or {}
    if isinstance(board, dict) and board:
        said = ", ".join(f"{name} {value}" for name, value in board.items() if value)
        rows.append(("board", as_code(said, _CELL_CHARS)))
    if machine.platform.get("vm"):
        rows.append(("virtual machine", as_code(str(machine.platform.get("hypervisor") or "yes"), _CELL_CHARS)))
    if machine.platform.get("container"):
        rows.append(("inside a container", as_code(str(machine.platform["container"]), _CELL_CHARS)))
    return rows


def list_other_software(machine: Machine) -> list[Row]:
    """What else is installed of the stack."""
    return [
        (as_text(item.name), _describe_software(item))
        for item in machine.software
        if item.found and item.name not in _ASKED_FOR and item.name not in _SHOWN
    ]


def _describe_software(item: SoftwareItem) -> str:
    if not item.found:
        return as_text(item.note if item.note.startswith("not ") else f"not found: {item.note}", _CELL_CHARS)
    note = f" ({as_text(item.note, _CELL_CHARS)})" if item.note else ""
    return f"{as_code(item.version, _CELL_CHARS) or 'there'}{note}"


def _describe_firmware(devices: Sequence[Device], name: str) -> list[Row]:
    """One row for each version that a GPU runs."""
    found: dict[str, list[str]] = {}
    for device in devices:
        # A device has one GuC a GT; the same version several times is one version.
        versions = {one.version or one.status for one in device.firmware if one.name == name}
        for version in sorted(versions):
            if version:
                found.setdefault(version, []).append(device.bdf)
    where = {version: "" if len(bdfs) == len(devices) else f" ({', '.join(bdfs)})" for version, bdfs in found.items()}
    return [(f"{name} firmware", as_code(version, _CELL_CHARS) + where[version]) for version in sorted(found)]


def list_gpu_rows(machine: Machine) -> list[Row]:
    """One row a GPU."""
    return [
        (
            str(device.index),
            as_code(device.bdf),
            f"{as_text(device.name, _CELL_CHARS)} ({as_code(f'{device.vendor_id}:{device.device_id}')})",
            as_code(device.driver) or "none",
            format_bytes(device.memory_bytes),
            format_bytes(device.bar_bytes),
            "-" if device.numa_node is None else str(device.numa_node),
            as_code(device.render_node) or "none",
        )
        for device in machine.devices
    ]


def list_link_rows(machine: Machine) -> list[Row]:
    """One row a GPU with a link of its own."""
    rows: list[Row] = []
    for device in machine.devices:
        link = device.link
        if link is None:
            continue
        degraded = " **degraded**" if link.degraded else ""
        rows.append(
            (
                as_code(device.bdf),
                f"{describe_link(link.current_speed_gts, link.current_width)}{degraded}",
                describe_link(link.max_speed_gts, link.max_width),
                as_code(link.limited_by) or _blame_card(link),
                as_text(link.note, _CELL_CHARS),
            )
        )
    return rows


def describe_link(speed_gts: float | None, width: int | None) -> str:
    """'16 GT/s x8'; '-' when it is not known."""
    if speed_gts is None and width is None:
        return "-"
    return f"{'?' if speed_gts is None else format(speed_gts, 'g')} GT/s x{'?' if width is None else width}"


def _blame_card(link: Link) -> str:
    return "the card" if link.max_speed_gts else "-"
