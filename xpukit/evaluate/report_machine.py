"""The machine's part of the page: devices, host, findings, conditions, what could not be read."""

from __future__ import annotations

from typing import Any

from xpukit.core.finding import Finding, sort_findings
from xpukit.core.machine import Device, Link, Machine
from xpukit.core.units import format_bytes, format_number
from xpukit.evaluate.report_names import DeviceNames, clean_text
from xpukit.evaluate.result import DeviceSummary, Evaluation

_GENERATIONS = {2.5: 1, 5.0: 2, 8.0: 3, 16.0: 4, 32.0: 5, 64.0: 6}
# The end of a condition's name says its unit.
_UNITS = (
    ("_bytes", "bytes"),
    ("_mhz", "MHz"),
    ("_khz", "kHz"),
    ("_celsius", "°C"),
    ("_c", "°C"),
    ("_watts", "W"),
    ("_w", "W"),
    ("_percent", "%"),
    ("_us", "µs"),
    ("_s", "s"),
    ("_gbps", "GB/s"),
    ("_v", "V"),
    ("_rpm", "rpm"),
)


def describe_devices(evaluation: Evaluation, machine: Machine, names: DeviceNames) -> list[dict[str, Any]]:
    """Measured devices first, as the run names them, then those of the machine that were not measured."""
    by_bdf = {device.bdf: device for device in machine.devices}
    cards = [
        _describe_measured(summary, by_bdf.get(summary.bdf), machine, names.name(summary.label))
        for summary in evaluation.devices
    ]
    measured = {summary.bdf for summary in evaluation.devices}
    for device in machine.devices:
        if device.bdf not in measured:
            cards.append(_describe_device(device, f"GPU{device.index}", device.name) | {"measured": False})
    return cards


def _describe_measured(summary: DeviceSummary, device: Device | None, machine: Machine, name: str) -> dict[str, Any]:
    if device is not None:
        card = _describe_device(device, name, summary.name)
        card["memory"] = format_bytes(summary.memory_bytes or device.memory_bytes)
        return card
    cpu = machine.cpu
    empty: dict[str, Any] = {
        "name": name,
        "label": summary.label,
        "model": summary.name,
        "pci_id": summary.device_id,
        "link": "",
        "link_detail": "",
        "degraded": False,
        "numa": "-" if summary.numa_node is None else str(summary.numa_node),
        "numa_rule": "",
        "memory": format_bytes(summary.memory_bytes),
        "driver": "",
        "firmware": [],
        "measured": True,
    }
    if summary.kind == "cpu":
        shape = [_count(count, word) for count, word in ((cpu.sockets, "socket"), (cpu.cores, "core")) if count]
        empty |= {
            "pci_id": ", ".join(shape),
            "numa": _count(len(machine.numa), "node") if machine.numa else "-",
            "memory": format_bytes(summary.memory_bytes or machine.memory_bytes),
            "driver": f"governor {cpu.governor}" if cpu.governor else "",
        }
    return empty


def _count(count: int, word: str) -> str:
    return f"{count} {word}" + ("" if count == 1 else "s")


def _describe_device(device: Device, name: str, model: str) -> dict[str, Any]:
    link, detail = _describe_link(device.link)
    return {
        "name": name,
        "label": device.bdf,
        "model": model,
        "pci_id": f"{device.vendor_id.removeprefix('0x')}:{device.device_id.removeprefix('0x')}",
        "link": link,
        "link_detail": detail,
        "degraded": bool(device.link is not None and device.link.degraded),
        "numa": "-" if device.numa_node is None else str(device.numa_node),
        "numa_rule": device.numa_rule if device.numa_rule not in ("", "device") else "",
        "memory": format_bytes(device.memory_bytes),
        "driver": f"{device.driver} {device.driver_version}".strip() or "none bound",
        "firmware": [
            {"text": f"{item.name} {item.version or item.status or '?'}", "source": item.source}
            for item in device.firmware
        ],
        "measured": True,
    }


def _name_speed(speed_gts: float | None, width: int | None) -> str:
    if speed_gts is None:
        return "?"
    generation = _GENERATIONS.get(speed_gts)
    speed = f"PCIe {generation}.0" if generation else f"{speed_gts:g} GT/s"
    return f"{speed} ×{'?' if width is None else width}"


def _describe_link(link: Link | None) -> tuple[str, str]:
    """The link as it runs, and what there is to say about it."""
    if link is None:
        return "-", "not read"
    details = []
    if link.current_gbps is not None:
        details.append(f"{format_number(link.current_gbps)} GB/s now")
    if link.limit_gbps is not None:
        details.append(f"at most {format_number(link.limit_gbps)} GB/s")
    if link.degraded:
        details.append(f"DEGRADED: could run at {_name_speed(link.max_speed_gts, link.max_width)}")
    if link.limited_by:
        details.append(f"limited by {link.limited_by}")
    if link.note:
        details.append(link.note)
    return _name_speed(link.current_speed_gts, link.current_width), "; ".join(details)


def describe_host(machine: Machine) -> list[tuple[str, str]]:
    """What the host is, as fields with values; only what is known."""
    cpu = machine.cpu
    fields = [
        ("CPU", cpu.model),
        ("sockets", str(cpu.sockets or "")),
        ("cores", str(cpu.cores or "")),
        ("CPUs allowed", cpu.allowed),
        ("NUMA nodes", str(len(machine.numa) or "")),
        ("memory", format_bytes(machine.memory_bytes) if machine.memory_bytes else ""),
        ("limits", "; ".join(cpu.limits)),
    ]
    return [(name, value) for name, value in fields if value]


def describe_findings(evaluation: Evaluation, machine: Machine) -> list[Finding]:
    """Findings of the probe, worst first, each once; without those that the run's explanations repeat."""
    return list(sort_findings([row for row in dict.fromkeys(machine.findings) if row not in evaluation.findings]))


def describe_unread(machine: Machine, names: DeviceNames) -> list[dict[str, str]]:
    """What could not be read, device by device."""
    found = [{"of": "machine", "what": item.what, "why": item.why, "remedy": item.remedy} for item in machine.unread]
    for device in machine.devices:
        found += [
            {"of": names.name(device.bdf), "what": item.what, "why": item.why, "remedy": item.remedy}
            for item in device.unread
        ]
    return found


def describe_conditions(evaluation: Evaluation, names: DeviceNames) -> list[dict[str, Any]]:
    """Conditions before and after as flat rows; those that stand alone are shown as both."""
    before = _flatten(evaluation.conditions.get("before", {}), names)
    after = _flatten(evaluation.conditions.get("after", {}), names)
    devices = {names.name(summary.label) for summary in evaluation.devices if summary.kind == "gpu"}
    others = {name: value for name, value in evaluation.conditions.items() if name not in ("before", "after")}
    rows: list[dict[str, Any]] = []
    for key in dict.fromkeys((*before, *after)):
        rows.append(
            {
                "name": key,
                "before": before.get(key, "-"),
                "after": after.get(key, "-"),
                "changed": before.get(key) != after.get(key),
                "of_device": key.partition(" ")[0] in devices,
            }
        )
    for key, value in _flatten(others, names).items():
        rows.append({"name": key, "before": value, "after": value, "changed": False, "of_device": False})
    return rows


def _flatten(node: Any, names: DeviceNames, prefix: str = "", unit_of: str = "") -> dict[str, str]:
    if isinstance(node, dict):
        flat: dict[str, str] = {}
        for name in sorted(node, key=str):
            under_devices = prefix.endswith("devices")
            words = names.name(str(name)) if under_devices else clean_text(str(name))
            path = words if under_devices or not prefix else f"{prefix} {words}"
            unit_name = str(name) if _find_unit(str(name))[1] else unit_of
            flat |= _flatten(node[name], names, path, unit_name)
        return flat or ({prefix: "nothing read"} if prefix else {})
    words, _ = _find_unit(prefix)
    return {_strip_unit(words): _format_condition(node, _find_unit(unit_of)[1])}


def _find_unit(name: str) -> tuple[str, str]:
    for ending, unit in _UNITS:
        if name.endswith(ending):
            return name.removesuffix(ending), unit
    return name, ""


def _strip_unit(name: str) -> str:
    # 'cpu_clock_mhz max' -> 'cpu clock max'
    return " ".join(_find_unit(word)[0] for word in name.split(" ")).replace("_", " ")


def _format_condition(value: Any, unit: str) -> str:
    if value is None:
        return "not readable"
    if isinstance(value, list | tuple):
        return ", ".join(_format_condition(item, unit) for item in value) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        if unit == "bytes":
            return format_bytes(value)
        number = f"{value:.4g}" if isinstance(value, float) and abs(value) < 1e4 else f"{value:.0f}"
        return f"{number} {unit}".strip()
    return clean_text(str(value))
