"""GPU firmware files: their version, their compressed forms, and which of several the kernel takes."""

from __future__ import annotations

import lzma
import struct

import msgspec

from xpukit.facts.firmware import LayoutFacts, load_firmware_search
from xpukit.install.site import Site

UPDATES = "/lib/firmware/updates"
# The largest GPU firmware in linux-firmware is about 1 MiB.
# Of a file of a recorded machine.
UNRECORDED = "not in the recording"
CONTENT_LIMIT_BYTES = 64 << 20
_CPD_HEADER = struct.Struct("<4sIBBBBII")
_CPD_ENTRY = struct.Struct("<12sII4x")
_CPD_OFFSET_MASK = (1 << 25) - 1


class FirmwareFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that the kernel could take. `data` is what the GPU gets, uncompressed; `error` why it is not known."""

    path: str
    data: bytes = b""
    error: str = ""

    @property
    def version(self) -> str:
        return read_version(self.data)


def read_version(data: bytes) -> str:
    """The version that a firmware file states, as "70.44.1"; "" for one in no layout that we know."""
    for layout in load_firmware_search().layouts:
        if data.startswith(bytes.fromhex(layout.marker)):
            start = _find_entry(data, layout.entry) if layout.entry else 0
            return _unpack_version(data, layout, start) if start is not None else ""
    return ""


def _unpack_version(data: bytes, layout: LayoutFacts, start: int) -> str:
    at = start + layout.version_offset
    if len(data) < at + 6:
        return ""
    if layout.packed == "u16-u16-u16":
        numbers: tuple[int, ...] = struct.unpack_from("<3H", data, at)
    else:
        (word,) = struct.unpack_from("<I", data, at)
        numbers = (
            (word >> 16 & 0xFF, word >> 8 & 0xFF, word & 0xFF)
            if layout.packed == "u32-8-8-8"
            else (word >> 16, word & 0xFFFF)
        )
    return ".".join(str(number) for number in numbers) if any(numbers) else ""


def _find_entry(data: bytes, name: str) -> int | None:
    """Where an entry of a code partition directory begins."""
    if len(data) < _CPD_HEADER.size:
        return None
    _marker, count, _version, _entry_version, length, *_rest = _CPD_HEADER.unpack_from(data)
    for i in range(min(count, 256)):
        at = length + i * _CPD_ENTRY.size
        if len(data) < at + _CPD_ENTRY.size:
            return None
        raw, offset, _size = _CPD_ENTRY.unpack_from(data, at)
        if raw.rstrip(b"\0") == name.encode():
            return int(offset & _CPD_OFFSET_MASK)
    return None


def compare_versions(left: str, right: str) -> int:
    """-1, 0 or 1. Missing places count as 0. Raises ValueError for what is no version."""
    a, b = (tuple(int(part) for part in text.split(".")) for text in (left, right))
    size = max(len(a), len(b))
    first, second = a + (0,) * (size - len(a)), b + (0,) * (size - len(b))
    return (first > second) - (first < second)


def decompress(data: bytes, path: str) -> tuple[bytes, str]:
    """What a file holds, by its ending, and why it cannot be had."""
    try:
        if path.endswith(".xz"):
            reader = lzma.LZMADecompressor(memlimit=256 << 20)
            plain = reader.decompress(data, max_length=CONTENT_LIMIT_BYTES)
            return (plain, "") if reader.eof else (b"", "cut short or too large")
        if path.endswith(".zst"):
            import zstandard

            with zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(data) as stream:
                plain = stream.read(CONTENT_LIMIT_BYTES)
            size = zstandard.frame_content_size(data)
            if size >= 0 and size != len(plain):
                return b"", "cut short or too large"
            return plain, ""
    except (lzma.LZMAError, EOFError) as err:
        return b"", f"not valid xz data: {err}"
    except Exception as err:
        # zstandard's own error class cannot be named before it is imported.
        if type(err).__module__.split(".")[0] != "zstandard":
            raise
        return b"", f"not valid zstd data: {err}"
    return data, ""


def read_firmware(site: Site, path: str) -> FirmwareFile:
    """One file, decompressed."""
    answer = site.read(path, limit_bytes=CONTENT_LIMIT_BYTES)
    if answer.error or answer.truncated:
        return FirmwareFile(path=path, error=answer.error or "too large")
    data, error = decompress(answer.data, path)
    return FirmwareFile(path=path, data=data, error=error)


def list_kernels(site: Site) -> tuple[str, ...]:
    """The releases whose modules are installed."""
    return tuple(name for name in site.list("/lib/modules").names if not name.startswith("."))


def find_loaded(site: Site, name: str, kernel: str) -> FirmwareFile | None:
    """The file that a kernel takes for a name like "xe/bmg_guc_70.bin"; None when there is none."""
    search = load_firmware_search()
    for ending in search.endings:
        for directory in search.directories:
            if "{kernel}" in directory and not kernel:
                continue
            path = f"{directory.format(kernel=kernel)}/{name}{ending}"
            error = site.stat(path).error
            if error == "UNRECORDED":
                return FirmwareFile(path=path, error=UNRECORDED)
            if not error:
                return read_firmware(site, path)
    return None
