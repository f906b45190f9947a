"""Versions of the firmwares that the driver loaded: GuC, HuC, GSC, DMC, and those bound late."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from xpukit.core.finding import Evidence, Finding
from xpukit.core.machine import Firmware, Unread
from xpukit.host.door import Host
from xpukit.probe.debugfs import find_directory
from xpukit.probe.question import PciFunction, Question
from xpukit.probe.sysfs import explain_unread, read_text

_GT = re.compile(r"gt\d+")
_TILE = re.compile(r"tile\d+")
_UC_HEAD = re.compile(r"^(\w+) firmware(?: wanted)?: (\S+)", re.MULTILINE)
_UC_STATUS = re.compile(r"^\s*status: (.+)$", re.MULTILINE)
# xe: "found release version 70.44.1"; i915: "version: wanted 70.13.1, found 70.20.0" or "version: found 70.20.0".
_UC_FOUND = re.compile(r"found (?:release )?(?:version )?(\d+(?:\.\d+)+)")
_DMC_VERSION = re.compile(r"^version: (\d+(?:\.\d+)+)", re.MULTILINE)
_DMC_LOADED = re.compile(r"^fw loaded: (\w+)", re.MULTILINE)
_UC_FILES = ("guc_info", "huc_info", "gsc_info")
_SYSFS_VERSIONS = (("lb_fan_control_version", "fan control"), ("lb_voltage_regulator_version", "voltage regulator"))
_MODINFO_TIMEOUT_S = 5.0


def parse_uc_info(text: str, source: str) -> Firmware | None:
    """A guc_info, huc_info or gsc_info of xe or i915; None when it names no firmware (a GT without that unit)."""
    head = _UC_HEAD.search(text)
    status, found = _UC_STATUS.search(text), _UC_FOUND.search(text)
    if not head or (status and status[1].strip() == "N/A"):
        return None
    return Firmware(
        name=head[1],
        version=found[1] if found else "",
        source=source,
        status=status[1].strip() if status else "",
    )


def parse_dmc_info(text: str, source: str) -> Firmware | None:
    """An i915_dmc_info (xe has it too, for its display half)."""
    loaded, version = _DMC_LOADED.search(text), _DMC_VERSION.search(text)
    if not loaded and not version:
        return None
    status = {"yes": "loaded", "no": "not loaded"}.get(loaded[1], loaded[1]) if loaded else ""
    return Firmware(name="DMC", version=version[1] if version else "", source=source, status=status)


def read_firmware(host: Host, function: PciFunction, so_far: Mapping[str, Any]) -> dict[str, Any]:
    """Loaded versions from debugfs and sysfs; without debugfs, the file names that the module asks for."""
    if function.driver not in ("xe", "i915"):
        return {}
    firmwares = list(_read_sysfs(host, function))
    directory, unread = find_directory(host, function)
    if directory:
        loaded, rows = _read_debugfs(host, directory)
        firmwares += loaded
        unread += rows
    found: dict[str, Any] = {"sources": {"firmware": directory or function.sys_path}}
    wanted = _list_wanted(host, function.driver)
    if wanted and not any(firmware.name == "GuC" for firmware in firmwares):
        found["extra"] = {"firmware_files": wanted}
    if firmwares:
        found["firmware"] = tuple(firmwares)
    if unread:
        found["unread"] = unread
    mode = read_text(host, f"{function.sys_path}/survivability_mode")
    if mode:
        found["findings"] = (_report_survivability(function, mode),)
    return found


def _read_sysfs(host: Host, function: PciFunction) -> list[Firmware]:
    names = host.list(function.sys_path).names
    found = []
    for name, what in _SYSFS_VERSIONS:
        path = f"{function.sys_path}/{name}"
        version = read_text(host, path) if name in names else None
        if version:
            found.append(Firmware(name=what, version=version, source=path))
    return found


def _read_debugfs(host: Host, directory: str) -> tuple[list[Firmware], tuple[Unread, ...]]:
    listing = host.list(directory)
    places = [f"{directory}/{name}" for name in listing.names if _GT.fullmatch(name)]
    if not places:  # newer xe puts the GTs below their tile
        for tile in (name for name in listing.names if _TILE.fullmatch(name)):
            below = f"{directory}/{tile}"
            places += [f"{below}/{name}" for name in host.list(below).names if _GT.fullmatch(name)]
    found: dict[tuple[str, str, str], Firmware] = {}
    unread: tuple[Unread, ...] = ()
    paths = [(f"{place}/uc/{name}", parse_uc_info) for place in places for name in _list_uc(host, place)]
    if "i915_dmc_info" in listing.names:
        paths.append((f"{directory}/i915_dmc_info", parse_dmc_info))
    for path, parse in paths:
        answer = host.read(path)
        firmware = parse(answer.text, path) if answer.ok else None
        if firmware is None:
            unread += explain_unread(path, answer)
            continue
        # A media GT repeats what the main GT says; what differs is listed once each.
        found.setdefault((firmware.name, firmware.version, firmware.status), firmware)
    return list(found.values()), unread


def _list_uc(host: Host, place: str) -> tuple[str, ...]:
    names = host.list(f"{place}/uc").names
    return tuple(name for name in _UC_FILES if name in names)


def _list_wanted(host: Host, driver: str) -> list[str]:
    ran = host.run(["modinfo", "-F", "firmware", driver], timeout_s=_MODINFO_TIMEOUT_S)
    return sorted(set(ran.text.split())) if ran.ok else []


def _report_survivability(function: PciFunction, mode: str) -> Finding:
    return Finding(
        id="XPK-PROBE-SURVIVABILITY",
        severity="critical",
        summary=f"{function.bdf} runs in survivability mode: its firmware is damaged and it can only be reflashed",
        evidence=(Evidence(source=f"{function.sys_path}/survivability_mode", value=mode.splitlines()[0]),),
        remedy=("update the firmware with xpu-smi updatefw or fwupd, then power the machine off and on",),
        subject=function.bdf,
    )


QUESTION = Question(
    name="firmware",
    scope="device",
    order=90,
    summary="GuC, HuC, GSC and DMC versions",
    read_device=read_firmware,
)
