"""Serial numbers inside dumps of a device's own memory: PCI configuration space and vital product data."""

from __future__ import annotations

import re
from collections.abc import Callable

from xpukit.host.redaction.rule import Rule, Scene
from xpukit.host.redaction.stand_ins import render_hex, render_serial

NAME = "pci-serial"
# Extended capability 0003h, version 1, its next pointer a multiple of four (PCI Express Base Specification).
_FIRST_EXTENDED = 0x100
_VERSIONS = (0x01, 0x41, 0x81, 0xC1)
# `lspci -xxxx`, `xxd`, `hexdump -C`: an offset and sixteen bytes.
_LINE = re.compile(
    r"(?m)^[ \t]*(?P<offset>[0-9a-fA-F]{3,8}):?[ \t]+(?P<bytes>[0-9a-fA-F]{2}(?: {0,2}[0-9a-fA-F]{2}){15})"
    r"(?![0-9a-fA-F])"
)
_PCI_CONFIG = re.compile(r"/pci[^\s]*/config$")
_VPD_SERIAL = re.compile(rb"(?s)SN(?P<size>[\x04-\x2f])(?P<s>[A-Za-z0-9._\-]{4,64})")


def replace_in_dump(label: str, data: bytes, stand_in: Callable[[str, bool], str]) -> bytes:
    """A device's memory as sysfs gives it, its serial numbers replaced by `stand_in(name, is_hex)`."""
    if label.endswith("/vpd"):

        def change(match: re.Match[bytes]) -> bytes:
            size = match["size"][0]
            name = match["s"][:size].decode("ascii")
            return b"SN" + match["size"] + stand_in(name, False).encode("ascii") + match["s"][size:]

        return _VPD_SERIAL.sub(change, data)
    if not _PCI_CONFIG.search(label) or len(data) < _FIRST_EXTENDED + 12:
        return data
    at = find_serial_number(data)
    if at is None:
        return data
    shown = stand_in(data[at : at + 8].hex(), True)
    return data[:at] + bytes.fromhex(shown) + data[at + 8 :]


def find_serial_number(data: bytes) -> int | None:
    """Where the eight bytes of the Device Serial Number stand in a whole configuration space."""
    place, seen = _FIRST_EXTENDED, set[int]()
    while place and place not in seen and place + 12 <= len(data):
        seen.add(place)
        header = int.from_bytes(data[place : place + 4], "little")
        if header & 0xFFFF == 0x0003:
            return place + 4 if _is_number(data[place + 4 : place + 12]) else None
        place = header >> 20 & 0xFFC
    return None


def _is_number(found: bytes) -> bool:
    return len(set(found)) > 1 and not found.startswith(b"\x02\xca\xfe")


def _replace_in_text(text: str, scene: Scene) -> str:
    runs: list[list[tuple[int, int]]] = []
    expected = -1
    for match in _LINE.finditer(text):
        offset = int(match["offset"], 16)
        if offset < _FIRST_EXTENDED or offset % 16:
            expected = -1
            continue
        if offset != expected or not runs:
            runs.append([])
        begin = match.start("bytes")
        places = [begin + pair.start() for pair in re.finditer("[0-9a-fA-F]{2}", match["bytes"])]
        runs[-1] += [(place, int(text[place : place + 2], 16)) for place in places]
        expected = offset + 16
    signs: list[str] = []
    for run in runs:
        values = bytes(value for _, value in run)
        for start in range(0, len(run) - 11, 4):
            number = values[start + 4 : start + 12]
            is_serial = values[start : start + 2] == b"\x03\x00" and values[start + 2] in _VERSIONS
            if not is_serial or not _is_number(number):
                continue
            signs = signs or list(text)
            shown = scene.stand_in(NAME, "dsn", number.hex(), render_hex)
            for index in range(8):
                place = run[start + 4 + index][0]
                signs[place : place + 2] = shown[2 * index : 2 * index + 2]
    return "".join(signs) if signs else text


def stand_in_for_dump(scene: Scene) -> Callable[[str, bool], str]:
    """For `replace_in_dump`: a hex number or a serial number of the same length."""

    def stand_in(name: str, is_hex: bool) -> str:
        if is_hex:
            return scene.stand_in(NAME, "dsn", name, render_hex)
        scene.learn("serial", name)
        return scene.stand_in(NAME, "serial", name, render_serial)

    return stand_in


RULES: tuple[Rule, ...] = (
    Rule(
        name=NAME,
        removes="name",
        what="Device Serial Numbers in dumps of PCI configuration space and vital product data",
        hints=("03 00 ", "0300 "),
        apply=_replace_in_text,
        whole=True,
    ),
)
