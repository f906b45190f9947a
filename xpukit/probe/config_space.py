"""PCI configuration space, as sysfs gives it: capability lists, port types, ACS and resizable BARs.

Offsets and bits are those of the PCI Express Base Specification. A user without CAP_SYS_ADMIN gets the first 64 bytes
only, without any capability: `is_whole` tells.
"""

from __future__ import annotations

from typing import Literal

import msgspec

HEADER_BYTES = 64
CONVENTIONAL_BYTES = 256

CAP_PCI_EXPRESS = 0x10
EXT_ACS = 0x000D
EXT_RESIZABLE_BAR = 0x0015

PortType = Literal[
    "endpoint", "legacy-endpoint", "root-port", "upstream", "downstream", "bridge", "integrated-endpoint", ""
]
_PORT_TYPES: dict[int, PortType] = {
    0x0: "endpoint",
    0x1: "legacy-endpoint",
    0x4: "root-port",
    0x5: "upstream",
    0x6: "downstream",
    0x7: "bridge",
    0x8: "bridge",
    0x9: "integrated-endpoint",
}

# Bits of the ACS capability and control registers, with the names that lspci uses.
ACS_BITS = (
    (0, "SourceValidation"),
    (1, "TranslationBlocking"),
    (2, "RequestRedirect"),
    (3, "CompletionRedirect"),
    (4, "UpstreamForwarding"),
    (5, "EgressControl"),
    (6, "DirectTranslated"),
)
# Peer traffic below a switch goes up to the root complex when one of these is set.
ACS_REDIRECTS = frozenset({"RequestRedirect", "CompletionRedirect", "EgressControl"})


class Acs(msgspec.Struct, frozen=True, kw_only=True):
    """What the port could control, and what is switched on."""

    capable: tuple[str, ...] = ()
    enabled: tuple[str, ...] = ()


class ResizableBar(msgspec.Struct, frozen=True, kw_only=True):
    """One BAR of the resizable-BAR capability."""

    index: int
    size_bytes: int
    possible_bytes: tuple[int, ...]


def is_whole(config: bytes) -> bool:
    """Whether capabilities could be in it at all."""
    return len(config) >= CONVENTIONAL_BYTES


def is_gone(config: bytes) -> bool:
    """Whether the function is no longer there: no vendor has the id ffff."""
    return config[:4] == b"\xff\xff\xff\xff"


def _u8(config: bytes, offset: int) -> int:
    return config[offset] if offset < len(config) else 0


def _u16(config: bytes, offset: int) -> int:
    return int.from_bytes(config[offset : offset + 2], "little") if offset + 2 <= len(config) else 0


def _u32(config: bytes, offset: int) -> int:
    return int.from_bytes(config[offset : offset + 4], "little") if offset + 4 <= len(config) else 0


def list_capabilities(config: bytes) -> tuple[tuple[int, int], ...]:
    """(id, offset) of the conventional capabilities. Ends at a loop, at a wild pointer and at the end of the data."""
    if not is_whole(config) or not _u16(config, 0x06) & 0x10:
        return ()
    found: list[tuple[int, int]] = []
    seen: set[int] = set()
    offset = _u8(config, 0x34) & 0xFC
    while HEADER_BYTES <= offset < CONVENTIONAL_BYTES and offset not in seen:
        seen.add(offset)
        identity = _u8(config, offset)
        if identity == 0xFF:  # a device that fell off the bus reads as all ones
            break
        found.append((identity, offset))
        offset = _u8(config, offset + 1) & 0xFC
    return tuple(found)


def list_extended(config: bytes) -> tuple[tuple[int, int], ...]:
    """(id, offset) of the extended capabilities."""
    found: list[tuple[int, int]] = []
    seen: set[int] = set()
    offset = CONVENTIONAL_BYTES
    while CONVENTIONAL_BYTES <= offset <= len(config) - 4 and offset not in seen:
        seen.add(offset)
        header = _u32(config, offset)
        if header in (0, 0xFFFFFFFF):
            break
        found.append((header & 0xFFFF, offset))
        offset = header >> 20 & 0xFFC
    return tuple(found)


def read_port_type(config: bytes) -> PortType:
    """What a function is on the PCI Express tree; "" when it does not say."""
    for identity, offset in list_capabilities(config):
        if identity == CAP_PCI_EXPRESS:
            return _PORT_TYPES.get(_u16(config, offset + 2) >> 4 & 0xF, "")
    return ""


def read_acs(config: bytes) -> Acs | None:
    """Access Control Services, None where the function has none."""
    for identity, offset in list_extended(config):
        if identity == EXT_ACS:
            capable, enabled = _u16(config, offset + 4), _u16(config, offset + 6)
            return Acs(
                capable=tuple(name for bit, name in ACS_BITS if capable >> bit & 1),
                enabled=tuple(name for bit, name in ACS_BITS if enabled >> bit & 1),
            )
    return None


def read_resizable_bars(config: bytes) -> tuple[ResizableBar, ...]:
    """The BARs whose size can be chosen, with the sizes offered (1 MiB << bit)."""
    for identity, offset in list_extended(config):
        if identity != EXT_RESIZABLE_BAR:
            continue
        count = min(_u32(config, offset + 8) >> 5 & 0x7, 6)
        bars = []
        for position in range(count):
            capability = _u32(config, offset + 4 + 8 * position)
            control = _u32(config, offset + 8 + 8 * position)
            # Bits 4-31 of the first register offer 1 MiB to 128 TiB, bits 16-31 of the second 256 TiB and more.
            offered = capability >> 4 | (control >> 16) << 28
            bars.append(
                ResizableBar(
                    index=control & 0x7,
                    size_bytes=1 << 20 + (control >> 8 & 0x3F),
                    possible_bytes=tuple(1 << 20 + bit for bit in range(44) if offered >> bit & 1),
                )
            )
        return tuple(bars)
    return ()
