"""Small firmware files with the headers that real ones have (kernel xe_uc_fw_abi.h, intel_dmc.c), and a made driver."""

from __future__ import annotations

import struct


def make_guc(major: int, minor: int, patch: int, *, body: bytes = b"guc") -> bytes:
    """A CSS header: module_type 6, sw_version at byte 64."""
    header = struct.pack("<11I", 6, 0xE1, 0x10000, 0, 0x8086, 0x20250220, 0x1A921, 0x60, 0x60, 1, 0)
    header += b"\0" * 20 + struct.pack("<I", major << 16 | minor << 8 | patch)
    return header.ljust(128, b"\0") + body


def make_dmc(major: int, minor: int, *, body: bytes = b"dmc") -> bytes:
    """DMC's own header: module_type 9, version at byte 88."""
    header = struct.pack("<7I", 9, 0x20, 0x10000, 0, 0, 0x7E70712, 0x2CE3).ljust(88, b"\0")
    return (header + struct.pack("<I", major << 16 | minor)).ljust(128, b"\0") + body


def make_huc(major: int, minor: int, patch: int, *, name: bytes = b"HUCP.man") -> bytes:
    """A code partition directory whose first entry is the manifest with the version at byte 36."""
    manifest = struct.pack("<9I", 4, 0xA1, 0x10000, 0, 0x8086, 0, 0, 0, 0) + struct.pack("<4H", major, minor, patch, 1)
    offset = 20 + 24 * 2
    directory = struct.pack("<4sIBBBBII", b"$CPD", 2, 2, 1, 20, 0, 0x50435548, 0)
    # The real entry has bits above the offset.
    entries = struct.pack("<12sII4x", name, offset | 1 << 25, len(manifest))
    entries += struct.pack("<12sII4x", b"huc_fw", offset + len(manifest), 3)
    return directory + entries + manifest + b"huc"


def make_module(name: str, firmware: tuple[str, ...], kernel: str) -> bytes:
    """A kernel module as far as modinfo and depmod look: an ELF object with a `.modinfo` section. It has no code."""
    words = [f"name={name}", "license=GPL", f"vermagic={kernel} SMP ", "depends=", *(f"firmware={f}" for f in firmware)]
    info = b"".join(word.encode() + b"\0" for word in words)
    names = b"\0.modinfo\0.shstrtab\0"
    at_info, at_names = 64, 64 + len(info)
    at_sections = (at_names + len(names) + 7) // 8 * 8
    header = struct.pack(
        "<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01".ljust(16, b"\0"), 1, 62, 1, 0, 0, at_sections, 0, 64, 0, 0, 64, 3, 2
    )
    section = struct.Struct("<IIQQQQIIQQ")
    sections = section.pack(0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    sections += section.pack(1, 1, 2, 0, at_info, len(info), 0, 0, 1, 0)
    sections += section.pack(10, 3, 0, 0, at_names, len(names), 0, 0, 1, 0)
    return (header + info + names).ljust(at_sections, b"\0") + sections
