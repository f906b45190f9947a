"""What `xpu-smi discovery` and `xpu-smi -v` print, generations 1.0 to 1.3.7 and the rewrite 2.x.

1.x draws tables with borders and its JSON knows `uuid`, `drm_device`, `function_type`; 2.x aligns two columns without
borders, adds the device's state and writes library errors before either. Serial numbers are not kept.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from xpukit.core.json_document import BAD_JSON
from xpukit.probe.parsers.printed import (
    Note,
    Notes,
    normalize_bdf,
    normalize_device_id,
    read_count,
    read_size_bytes,
    split_lines,
)

DEVICE_LIMIT = 256


class XpuSmiDevice(msgspec.Struct, frozen=True, kw_only=True):
    """One device. `firmware` maps names (GFX, AMC …) to versions; `errors` is what `state` says if not normal."""

    index: int
    name: str = ""
    bdf: str = ""
    uuid: str = ""
    device_id: str = ""
    drm_device: str = ""
    function_type: str = ""
    state: str = ""
    driver_version: str = ""
    memory_bytes: int | None = None
    tiles: int | None = None
    firmware: dict[str, str] = {}


class XpuSmiListing(msgspec.Struct, frozen=True, kw_only=True):
    """What was read. `error` is an error text that the tool printed in place of a list (often with exit 0)."""

    devices: tuple[XpuSmiDevice, ...] = ()
    found: bool = False
    error: str = ""
    notes: tuple[Note, ...] = ()


class XpuSmiVersion(msgspec.Struct, frozen=True, kw_only=True):
    """Versions; "" where not printed."""

    cli: str = ""
    build: str = ""
    service: str = ""
    level_zero: str = ""
    notes: tuple[Note, ...] = ()


# Labels of the tables as the names that the JSON output uses.
_LABELS = {
    "device name": "device_name",
    "device state": "device_state",
    "uuid": "uuid",
    "soc uuid": "uuid",
    "pci device id": "pci_device_id",
    "pci bdf address": "pci_bdf_address",
    "drm device": "drm_device",
    "function type": "device_function_type",
    "driver version": "driver_version",
    "memory physical size": "memory_physical_size",
    "number of tiles": "number_of_tiles",
    "gfx firmware version": "gfx_firmware_version",
    "gfx data firmware version": "gfx_data_firmware_version",
    "gfx psc firmware version": "gfx_pscbin_firmware_version",
    "amc firmware version": "amc_firmware_version",
    "firmware name": "firmware_name",
    "firmware version": "firmware_version",
}
_FIRMWARE = {
    "gfx_firmware_version": "GFX",
    "gfx_data_firmware_version": "GFX_DATA",
    "gfx_pscbin_firmware_version": "GFX_PSCBIN",
    "amc_firmware_version": "AMC",
}
_NOTHING = frozenset({"", "unknown", "n/a", "none", "null", "-"})
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}")
_ERROR = re.compile(
    r"(?i)^\s*(?:\[?error\]?\s*[:\s]|failed to\b|xpum\b.*\b(?:fail|error)|level zero initialization error|no device)"
)


def parse_discovery_json(data: bytes) -> XpuSmiListing:
    """`xpu-smi discovery -j` or `discovery -d N -j`; text before and after the document is skipped with a note."""
    notes = Notes()
    document = _find_document(data, notes)
    if document is None:
        return XpuSmiListing(error=_find_error(data), notes=notes.done())
    error = _text(document.get("error"))
    listed = document.get("device_list")
    if listed is None and ("device_id" in document or "pci_bdf_address" in document):
        listed = [document]
    if not isinstance(listed, list):
        if not error:
            notes.add(0, "the JSON document has neither device_list nor a device")
        return XpuSmiListing(error=error or _find_error(data), notes=notes.done())
    devices = []
    for place, entry in enumerate(listed[:DEVICE_LIMIT]):
        if not isinstance(entry, dict):
            notes.add(0, f"device_list[{place}] is not an object")
            continue
        device = _build_device(entry, _index(entry.get("device_id")), 0, notes)
        if device is not None:
            devices.append(device)
    return XpuSmiListing(devices=tuple(devices), found=True, error=error, notes=notes.done())


def parse_discovery_table(data: bytes) -> XpuSmiListing:
    """`xpu-smi discovery` or `discovery -d N` for people, with borders (1.x) or without (2.x)."""
    notes = Notes()
    rows = _Rows(notes)
    for number, line in split_lines(data, notes):
        if "Device Information" in line and "Device ID" in line:
            rows.start()
        elif rows.started:
            rows.take(number, line)
        elif line.strip() and not line.lstrip().startswith(("+-", "[")):
            notes.add(number, f"before the table: {line.strip()}")
    error = "" if rows.started else _find_error(data)
    if not rows.started:
        notes.add(0, "no table of devices")
    devices = [_build_device(fields, index, line, notes) for index, line, fields in rows.records[:DEVICE_LIMIT]]
    kept = tuple(device for device in devices if device is not None)
    return XpuSmiListing(devices=kept, found=rows.started, error=error, notes=notes.done())


def parse_version(data: bytes) -> XpuSmiVersion:
    """`xpu-smi -v`: a CLI and a Service block of indented `key: value` lines."""
    notes = Notes()
    block = ""
    found: dict[tuple[str, str], str] = {}
    for number, line in split_lines(data, notes):
        key, colon, value = (part.strip() for part in line.partition(":"))
        if not line.strip():
            continue
        if not colon:
            notes.add(number, f"not understood: {line.strip()}")
        elif not value and not line.startswith((" ", "\t")):
            block = key.lower()
        else:
            found.setdefault((block, key.lower()), value)
    return XpuSmiVersion(
        cli=found.get(("cli", "version"), ""),
        build=found.get(("cli", "build id"), ""),
        service=found.get(("service", "version"), ""),
        level_zero=found.get(("service", "level zero version"), ""),
        notes=notes.done(),
    )


class _Rows:
    """Gathers the `label: value` lines of each device of a table."""

    _BORDERED = re.compile(r"\|\s*(\d{0,6})\s*\|(.*)\|")
    _PLAIN = re.compile(r"\s{0,12}(\d{1,6})\s{2,}(\S.*)")

    def __init__(self, notes: Notes) -> None:
        self.started = False
        self.records: list[tuple[int | None, int, dict[str, Any]]] = []
        self._notes = notes
        self._label = ""

    def start(self) -> None:
        self.started = True

    def take(self, number: int, line: str) -> None:
        stripped = line.strip()
        if not stripped or set(stripped) <= set("+-= "):
            return
        bordered = self._BORDERED.fullmatch(stripped)
        plain = None if bordered or line.startswith("|") else self._PLAIN.fullmatch(line)
        if bordered:
            index_text, cell = bordered.group(1), bordered.group(2).strip()
        elif plain:
            index_text, cell = plain.group(1), plain.group(2).strip()
        elif line.startswith((" ", "\t")) and self.records:
            index_text, cell = "", stripped
        else:
            self._notes.add(number, f"not a row: {stripped}")
            return
        if index_text:
            self.records.append((int(index_text), number, {}))
            self._label = ""
        if not self.records:
            self._notes.add(number, f"a row before any device: {stripped}")
        elif cell:
            self._take_cell(number, cell)

    def _take_cell(self, number: int, cell: str) -> None:
        fields = self.records[-1][2]
        label, colon, value = cell.partition(":")
        if colon and (value[:1] in ("", " ")):
            self._label = _LABELS.get(label.strip().lower(), "")
            if self._label == "firmware_version":
                # 1.0 names one firmware in two rows.
                fields[f"{fields.pop('firmware_name', 'gfx').lower()}_firmware_version"] = value.strip()
            elif self._label:
                fields.setdefault(self._label, value.strip())
        elif self._label in fields:
            # A long value is wrapped into the next row.
            fields[self._label] = f"{fields[self._label]} {cell}"
        elif not self._label and not fields:
            self._notes.add(number, f"not understood: {cell}")


def _find_document(data: bytes, notes: Notes) -> dict[str, Any] | None:
    """The first JSON object that begins at the margin."""
    text = data.decode("utf-8", errors="replace").removeprefix("\ufeff")
    offset = 0
    tries = 0
    for number, line in enumerate(text.split("\n"), start=1):
        start = offset
        offset += len(line) + 1
        # Only at the margin: an indented one is part of a document that was cut short.
        if not line.startswith("{"):
            if line.strip() and tries == 0:
                notes.add(number, f"before the document: {line.strip()}")
            continue
        tries += 1
        if tries > 8:
            break
        try:
            document, end = json.JSONDecoder().raw_decode(text, start)
        except BAD_JSON as err:
            notes.add(number, f"not a JSON document: {err}")
            continue
        if text[end:].strip():
            notes.add(text.count("\n", 0, end) + 1, f"after the document: {text[end:].strip().splitlines()[0]}")
        return document if isinstance(document, dict) else None
    return None


def _find_error(data: bytes) -> str:
    """The first line that reads like an error, for output that holds nothing else."""
    for _, line in split_lines(data, Notes()):
        if _ERROR.search(line):
            return line.strip()[:200]
    return ""


def _build_device(fields: Mapping[str, Any], index: int | None, line: int, notes: Notes) -> XpuSmiDevice | None:
    if index is None:
        notes.add(line, "a device without device_id")
        return None
    bdf_text = _text(fields.get("pci_bdf_address"))
    bdf = normalize_bdf(bdf_text)
    if bdf_text and not bdf:
        notes.add(line, f"device {index}: {bdf_text!r} is not a PCI address")
    uuid = _text(fields.get("uuid"))
    if uuid and not _UUID.fullmatch(uuid):
        notes.add(line, f"device {index}: {uuid!r} is not a UUID")
        uuid = ""
    return XpuSmiDevice(
        index=index,
        name=_text(fields.get("device_name")),
        bdf=bdf,
        uuid=uuid.lower(),
        device_id=normalize_device_id(_text(fields.get("pci_device_id"))),
        drm_device=_text(fields.get("drm_device")),
        function_type=_text(fields.get("device_function_type") or fields.get("function_type")),
        state=_text(fields.get("device_state")),
        driver_version=_text(fields.get("driver_version")),
        memory_bytes=_read_memory(fields),
        tiles=read_count(_text(fields.get("number_of_tiles"))) or None,
        firmware=dict(_read_firmware(fields)),
    )


def _read_memory(fields: Mapping[str, Any]) -> int | None:
    exact = read_count(_text(fields.get("memory_physical_size_byte")))
    return exact or read_size_bytes(_text(fields.get("memory_physical_size"))) or None


def _read_firmware(fields: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    for key, name in _FIRMWARE.items():
        version = _text(fields.get(key))
        if version:
            yield name, version


def _text(value: Any) -> str:
    """A field as text; "" for what the tool writes when it does not know."""
    if not isinstance(value, (str, int)) or isinstance(value, bool):
        return ""
    try:
        text = str(value).strip()
    except ValueError:  # more digits than Python turns into text
        return ""
    return "" if text.lower() in _NOTHING else text[:300]


def _index(value: Any) -> int | None:
    return read_count(_text(value))
