"""Addresses: IPv4, IPv6, MAC and InfiniBand, e-mail, WiFi names. Versions, BDFs, times and C++ names are none."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable

from xpukit.host.redaction.rule import MARK, Rule, Scene, build_name_rule
from xpukit.host.redaction.stand_ins import render_hex, render_ipv4_net, render_ipv6, render_mail, render_ssid

_DOTTED = re.compile(
    r"(?<![\d.])(?<!\d[.])(?P<net>\d{1,3}\.\d{1,3}\.\d{1,3})\.(?P<last>\d{1,3})(?![\d])(?!\.\d)(?P<tail>/\d{1,2}(?"
    r"!\d)|:\d{1,5}(?!\d))?"
)
# What stands before an address, close by.
_ADDRESS_BEFORE = re.compile(
    r"(?i)(?<![a-z])(?:inet|addr(?:ess)?|ip(?:v4)?|host|hostname|from|to|src|dst|via|dev|peer|server"
    r"|nameserver|dns|gateway|gw|route|router|broadcast|brd"
    r"|default|client|remote|local|listen|bind|bound|ping|connect(?:ed|ing)?|url|endpoint|proxy|master|node|rank|at"
    r"|ssh|scp|nfs|nfsvers|no_proxy|saddr|daddr|relay|subnet|network|lease|interface|nodes?"
    r"|hosts?|MASTER_ADDR|\w+_ip|\w+_addr|\w+_host)"
    r"[\"']?\s{0,3}[=:#(\[]?\s{0,24}[\"'\[(]?\Z"
)
_VERSION_BEFORE = re.compile(
    r"(?i)(?<![a-z])(?:v|version[\w ]*|ver|release|rev(?:ision)?|driver[\w ]*|firmware[\w ]*|fw[\w ]*"
    r"|build|package|level[- ]zero|runtime|neo|bios|amc|gsc|guc|huc|dmc|oprom\w*|ifwi|api"
    r"|chip|kernel|loader|lib\w*|file|copyright|section|using)"
    r"[\"'\])]?\s{0,24}[=:(\[,]?\s{0,24}[\"'(\[v]?\Z"
)
# xe's lb_fan_control_version holds 203.0.0.0 and nothing else.
_VERSION_FILE = re.compile(r"(?i)\Aread /\S*(?:version|revision|release|firmware_rev|fw_rev|fw_ver)\Z")
_NETMASKS = frozenset(str(ipaddress.IPv4Network(f"0.0.0.0/{length}").netmask) for length in range(33))
_WILDCARDS = frozenset(str(ipaddress.IPv4Network(f"0.0.0.0/{length}").hostmask) for length in range(33))
_PRIVATE = tuple(
    ipaddress.IPv4Network(net) for net in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")
)


def is_version_file(label: str) -> bool:
    """Whether the content of this file is a version: it may have four parts."""
    return _VERSION_FILE.search(label) is not None


def is_meaningful_ipv4(address: ipaddress.IPv4Address) -> bool:
    """Loopback, unspecified, multicast and masks say nothing about a machine."""
    text = str(address)
    return not (
        address.is_loopback or address.is_multicast or text in _NETMASKS or text in _WILDCARDS or text.startswith("0.")
    )


def _looks_like_address(text: str, match: re.Match[str], address: ipaddress.IPv4Address) -> bool:
    begin = match.start()
    before = text[max(0, begin - 40) : begin].rsplit("\n", 1)[-1]
    after = text[match.end("last") : match.end("last") + 2]
    glue = before[-1:]
    if before.endswith(("://", "@", "inet ")):
        return True
    if glue.isalpha() or (glue in "-_~+" and glue) or (after[:1] in "-+~_" and after[:1]) or after[:1].isalpha():
        # libze1-1.2.3.4, v1.2.3.4, 1.2.3.4-1ubuntu1, 1.2.3.4rc1; ip-10-0-0-1 has no dots.
        return False
    if glue == "/" and not before.endswith("//"):
        return False
    if match["tail"] is not None:
        return not (match["tail"].startswith(":") and _VERSION_BEFORE.search(before))
    if _VERSION_BEFORE.search(before):
        return False
    if _ADDRESS_BEFORE.search(before):
        return True
    numbers = address.packed
    if any(address in net for net in _PRIVATE):
        return True
    # 25.18.33578.6 is no address; 1.24.4.12 alone is a version more often than not.
    return max(numbers) >= 100 or numbers[0] >= 32


def _replace_ipv4(text: str, scene: Scene) -> str:
    if is_version_file(scene.label):
        return text

    def replace(match: re.Match[str]) -> str:
        net, last = match["net"], match["last"]
        whole = f"{net}.{last}"
        try:
            address = ipaddress.IPv4Address(whole)
        except ValueError:
            return match.group()
        if not is_meaningful_ipv4(address):
            return match.group()
        if not scene.knows("ipv4", whole) and not _looks_like_address(text, match, address):
            return match.group()
        return scene.stand_in("ipv4", "ipv4", whole, build_ipv4_renderer(scene)) + (match["tail"] or "")

    return _DOTTED.sub(replace, text)


def build_ipv4_renderer(scene: Scene) -> Callable[[int, str], str]:
    def render(number: int, name: str) -> str:
        net, _, last = name.rpartition(".")
        # Networks stay apart, and .0, .1 and .255 keep what they mean; 169.254 is link-local wherever it stands.
        known = scene.stand_in("", "ipv4-net", net, render_ipv4_net)
        if net.startswith("169.254."):
            known = "169.254." + known.rpartition(".")[2]
        return f"{known}.{last}"

    return render


_IPV6 = re.compile(
    r"(?<![0-9A-Za-z:.])(?P<s>(?:[23][0-9A-Fa-f]{3}|[fF][cdCD][0-9A-Fa-f]{2}|[fF][eE][89abAB][0-9A-Fa-f])"
    r"(?::{1,2}[0-9A-Fa-f]{1,4}){1,7}(?:::)?)(?![0-9A-Za-z:])"
)


def _is_ipv6(text: str) -> bool:
    if text.count(":") < 2 or ("::" not in text and text.count(":") != 7):
        return False
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return not address.is_loopback and int(address) & (1 << 112) - 1 != 0


def _spell_ipv6(text: str) -> str:
    return ipaddress.IPv6Address(text).exploded.replace(":", "")


_MAC_END = r"(?![0-9A-Fa-f]*[:\-]?[0-9A-Fa-f])"


def is_mac(text: str) -> bool:
    digits = re.sub(r"[^0-9A-Fa-f]", "", text).lower()
    # Nothing, broadcast and multicast; six equal bytes are a test pattern.
    return len(set(re.findall("..", digits))) > 1 and not digits.startswith(("3333", "01005e"))


def spell_mac(text: str) -> str:
    return re.sub(r"[^0-9A-Fa-f]", "", text).lower()


# What follows the last dot of units and files that have an @ in their names.
NO_MAIL_ENDING = (
    r"(?!(?:service|socket|timer|mount|target|slice|scope|device|path|swap|automount|conf|so|py|json|sh|lst|tar|gz|log"
    r"|txt|md)\b)"
)

RULES: tuple[Rule, ...] = (
    build_name_rule(
        "e-mail",
        "e-mail addresses",
        r"(?<![A-Za-z0-9._%+\-/@])(?P<s>[A-Za-z0-9][A-Za-z0-9._%+\-]{0,63}@(?:[A-Za-z0-9][A-Za-z0-9\-]{0,62}\.)+"
        + NO_MAIL_ENDING
        + r"[A-Za-z]{2,24})(?![A-Za-z0-9\-@/])(?!:\S)(?!\.[A-Za-z0-9])",
        kind="mail",
        render=render_mail,
        hints=("@",),
        check=lambda text: not text.startswith("git@"),
    ),
    build_name_rule(
        "mac",
        "MAC and InfiniBand addresses",
        r"(?<![0-9A-Fa-f:])(?<![0-9A-Za-z]-)(?P<s>(?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}|(?:[0-9A-Fa-f]{2}:){7}[0-9A"
        r"-Fa-f]{2}"
        r"|(?:[0-9A-Fa-f]{2}:){19}[0-9A-Fa-f]{2})(?![0-9A-Fa-f:])",
        kind="mac",
        render=render_hex,
        probe=r":[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}:",
        check=is_mac,
        canonical=spell_mac,
    ),
    build_name_rule(
        "mac",
        "MAC and InfiniBand addresses",
        r"(?<![0-9A-Za-z\-])(?P<s>(?:[0-9A-Fa-f]{2}-){5}[0-9A-Fa-f]{2})(?![0-9A-Za-z\-])",
        kind="mac",
        render=render_hex,
        probe=r"-[0-9A-Fa-f]{2}-[0-9A-Fa-f]{2}-[0-9A-Fa-f]{2}-",
        check=is_mac,
        canonical=spell_mac,
    ),
    build_name_rule(
        "mac",
        "MAC and InfiniBand addresses",
        r"(?<![0-9A-Za-z])(?:enx|wlx|wwx|MAC[\"' ]?[=:] ?[\"']?|mac_?addr(?:ess)?[\"' ]*[=:] ?[\"']?"
        r"|(?i:hw_?addr|lladdr|ether)[ =:]{1,3})(?P<s>[0-9A-Fa-f]{12})(?![0-9A-Za-z])",
        kind="mac",
        render=render_hex,
        hints=("enx", "wlx", "wwx", "mac", "hwaddr", "hw_addr", "lladdr", "ether"),
        check=is_mac,
        canonical=spell_mac,
    ),
    build_name_rule(
        "infiniband-guid",
        "InfiniBand GUIDs",
        r"(?i:guid|gid|lid_?guid)[\w ]*[\"']?\s*[:=.]+\s*[\"']?(?P<s>(?:0x)?[0-9A-Fa-f]{16}"
        r"|(?:[0-9A-Fa-f]{4}:){3,7}[0-9A-Fa-f]{4})(?![0-9A-Za-z:])",
        kind="guid",
        render=render_hex,
        hints=("guid", "gid"),
        check=lambda text: bool(text.replace("0x", "").strip("0:")),
        canonical=spell_mac,
    ),
    build_name_rule(
        "ipv6",
        "IPv6 addresses",
        _IPV6.pattern,
        kind="ipv6",
        render=render_ipv6,
        probe=r"[23fF][0-9A-Fa-f]{3}:[0-9A-Fa-f:]",
        check=_is_ipv6,
        canonical=_spell_ipv6,
    ),
    build_name_rule(
        "ipv6",
        "IPv6 addresses",
        r"(?m)^(?P<s>[0-9a-f]{32})(?= [0-9a-f]{2} [0-9a-f]{2} [0-9a-f]{2} [0-9a-f]{2} +\S+$)",
        kind="ipv6",
        render=render_ipv6,
        hints=(" 80 ", " 40 ", " 20 ", " 00 "),
        check=lambda text: bool(text.strip("0")) and text.strip("0") != "1",
        canonical=str,
    ),
    Rule(
        name="ipv4",
        removes="name",
        what="IPv4 addresses",
        hints=(),
        apply=_replace_ipv4,
        probe=re.compile(r"\.\d{1,3}\.\d{1,3}\.\d"),
    ),
    build_name_rule(
        "ssid",
        "names of WiFi networks",
        r"(?<![A-Za-z])(?i:e?ssid|wifi\.ssid|wpa-ssid|802-11-wireless\.ssid|access point|wpa_passphrase)"
        r"(?:\\*[\"']?\s*[=:]\s*\\*[\"']|[=:][ \t]*|[ \t]+)(?P<s>(?<=[\"'])[^\"'\\\n]{1,32}"
        r"|[^\s\"'=:(\[{<,][^\s\"',]{0,31})",
        kind="ssid",
        render=render_ssid,
        hints=("ssid", "access point", "wpa_passphrase"),
        check=lambda text: (
            text.lower() not in ("off/any", "any", "none", "null", "hidden", "is", "not", "--", "for", "and", "scan")
            and MARK not in text
        ),
    ),
)
