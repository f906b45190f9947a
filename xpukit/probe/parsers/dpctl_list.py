"""What `python -m dpctl -f` and `clinfo -l` print."""

from __future__ import annotations

import re

import msgspec

from xpukit.probe.parsers.printed import Note, Notes, split_lines


class ListedDevice(msgspec.Struct, frozen=True, kw_only=True):
    """One device: `selector` is dpctl's filter string ("level_zero:gpu:0") or clinfo's "platform.device"."""

    platform: str
    name: str
    selector: str
    driver: str = ""


class DeviceListing(msgspec.Struct, frozen=True, kw_only=True):
    """What was read; no device at all is a valid answer."""

    devices: tuple[ListedDevice, ...] = ()
    notes: tuple[Note, ...] = ()


_PLATFORM = re.compile(r"Platform\s+(\d{1,6})\s*::")
_NUMBER = re.compile(r"\s+# (\d{1,6})")
_KEYS = ("Filter string", "Num Devices", "Name", "Version", "Vendor", "Backend")


def parse_dpctl(data: bytes) -> DeviceListing:
    """`python -m dpctl -f`: platform blocks with numbered devices."""
    notes = Notes()
    devices: list[ListedDevice] = []
    platform = ""
    fields: dict[str, str] | None = None
    records: list[tuple[str, dict[str, str]]] = []
    for number, line in split_lines(data, notes):
        text = line.strip()
        key = next((key for key in _KEYS if text.startswith(f"{key} ")), "")
        if not text:
            continue
        if _PLATFORM.fullmatch(line):
            platform, fields = "", None
        elif _NUMBER.fullmatch(line):
            fields = {}
            records.append((platform, fields))
        elif key and fields is not None:
            fields.setdefault(key, text.removeprefix(key).strip())
        elif key == "Name":
            platform = text.removeprefix(key).strip()
        elif not key:
            notes.add(number, f"not understood: {text}")
    for owner, record in records:
        if "Filter string" not in record:
            notes.add(0, f"a device of {owner or 'an unnamed platform'} has no filter string")
            continue
        devices.append(
            ListedDevice(
                platform=owner,
                name=record.get("Name", ""),
                selector=record["Filter string"],
                driver=record.get("Version", ""),
            )
        )
    return DeviceListing(devices=tuple(devices), notes=notes.done())


_RAW = re.compile(r"(\d{1,6})(?:\.(\d{1,6}))?: (.*)")
_TREE_PLATFORM = re.compile(r"Platform #(\d{1,6}): (.*)")
_TREE_DEVICE = re.compile(r"\s*[`+|]-- Device #(\d{1,6}): (.*)")


def parse_clinfo(data: bytes) -> DeviceListing:
    """`clinfo -l`, drawn as a tree or `--raw`."""
    notes = Notes()
    devices: list[ListedDevice] = []
    platforms: dict[str, str] = {}
    current = ""
    for number, line in split_lines(data, notes):
        raw = _RAW.fullmatch(line)
        head = _TREE_PLATFORM.fullmatch(line)
        leaf = _TREE_DEVICE.fullmatch(line)
        if head:
            current = head.group(1)
            platforms[current] = head.group(2)
        elif leaf and current:
            selector = f"{current}.{leaf.group(1)}"
            devices.append(ListedDevice(platform=platforms[current], name=leaf.group(2), selector=selector))
        elif raw and raw.group(2) is None:
            platforms[raw.group(1)] = raw.group(3)
        elif raw:
            selector = f"{raw.group(1)}.{raw.group(2)}"
            owner = platforms.get(raw.group(1), "")
            devices.append(ListedDevice(platform=owner, name=raw.group(3), selector=selector))
        elif line.strip():
            notes.add(number, f"not understood: {line.strip()}")
    return DeviceListing(devices=tuple(devices), notes=notes.done())
