"""Temperatures, power, energy, fans and voltages of the GPU's hwmon."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from xpukit.core.machine import Sensor, Unread
from xpukit.host.door import Host
from xpukit.probe.question import PciFunction, Question
from xpukit.probe.sysfs import explain_unread, parse_int, read_text

_FILE = re.compile(r"(temp|power|energy|fan|in|curr|humidity)(\d+)_(\w+)")
# (unit, divisor) by kind of sensor (Documentation/hwmon/sysfs-interface).
_UNITS = {
    "temp": ("C", 1000),
    "power": ("W", 1_000_000),
    "energy": ("J", 1_000_000),
    "fan": ("RPM", 1),
    "in": ("V", 1000),
    "curr": ("A", 1000),
    "humidity": ("%", 1000),
}
_PLAIN = {"input", "average"}
_SETTINGS = {"max", "crit", "cap", "rated_max", "emergency", "min"}


def read_sensors(host: Host, function: PciFunction, so_far: Mapping[str, Any]) -> dict[str, Any]:
    """All readings and limits; a sensor is named by its label, else by its file."""
    directory = f"{function.sys_path}/hwmon"
    found: list[Sensor] = []
    unread: tuple[Unread, ...] = ()
    for name in host.list(directory).names:
        sensors, rows = _read_chip(host, f"{directory}/{name}")
        found += sensors
        unread += rows
    if not found and not unread:
        return {}
    answer: dict[str, Any] = {"sensors": tuple(found), "sources": {"sensors": directory}}
    return answer | ({"unread": unread} if unread else {})


def _read_chip(host: Host, path: str) -> tuple[list[Sensor], tuple[Unread, ...]]:
    names = host.list(path).names
    matches = [match for match in map(_FILE.fullmatch, names) if match]
    # i915 on a card with tiles has a chip for each, named i915_gt0 and so on.
    tile = re.search(r"_gt(\d+)$", read_text(host, f"{path}/name") or "") if "name" in names else None
    where = f" gt{tile[1]}" if tile else ""
    labels = {
        (match[1], match[2]): read_text(host, f"{path}/{match[0]}") or "" for match in matches if match[3] == "label"
    }
    sensors: list[Sensor] = []
    unread: tuple[Unread, ...] = ()
    for match in sorted(matches, key=lambda match: (match[1], int(match[2]), match[3])):
        kind, number, what = match[1], match[2], match[3]
        if what not in _PLAIN | _SETTINGS:
            continue
        answer = host.read(f"{path}/{match[0]}")
        value = parse_int(answer.text) if answer.ok else None
        if value is None:
            unread += explain_unread(f"{path}/{match[0]}", answer)
            continue
        unit, divisor = _UNITS[kind]
        label = (labels.get((kind, number), "") or number) + where
        suffix = "" if what in _PLAIN else f" {what.replace('_', ' ')}"
        sensors.append(
            Sensor(name=f"{kind} {label}{suffix}", value=value / divisor, unit=unit, source=f"{path}/{match[0]}")
        )
    return sensors, unread


QUESTION = Question(
    name="sensors",
    scope="device",
    order=80,
    summary="temperatures, power, energy, fans and voltages",
    read_device=read_sensors,
)
