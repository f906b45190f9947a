"""How a pseudonym of each kind is written: the format of what it replaces, and no other meaning."""

from __future__ import annotations

import ipaddress

# Letters in every pseudonym: they show whether the name was written in capitals, and no number is taken for one.
_HEX_TAG = "cafe"


def _match_case(pseudonym: str, name: str) -> str:
    return pseudonym.upper() if name.isupper() else pseudonym


def render_host(number: int, name: str) -> str:
    return _match_case(f"host-{number}", name)


def render_user(number: int, name: str) -> str:
    return _match_case(f"user-{number}", name)


def render_domain(number: int, name: str) -> str:
    return _match_case(f"domain-{number}.example", name)


def render_ssid(number: int, name: str) -> str:
    return f"ssid-{number}"


def render_mail(number: int, name: str) -> str:
    return _match_case(f"mail-{number}@example.invalid", name)


def render_serial(number: int, name: str) -> str:
    """Of the same length, so that tables and binary structures keep their shape."""
    if "-" in name and all(len(part) == 2 for part in name.split("-")):
        return _spell_hex(number, name)
    return "SN" + str(number).zfill(max(2, len(name) - 2))


def render_hex(number: int, name: str) -> str:
    """MAC and InfiniBand addresses, world-wide names, machine ids: hex digits with their separators kept."""
    return _spell_hex(number, name)


def _spell_hex(number: int, name: str) -> str:
    prefix = name[:2] if name[:2] in ("0x", "0X") else ""
    body = name[len(prefix) :]
    room = sum(c in "0123456789abcdefABCDEF" for c in body)
    # 02 marks an address as locally administered: it collides with no maker's.
    digits = "02" + _HEX_TAG + format(number, "d").zfill(max(1, room - 6))
    digits = digits[:room] if len(digits) > room and room < 8 else digits
    letters = [c for c in body if c.isalpha()]
    if letters and all(c.isupper() for c in letters):
        digits = digits.upper()
    spelled, place = [], 0
    for character in body:
        if character in "0123456789abcdefABCDEF":
            spelled.append(digits[place] if place < len(digits) else "0")
            place += 1
        else:
            spelled.append(character)
    return prefix + "".join(spelled)


def render_uuid(number: int, name: str) -> str:
    """A valid random UUID by its version and variant bits; dashes as they were."""
    digits = f"{_HEX_TAG}0000000040008000" + format(number, "d").zfill(12)
    if any(c.isalpha() for c in name) and name == name.upper():
        digits = digits.upper()
    if "-" not in name:
        return digits
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def render_volume(number: int, name: str) -> str:
    """LVM's own form of an id: letters and digits in groups."""
    return f"cafe00-0000-0000-0000-0000-0000-{number:06d}"


def render_ipv4_net(number: int, name: str) -> str:
    """The stand-in of an address's first three numbers: 198.18.0.0/15 is set aside for benchmarks (RFC 2544)."""
    place = number - 1
    if place < 512:
        return f"198.{18 + place // 256}.{place % 256}"
    return f"{241 + (place >> 16) % 14}.{(place >> 8) % 256}.{place % 256}"


def render_ipv6(number: int, name: str) -> str:
    """Documentation addresses (RFC 3849); link-local and unique local ones keep their prefix."""
    try:
        address = ipaddress.IPv6Address(name if ":" in name else ":".join(name[i : i + 4] for i in range(0, 32, 4)))
    except ValueError:
        return f"2001:db8::cafe:{number:d}"
    prefix = "fe80" if address.is_link_local else "fd00" if name.lower().startswith(("fc", "fd")) else "2001:db8"
    low = divmod(number, 10000)
    tail = f"cafe:{low[0]:d}:{low[1]:d}" if low[0] else f"cafe:{low[1]:d}"
    short = f"{prefix}::{tail}"
    whole = ipaddress.IPv6Address(short).exploded
    spelled = whole.replace(":", "") if ":" not in name else whole if len(name) == 39 else short
    return _match_case(spelled, name)
