"""Addresses as the kernel, switches and name servers write them: hex, reversed, with dashes or dots."""

from __future__ import annotations

import ipaddress
import re

from xpukit.host.redaction.network import build_ipv4_renderer, is_mac, is_meaningful_ipv4, spell_mac
from xpukit.host.redaction.rule import Rule, Scene, build_name_rule, replace_group
from xpukit.host.redaction.stand_ins import render_hex, render_ipv6

# /proc/net/route, /proc/net/{tcp,udp,raw}{,6}: each 32-bit word with its lowest byte first.
_ROUTE = re.compile(r"(?m)^(?P<dev>[^\s:]+\t+)(?P<to>[0-9A-F]{8})(?P<gap>\t+)(?P<via>[0-9A-F]{8})(?=\t+[0-9A-F]{4}\t)")
_SOCKET = re.compile(r"(?P<s>(?<![0-9A-Fa-f])(?:[0-9A-F]{32}|[0-9A-F]{8}))(?=:[0-9A-F]{4}(?![0-9A-Za-z]))")
_REVERSED_V6 = re.compile(r"(?<![0-9A-Za-z.])(?P<s>(?:[0-9a-fA-F]\.){31}[0-9a-fA-F])(?=\.ip6\.arpa)", re.IGNORECASE)
_REVERSED_V4 = re.compile(r"(?<![\d.])(?P<s>(?:\d{1,3}\.){3}\d{1,3})(?=\.in-addr\.arpa)", re.IGNORECASE)
_DASHED = re.compile(r"(?<![A-Za-z0-9])ip-(?P<s>\d{1,3}(?:-\d{1,3}){3})(?![\w\-])")


def _stand_in_v4(dotted: str, scene: Scene) -> str:
    try:
        address = ipaddress.IPv4Address(dotted)
    except ValueError:
        return dotted
    if not is_meaningful_ipv4(address):
        return dotted
    return scene.stand_in("ipv4", "ipv4", dotted, build_ipv4_renderer(scene))


def _replace_hex_v4(digits: str, scene: Scene) -> str:
    shown = _stand_in_v4(str(ipaddress.IPv4Address(bytes.fromhex(digits)[::-1])), scene)
    return ipaddress.IPv4Address(shown).packed[::-1].hex().upper()


def _replace_hex_v6(digits: str, scene: Scene) -> str:
    raw = b"".join(bytes.fromhex(digits[at : at + 8])[::-1] for at in range(0, 32, 8))
    if raw.startswith(bytes(10) + b"\xff\xff"):
        return digits[:24] + _replace_hex_v4(digits[24:], scene)
    address = ipaddress.IPv6Address(raw)
    if address.is_loopback or address.is_unspecified or address.is_multicast:
        return digits
    spelled = address.exploded.replace(":", "")
    shown = bytes.fromhex(scene.stand_in("ipv6", "ipv6", spelled, render_ipv6, spelled))
    return b"".join(shown[at : at + 4][::-1] for at in range(0, 16, 4)).hex().upper()


def _replace_in_proc(text: str, scene: Scene) -> str:
    text = _ROUTE.sub(
        lambda match: "".join(
            (match["dev"], _replace_hex_v4(match["to"], scene), match["gap"], _replace_hex_v4(match["via"], scene))
        ),
        text,
    )

    def replace(match: re.Match[str]) -> str:
        digits = match["s"]
        return _replace_hex_v4(digits, scene) if len(digits) == 8 else _replace_hex_v6(digits, scene)

    lines = text.split("\n")
    for place, line in enumerate(lines):
        if re.match(r"\s*\d+: [0-9A-F]{8,32}:[0-9A-F]{4} [0-9A-F]{8,32}:[0-9A-F]{4} ", line):
            lines[place] = _SOCKET.sub(replace, line, count=2)
    return "\n".join(lines)


def _replace_reversed(text: str, scene: Scene) -> str:
    def replace_v4(match: re.Match[str]) -> str:
        shown = _stand_in_v4(".".join(reversed(match["s"].split("."))), scene)
        return ".".join(reversed(shown.split(".")))

    def replace_v6(match: re.Match[str]) -> str:
        digits = match["s"].replace(".", "").lower()[::-1]
        return ".".join(scene.stand_in("ipv6", "ipv6", digits, render_ipv6, digits)[::-1])

    return _REVERSED_V4.sub(replace_v4, _REVERSED_V6.sub(replace_v6, text))


def _replace_dashed(text: str, scene: Scene) -> str:
    def replace(match: re.Match[str]) -> str:
        shown = _stand_in_v4(match["s"].replace("-", "."), scene)
        return replace_group(match, "s", shown.replace(".", "-"))

    return _DASHED.sub(replace, text)


_V4, _V6 = "IPv4 addresses", "IPv6 addresses"

RULES: tuple[Rule, ...] = (
    Rule(
        name="ipv4",
        removes="name",
        what=_V4,
        hints=("\t0\t0\t", "00000000:00000000", "rem_address"),
        apply=_replace_in_proc,
    ),
    Rule(name="ipv4", removes="name", what=_V4, hints=(".arpa",), apply=_replace_reversed),
    Rule(name="ipv4", removes="name", what=_V4, hints=("ip-",), apply=_replace_dashed),
    build_name_rule(
        "mac",
        "MAC and InfiniBand addresses",
        r"(?<![0-9A-Za-z.])(?P<s>[0-9a-fA-F]{4}\.[0-9a-fA-F]{4}\.[0-9a-fA-F]{4})(?![0-9A-Za-z.])",
        kind="mac",
        render=render_hex,
        probe=r"\.[0-9a-fA-F]{4}\.[0-9a-fA-F]{4}",
        # Twelve digits without a letter are a version.
        check=lambda text: is_mac(text) and any(sign.isalpha() for sign in text),
        canonical=spell_mac,
    ),
)
