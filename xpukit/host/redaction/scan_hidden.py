"""What a text hides from rules that read it as it stands: base64, two bytes a letter, raw memory of devices."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator

_BASE64 = re.compile(r"(?<![\w+/=])[\w+/\-]{16,65536}={0,2}(?![\w+/=])", re.ASCII)
# A recording keeps NUL bytes as NUL characters.
_WIDE = re.compile(r"(?:[\t\n\r -~]\0){6,}|(?:\0[\t\n\r -~]){6,}")
# Offset 100h of a configuration space: a first extended capability; 0003h is the Device Serial Number.
_CAPABILITY = re.compile(r"\x03\x00[\x01\x41\x81\xc1](?s:.)(?P<v>(?s:.){8})")
_CONFIG_SIZE = 4096


def find_wide_texts(text: str) -> Iterator[str]:
    """Runs of UTF-16 in either byte order."""
    if "\0" in text:
        for match in _WIDE.finditer(text):
            yield match.group().replace("\0", "")


def find_base64_texts(text: str) -> Iterator[str]:
    """Runs of base64 that say something printable."""
    for word in {word for word in text.split() if len(word) >= 16}:
        for match in _BASE64.finditer(word):
            said = _decode(match.group())
            if said:
                yield said


def _decode(run: str) -> str:
    body = run.rstrip("=").translate(str.maketrans("-_", "+/"))
    body = body[: len(body) // 4 * 4] if len(body) % 4 == 1 else body + "=" * (-len(body) % 4)
    try:
        raw = base64.b64decode(body)
    except (binascii.Error, ValueError):
        return ""
    return raw.decode("ascii") if raw and all(32 <= sign < 127 or sign in b"\t\r\n" for sign in raw) else ""


def is_login(text: str) -> bool:
    """`user:password`, as registries and HTTP spell it."""
    return re.fullmatch(r"[\w.@\-]{1,64}:(?![\s/:\[])\S{4,128}", text) is not None


def has_vpd_serial(raw: bytes) -> bool:
    """Whether it is a device's vital product data (it begins with the card's name, 82h) with a serial number."""
    return raw[:1] == b"\x82" and re.search(rb"SN[\x04-\x2f](?!SN\d)[A-Za-z0-9]{4}", raw) is not None


def has_pci_serial(raw: bytes) -> bool:
    """Whether it is a device's configuration space with a serial number of its own."""
    if len(raw) != _CONFIG_SIZE or b"\0" not in raw:
        return False
    space = raw.decode("latin-1")
    for place in range(0x100, _CONFIG_SIZE - 12, 4):
        match = _CAPABILITY.match(space, place)
        if match is not None and len(set(match["v"])) > 1 and not match["v"].startswith("\x02\xca\xfe"):
            return True
    return False
