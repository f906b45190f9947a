"""Names, addresses and serial numbers that the scan of a finished archive looks for."""

from __future__ import annotations

import ipaddress
import re

# What is no name and no serial number is decided in one place: an alarm about "root" would cost the bundle.
from xpukit.host.redaction.common_names import is_common, is_public_uuid, is_stand_in
from xpukit.host.redaction.identifiers import is_serial
from xpukit.host.redaction.names import is_public_domain
from xpukit.host.redaction.network import NO_MAIL_ENDING
from xpukit.host.redaction.scan_rule import DONE, ScanRule, always, build_scan_rule


def is_harmless_name(name: str) -> bool:
    """Names that many machines have, and our own stand-ins."""
    return is_common(name) or is_stand_in(name) or bool(re.fullmatch(r"(?:host|user)-\d+", name.lower()))


def _is_public_ipv4(match: re.Match[str]) -> bool:
    try:
        address = ipaddress.IPv4Address(match["v"])
    except ValueError:
        return False
    text = str(address)
    stand_in = address in ipaddress.IPv4Network("198.18.0.0/15") or 241 <= address.packed[0] <= 254
    return not (
        stand_in
        or address.is_loopback
        or address.is_multicast
        or address.packed[0] in (0, 255)
        or text.startswith("169.254.")
    )


def _is_public(text: str) -> bool:
    match = re.fullmatch("(?P<v>.*)", text)
    return match is not None and _is_public_ipv4(match)


def _is_dashed_ipv4(match: re.Match[str]) -> bool:
    return _is_public(match["v"].replace("-", "."))


def _is_hex_ipv4(match: re.Match[str]) -> bool:
    """/proc/net: the lowest byte first."""
    return any(_is_public(str(ipaddress.IPv4Address(bytes.fromhex(text)[::-1]))) for text in match.group("v", "w"))


def _is_real_ipv6(match: re.Match[str]) -> bool:
    try:
        address = ipaddress.IPv6Address(match["v"])
    except ValueError:
        return False
    return not address.is_loopback and ":cafe:" not in match["v"].lower() and int(address) & (1 << 112) - 1 != 0


def _is_real_mac(match: re.Match[str]) -> bool:
    digits = re.sub(r"[^0-9a-f]", "", match["v"].lower())
    return not digits.startswith(("02cafe", "3333", "01005e")) and len(set(re.findall("..", digits))) > 1


def _is_real_uuid(match: re.Match[str]) -> bool:
    digits = match["v"].replace("-", "").lower()
    # Intel GPUs: PCI ids and address in either direction; nothing of the owner's.
    gpu = (digits.startswith("8680") and digits[22:30] == "0" * 8) or (
        digits.endswith("8086") and digits[2:10] == "0" * 8
    )
    return (
        not digits.startswith("cafe000000004000")
        and len(set(digits)) > 1
        and not gpu
        and not is_public_uuid(match["v"])
    )


def _is_real_serial(match: re.Match[str]) -> bool:
    value = match["v"]
    return (
        is_serial(value)
        and sum(c.isdigit() for c in value) >= 2
        and not re.fullmatch(
            r"SN\d+|(?i:02-?ca-?fe).*|0+|0?1?2345678\d*|[\d.]+\.\d+|0x[0-9a-fA-F]{1,8}|\d{1,5}"
            r"|(?i:sd[a-z]|tty\w+|dimm\w*)",
            value,
        )
        and DONE not in match.group()
    )


def _is_real_user(match: re.Match[str]) -> bool:
    return not is_harmless_name(match["v"]) and DONE not in match.group()


def _is_real_host(match: re.Match[str]) -> bool:
    name = match["v"].lower()
    first, _, rest = name.partition(".")
    if name.endswith((".example", ".invalid", ".arpa")) or is_public_domain(name):
        return False
    return not (is_harmless_name(first) and (not rest or is_common(rest)))


_FQDN = r"(?P<v>[A-Za-z][A-Za-z0-9\-]*(?:\.[A-Za-z0-9\-]+)*\.[A-Za-z]{2,})"

NAME_RULES: tuple[ScanRule, ...] = (
    build_scan_rule("host", rf"(?i:_proxy)=(?:\w+://)?(?:[^@\s]*@)?{_FQDN}(?=[:/\s]|$)", _is_real_host, "_proxy="),
    build_scan_rule("host", rf"(?m)^\d{{1,3}}(?:\.\d{{1,3}}){{3}}[ \t]+{_FQDN}(?=\s|$)", _is_real_host, "."),
    build_scan_rule("host", rf"(?m)^(?:search|domain)[ \t]+{_FQDN}(?=\s|$)", _is_real_host, "search", "domain"),
    build_scan_rule("host", rf"(?m)^{_FQDN}:/\S*\s+/\S*\s+nfs", _is_real_host, "nfs"),
    build_scan_rule(
        "ipv4",
        r"(?m)^(?:(?i:ip address)\s*:|Internet)\s+(?P<v>\d{1,3}(?:\.\d{1,3}){3})(?=\s|$)",
        _is_public_ipv4,
        "ip address",
        "internet",
    ),
    build_scan_rule("wwn", r"(?i)wwn\\*[\"']?\s?[=:]\s?\\*[\"']?(?:0x)?(?!02cafe|0{16})[0-9a-f]{16}", always, "wwn"),
    build_scan_rule("wwn", r"(?i)LU WWN Device Id:\s*(?!0 2cafe)[0-9a-f] [0-9a-f]{6} [0-9a-f]{9}", always, "lu wwn"),
    build_scan_rule("wwn", r"(?m)^\W*(?:sd[a-z]+|nvme\w+)\s[^\n]*\s0x[3-6][0-9a-f]{15}(?=\s)", always, "sd", "nvme"),
    build_scan_rule(
        "ipv4",
        r"(?:inet |://|@|nameserver |via |addr[ =:]{1,2}|\bfrom |\b\w*(?i:addr|host|ip)=)(?P<v>\d{1,3}(?:\.\d{1,3}"
        r"){3})(?![\d.])",
        _is_public_ipv4,
        ".",
    ),
    build_scan_rule(
        "ipv4",
        r"(?<![\d.\-_v])(?P<v>192\.168(?:\.\d{1,3}){2}|10(?:\.\d{1,3}){3}(?=[/:]\d))(?![\d.])",
        _is_public_ipv4,
        "192.168.",
        "10.",
    ),
    build_scan_rule(
        "ipv6",
        r"(?<![\w:.])(?P<v>(?:[23][0-9a-fA-F]{3}|[fF][dD][0-9a-fA-F]{2}|[fF][eE]80):[0-9a-fA-F:]{4,}[0-9a-fA-F])(?"
        r"![\w:])",
        _is_real_ipv6,
        ":",
    ),
    build_scan_rule("mac", r"(?<![\w:])(?P<v>(?:[0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2})(?![\w:])", _is_real_mac, ":"),
    build_scan_rule(
        "mac",
        r"(?<![\w\-])(?P<v>(?:[0-9a-fA-F]{2}-){5}[0-9a-fA-F]{2})(?![\w\-])|\b(?:enx|wlx)(?P<w>(?!02cafe)[0-9a-f]{1"
        r"2})\b",
        lambda m: m["v"] is None or _is_real_mac(m),
        "-",
        "enx",
        "wlx",
    ),
    build_scan_rule(
        "uuid", r"(?<![\w\-])(?P<v>[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})(?!\w)", _is_real_uuid, "-"
    ),
    build_scan_rule("uuid", r"machine-?_?id[\"' ]*[=: ]+[\"']?(?P<v>[0-9a-f]{32})\b", _is_real_uuid, "machine"),
    build_scan_rule("fs-uuid", r"(?:UUID=|by-uuid/)(?!02-?[cC][aA])[0-9A-F]{4}-[0-9A-F]{4}\b", always, "uuid"),
    build_scan_rule("wwn", r"(?:wwn-|naa\.|eui\.|WWN=)(?:0x)?(?!02cafe)[0-9a-f]{16}", always, "wwn", "naa.", "eui."),
    build_scan_rule(
        "serial",
        r"(?i:serial[ _\-]?(?:number|short|no|num)?|asset[ _]tag|service tag)[\"']?\s*[:="
        r"|]\s*[\"']?(?P<v>[A-Za-z0-9][A-Za-z0-9._\-]{4,})",
        _is_real_serial,
        "serial",
        "asset",
        "service tag",
    ),
    build_scan_rule("serial", r"Device Serial Number (?P<v>[0-9a-fA-F\-]{23})", _is_real_serial, "device serial"),
    build_scan_rule("home", r"(?<![\w.])/(?:home|Users)/(?P<v>[A-Za-z][\w.\-]*\w)", _is_real_user, "/home/", "/users/"),
    build_scan_rule("home", r"(?<![\w.])/(?:home|Users)/[\w.\-]*(?P<v>[^\x00-\x7f\s])", always, "/home/", "/users/"),
    build_scan_rule("serial", r"iSerial +\d+ +(?P<v>[A-Za-z0-9._\-]{4,})(?!\S)", _is_real_serial, "iserial"),
    build_scan_rule("host", rf"(?i:SysName): *{_FQDN}(?=\s|$)", _is_real_host, "sysname"),
    build_scan_rule(
        "mac", r"(?i)\b(?:hw_?addr|lladdr|ether)[ :=]+(?P<v>[0-9a-f]{12})\b", _is_real_mac, "addr", "ether"
    ),
    build_scan_rule(
        "user", r"(?<![\w])(?:USER|LOGNAME|SUDO_USER)=(?P<v>[A-Za-z]\w{2,})", _is_real_user, "user=", "logname="
    ),
    build_scan_rule("account", r"(?m)^(?P<v>[A-Za-z][\w.\-]{2,}):[^:\s]*:[1-5]\d{3}:\d+:", _is_real_user, ":"),
    build_scan_rule(
        "mail",
        r"(?<![\w./@+%\-])[A-Za-z0-9][\w.+%\-]{0,63}@(?!(?i:example\.invalid))(?:[A-Za-z0-9][A-Za-z0-9\-]*\.)+"
        + NO_MAIL_ENDING
        + r"[A-Za-z]{2,12}(?![\w/@\-])(?!:\S)(?!\.\w)",
        lambda m: DONE not in m.group() and not m.group().startswith("git@"),
        "@",
    ),
    build_scan_rule("host", r"(?m)^(?:PRETTY_)?HOSTNAME=(?P<v>[A-Za-z][\w\-]{3,})", _is_real_user, "hostname="),
    build_scan_rule(
        "pci-serial",
        r"(?m)^[ \t]*[0-9a-f]{3,8}:? +(?:(?:[0-9a-f]{2} ){4})?03 00 [048c]1 [0-9a-f]{2} (?P<v>(?:[0-9a-f]{2} ?){8})",
        _is_real_mac,
        "03 00 ",
    ),
    build_scan_rule(
        "serial",
        r"(?m)^/dev/nvme\d+n\d+[ \t]+(?:/dev/ng\w+[ \t]+)?(?P<v>[A-Z0-9]{8,20})(?=[ \t])",
        _is_real_serial,
        "/dev/nvme",
    ),
    build_scan_rule("serial", r"(?m)^\s*sn\s*[:=]\s*(?P<v>\w{6,})", _is_real_serial, "sn"),
    build_scan_rule("serial", r"nvmexpress:[0-9a-f]{8}(?P<v>[A-Z0-9]{8,20})", _is_real_serial, "nvmexpress:"),
    build_scan_rule(
        "serial",
        r"by-id/(?:ata|nvme|scsi|usb|virtio|mmc)-[^\s/\"]*_(?P<v>[A-Z0-9]{8,40})(?:-part\d+)?(?![\w\-])",
        _is_real_serial,
        "by-id/",
    ),
    build_scan_rule(
        "guid",
        r"(?i)guid\W{1,4}(?:0x)?(?!0?2ca:?fe|0{4})(?:[0-9a-f]{16}|[0-9a-f]{4}(?::[0-9a-f]{4}){3})(?![\w:])",
        always,
        "guid",
    ),
    build_scan_rule("wwn", r"(?i)(?:nguid|eui64)\s*[:=]\s*(?!(?:02)?cafe|0{16})[0-9a-f]{16}", always, "nguid", "eui64"),
    build_scan_rule("mac", r"(?<![\w:])(?P<v>(?:[0-9a-f]{2}:){19}[0-9a-f]{2})(?![\w:])", _is_real_mac, ":"),
    build_scan_rule(
        "mac",
        r"(?<![\w.])(?P<v>(?=[0-9.]*[a-f])[0-9a-f]{4}\.[0-9a-f]{4}\.[0-9a-f]{4})(?![\w.])",
        _is_real_mac,
        ".",
    ),
    build_scan_rule(
        "mac", r"(?i)\bmac(?:_?addr(?:ess)?)?[\"' ]*[:=] ?[\"']?(?P<v>[0-9a-f]{12})\b", _is_real_mac, "mac"
    ),
    build_scan_rule("ipv4", r"\bip-(?P<v>\d{1,3}(?:-\d{1,3}){3})(?![\w\-])", _is_dashed_ipv4, "ip-"),
    build_scan_rule(
        "ipv4",
        r"(?i:addr|host|ip)\\*[\"']\s*:\s*\\*[\"'](?P<v>\d{1,3}(?:\.\d{1,3}){3})(?![\d.])",
        _is_public_ipv4,
        "addr",
        "host",
        "ip",
    ),
    build_scan_rule(
        "ipv4",
        r"(?:(?:::ffff:|[=,](?=(?:10|192|172)\.))|pts/\d+\s+)(?P<v>\d{1,3}(?:\.\d{1,3}){3})(?=[\s,\]:/])",
        _is_public_ipv4,
        "::ffff:",
        "10.",
        "192.",
        "172.",
        "pts/",
    ),
    build_scan_rule(
        "ipv4",
        r"(?m)^(?P<v>(?:10|192\.168|172\.(?:1[6-9]|2\d|3[01]))(?:\.\d{1,3}){2,3})[ \t]+[A-Za-z]",
        _is_public_ipv4,
        "10.",
        "192.",
        "172.",
    ),
    build_scan_rule(
        "ipv4-hex",
        r"(?m)^\w[^\s:]*\t(?P<v>[0-9A-F]{8})\t(?P<w>[0-9A-F]{8})\t[0-9A-F]{4}\t",
        _is_hex_ipv4,
        "\t",
    ),
    build_scan_rule(
        "ipv4-hex",
        r"(?m)^\s*\d+: (?P<v>[0-9A-F]{8}):[0-9A-F]{4} (?P<w>[0-9A-F]{8}):[0-9A-F]{4} ",
        _is_hex_ipv4,
        ":",
    ),
    build_scan_rule(
        "ipv6",
        r"(?<![\w:.])(?P<v>(?:[23][0-9a-fA-F]{3}|[fF][dD][0-9a-fA-F]{2})(?::[0-9a-fA-F]{1,4}){1,6}::)(?![\w:])",
        _is_real_ipv6,
        "::",
    ),
    build_scan_rule(
        "ipv6",
        r"(?m)^(?![0-9a-f]{16,28}cafe|0{31}[01]|ff0)[0-9a-f]{32} [0-9a-f]{2} [0-9a-f]{2} [0-9a-f]{2} [0-9a-f]{2} ",
        always,
        " 80 ",
        " 40 ",
        " 20 ",
        " 00 ",
    ),
    build_scan_rule(
        "ipv6",
        r"(?i)(?<![\w.])(?=(?:(?!e\.f\.a\.c)[0-9a-f.])+ip6)(?:[0-9a-f]\.){31}[0-9a-f]\.ip6\.arpa",
        always,
        ".ip6.arpa",
    ),
    build_scan_rule(
        "volume-id",
        r"(?<![\w\-])(?!cafe00-)(?=[\w\-]*\d)[A-Za-z0-9]{6}(?:-[A-Za-z0-9]{4}){5}-[A-Za-z0-9]{6}(?![\w\-])",
        always,
        "-",
    ),
    build_scan_rule("uuid", r"(?i)(?:boot|invocation|machine)_?id\W{1,3}(?P<v>[0-9a-f]{32})\b", _is_real_uuid, "id"),
    build_scan_rule(
        "user", r"\"(?:username|user_name)\"\s?:\s?\"(?P<v>[A-Za-z]\w{2,31})\"", _is_real_user, "username", "user_name"
    ),
    build_scan_rule("user", r"(?m)^(?P<v>[A-Za-z]\w{2,31})@[\w.\-]+:[~/][^\n]*[$#]", _is_real_user, "@"),
    build_scan_rule("user", r"\buid=[1-9]\d{3,8}\((?P<v>[A-Za-z][\w.\-]{2,})", _is_real_user, "uid="),
    build_scan_rule(
        "user", r"(?<![\w.])[\w.\-]+:x:\d+:(?:[\w.\-]+,)*(?P<v>[A-Za-z]\w{3,})(?=,|\s|$)", _is_real_user, ":x:"
    ),
    build_scan_rule("host", r"\bMASTER_ADDR=(?P<v>[A-Za-z][\w\-]{3,})", _is_real_user, "master_addr"),
    build_scan_rule("host", r"\s--?hosts?[ =](?P<v>[A-Za-z][\w\-]{3,})(?=,[A-Za-z])", _is_real_user, "-host"),
)
