"""OpenPGP as far as a bundle needs it: the fingerprint of a key, and asking gpgv or sqv whether a signature is good.

Every machine with apt has one of the two (apt checks its archives with it), so verifying needs nothing installed.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from xpukit.core.errors import ExternalError
from xpukit.host.door import Host

_VERIFY_LIMIT_S = 30.0
_PUBLIC_KEY = 6
_VERSION_4 = 4


def read_fingerprint(keyring: bytes) -> tuple[str, str]:
    """The fingerprint (40 hex digits) of the one key in a binary keyring; or "" and why there is none.

    A file with a second key is refused: a signature by that one would count as well. RFC 9580, 4.2 and 5.5.4.
    """
    try:
        keys = [body for tag, body in _split_packets(keyring) if tag == _PUBLIC_KEY]
    except (IndexError, ValueError):
        return "", "is no OpenPGP key (binary, as `gpg --export` writes it)"
    if len(keys) != 1:
        return "", f"holds {len(keys)} keys instead of one"
    body = keys[0]
    if body[:1] != bytes([_VERSION_4]):
        return "", "is a key of a version other than 4"
    # SHA-1 is what the format prescribes for version 4.
    digest = hashlib.sha1(b"\x99" + len(body).to_bytes(2, "big") + body, usedforsecurity=False)
    return digest.hexdigest().upper(), ""


def _split_packets(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and body of each packet. Raises ValueError or IndexError for what is none."""
    at = 0
    while at < len(data):
        head = data[at]
        if not head & 0x80:
            raise ValueError("no packet")
        if head & 0x40:
            tag, (size, used) = head & 0x3F, _read_new_length(data, at + 1)
        else:
            tag, (size, used) = (head >> 2) & 0x0F, _read_old_length(data, at + 1, head & 0x03)
        start = at + 1 + used
        if start + size > len(data):
            raise ValueError("cut short")
        yield tag, data[start : start + size]
        at = start + size


def _read_new_length(data: bytes, at: int) -> tuple[int, int]:
    first = data[at]
    if first < 192:
        return first, 1
    if first < 224:
        return ((first - 192) << 8) + data[at + 1] + 192, 2
    if first == 255:
        return int.from_bytes(data[at + 1 : at + 5], "big"), 5
    raise ValueError("partial lengths are for messages, not keys")


def _read_old_length(data: bytes, at: int, kind: int) -> tuple[int, int]:
    if kind == 3:
        raise ValueError("a length that is not said")
    used = 1 << kind
    return int.from_bytes(data[at : at + used], "big"), used


def normalize_fingerprint(text: str) -> str:
    """As people write it (spaces, colons, lower case) to 40 hex digits; "" for what is none."""
    plain = "".join(text.split()).replace(":", "").removeprefix("0x").upper()
    return plain if len(plain) == 40 and all(digit in "0123456789ABCDEF" for digit in plain) else ""


def format_fingerprint(fingerprint: str) -> str:
    """In groups of four, to be read aloud."""
    return " ".join(fingerprint[at : at + 4] for at in range(0, len(fingerprint), 4))


def check_signature(host: Host, *, keyring: bytes, signature: bytes, data: bytes) -> str:
    """Whether the key signed the data: "" or why not. Raises ExternalError where neither gpgv nor sqv is installed."""
    with tempfile.TemporaryDirectory(prefix="xpukit-verify-") as made:
        place = Path(made)
        for name, content in (("key.gpg", keyring), ("data", data), ("data.sig", signature)):
            (place / name).write_bytes(content)
        key, signed, bare = str(place / "key.gpg"), str(place / "data.sig"), str(place / "data")
        for argv in (
            ("gpgv", "--homedir", made, "--keyring", key, signed, bare),
            ("sqv", "--keyring", key, signed, bare),
        ):
            if not host.which(argv[0]).value:
                continue
            ran = host.run(argv, timeout_s=_VERIFY_LIMIT_S)
            if ran.ok:
                return ""
            lines = [line.strip() for line in ran.err_text.splitlines() if line.strip()]
            return lines[-1].replace(f"{made}/", "") if lines else ran.describe_failure()
    raise ExternalError(
        "neither gpgv nor sqv is installed, so no signature can be checked",
        hint="both come with apt: apt-get install gpgv (Debian 13: sqv)",
    )
