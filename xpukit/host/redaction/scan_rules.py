"""What the scan of a finished archive looks for; written apart from the redactor's rules, so that a defect of one is
not a defect of both."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass

# What is no name and no serial number is decided in one place: an alarm about "root" would cost the bundle.
from xpukit.host.redaction.identifiers import is_serial
from xpukit.host.redaction.names import is_common

_DONE = "[REDACTED"


@dataclass(frozen=True, kw_only=True)
class ScanRule:
    """`is_leak` decides about a match; `hints`: lower-case texts of which one must be there."""

    name: str
    pattern: re.Pattern[str]
    is_leak: Callable[[re.Match[str]], bool]
    hints: tuple[str, ...] = ()


_HARMLESS = frozenset(
    [
        "root",
        "localhost",
        "ubuntu",
        "debian",
        "user",
        "admin",
        "intel",
        "test",
        "docker",
        "guest",
        "default",
        "nobody",
        "server",
        "client",
        "host",
        "node",
        "worker",
        "master",
        "xpukit",
        "vllm",
        "runner",
        "home",
        "work",
        "data",
        "model",
        "models",
        "share",
        "shared",
        "public",
        "system",
        "linux",
        "python",
        "oneapi",
        "nvidia",
    ]
)
_SETTING = re.compile(
    r"(?:.*[_.\-])?(?:passw(?:or)?d|passphrase|secret|token|credentials?|api_?key|access_?key"
    r"|private_?key|secret_?key)|.*_(?:key|pat|pwd|pass)",
    re.IGNORECASE,
)


def is_harmless_name(name: str) -> bool:
    """Names that many machines have, and our own stand-ins."""
    return (
        is_common(name)
        or name.lower() in _HARMLESS
        or name.isdigit()
        or bool(re.fullmatch(r"(?:host|user)-\d+", name.lower()))
    )


def is_secret_setting(name: str) -> bool:
    """Whether an environment variable's value must not be anywhere."""
    return bool(_SETTING.fullmatch(name)) and not re.search(r"(?i)public|primary|(?:eos|bos|pad|unk)_token", name)


def _always(match: re.Match[str]) -> bool:
    return _DONE not in match.group()


def _has_digits(match: re.Match[str]) -> bool:
    return _DONE not in match.group() and any(c.isdigit() for c in match.group())


_DULL = re.compile(
    r"(?i)(?:true|false|null|none|yes|no|on|off|unknown|required|optional|\"?[\[({<$%*\\."
    r"|].*|[*x.\-_]+|-.*|~?/.*|\.{0,2}/.*|file:.*|\d{1,15}|[\d.]+)"
)


def _is_value(match: re.Match[str]) -> bool:
    value = match["v"].strip("\"',;")
    name = match["n"].lower().replace("-", "_")
    if _DONE in match.group() or len(value) < 3 or _DULL.fullmatch(value):
        return False
    if re.search(
        r"(?:eos|bos|pad|unk|sep|cls|mask|stop|image|audio|video|first|next|per|prompt|output"
        r"|max|primary|foreign|public|cache|sort|group|think)_?(?:token|key)$",
        name,
    ):
        return False
    # In prose a word of a language follows: only where a name is assigned is a plain word a password.
    return any(c.isdigit() for c in value) or match["s"].strip() != ":" or not value.isalpha()


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


def _is_real_ipv6(match: re.Match[str]) -> bool:
    try:
        address = ipaddress.IPv6Address(match["v"])
    except ValueError:
        return False
    return not address.is_loopback and ":cafe:" not in match["v"].lower() and int(address) & (1 << 64) - 1 != 0


def _is_real_mac(match: re.Match[str]) -> bool:
    digits = re.sub(r"[^0-9a-f]", "", match["v"].lower())
    return not digits.startswith(("02cafe", "3333", "01005e")) and len(set(re.findall("..", digits))) > 1


def _is_real_uuid(match: re.Match[str]) -> bool:
    digits = match["v"].replace("-", "").lower()
    # Intel GPUs: PCI ids and address in either direction; nothing of the owner's.
    gpu = (digits.startswith("8680") and digits[22:30] == "0" * 8) or (
        digits.endswith("8086") and digits[2:10] == "0" * 8
    )
    return not digits.startswith("cafe000000004000") and len(set(digits)) > 1 and not gpu


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
        and _DONE not in match.group()
    )


def _is_real_user(match: re.Match[str]) -> bool:
    return not is_harmless_name(match["v"]) and _DONE not in match.group() and match["v"].lower() not in (
        "linuxbrew", "runner", "vscode", "jovyan", "app", "lost", "user", "users",
        "builder", "build", "dev", "cache", "tester", "ec2-user", "gpu", "xpu",
        "username", "someuser", "myuser", "service",
    )  # fmt: skip


def _is_login(match: re.Match[str]) -> bool:
    if _DONE in match.group() and match["v"].endswith("]"):
        return False
    return _DONE not in match["v"] and not match["v"].startswith(("$", "<", "{", "*", "%"))


def _compile(name: str, pattern: str, is_leak: Callable[[re.Match[str]], bool], *hints: str) -> ScanRule:
    return ScanRule(name=name, pattern=re.compile(pattern), is_leak=is_leak, hints=hints)


SCAN_RULES: tuple[ScanRule, ...] = (
    _compile(
        "token-prefix",
        r"(?<![A-Za-z0-9])(?:hf_[A-Za-z0-9]{12}|gh[a-z]_[A-Za-z0-9]{12}|github_pat_\w{12}"
        r"|glpat-[\w\-]{12}|npm_[A-Za-z0-9]{16}|pypi-[\w\-]{16}|"
        r"nvapi-[\w\-]{12}|xox[a-z]-[\w\-]{8}|AIza[\w\-]{20}|A[KSG][IP]A[A-Z0-9]{14}|dckr_pat_[\w\-]{10}"
        r"|gsk_\w{20}|ya29\.[\w\-]{12}|"
        r"sk_live_\w{8}|hvs\.[\w\-]{16}|SWMTKN-1-\w{10}|r8_\w{20})[\w\-]*",
        _has_digits,
        "_",
        "-",
        "aiza",
        "akia",
        "asia",
        "gpa",
        "ipa",
        "ya29.",
        "hvs.",
    ),
    _compile("token-prefix", r"(?<![A-Za-z0-9])sk-[A-Za-z0-9_\-]{14,}", _has_digits, "sk-"),
    _compile("bot-token", r"(?<!\d)\d{8,10}:AA[\w\-]{30}", _always, ":aa"),
    _compile("web-hook", r"hooks\.slack\.com/\w+/(?!\[REDACTED)[A-Za-z0-9]", _always, "hooks.slack"),
    _compile("web-token", r"(?<![A-Za-z0-9])eyJ[\w\-]{8,}\.[\w\-]{4,}", _always, "eyj"),
    _compile("password-hash", r"\$(?:[1567y]|2[aby]|apr1|argon2id?)\$[^\s\"']{12}", _always, "$"),
    _compile(
        "key-block",
        r"-----BEGIN [A-Z0-9 ]+-----(?:\s|\\+[nr])*(?!\[REDACTED)[A-Za-z0-9+/]{12}|[A-Za-z0-9+/=]{12,}(?:\s"
        r"|\\+n)+-----END [A-Z0-9 ]+-----",
        _always,
        "-----begin",
        "-----end",
    ),
    _compile(
        "key-lines",
        r"(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{64}(?:\r?\n|\\n)[A-Za-z0-9+/]{64}(?:\r?\n|\\n)",
        lambda match: len(set(match.group())) > 26 and bool(re.search(r"[G-Zg-z]", match.group())),
        "\n",
        "\\n",
    ),
    _compile("ssh-key", r"AAAA[A-Za-z0-9+/]{40}", lambda match: len(set(match.group())) > 10, "aaaa"),
    _compile("ssh-fingerprint", r"SHA256:[A-Za-z0-9+/]{43}|\|1\|[A-Za-z0-9+/]{20}", _always, "sha256:", "|1|"),
    _compile(
        "tunnel-key",
        r"(?i:private|public|preshared|peer|pre-shared)[ _\-]?(?i:key)?\s*[:=]\s*[A-Za-z0-9+/]{42,43}=",
        _always,
        "=",
    ),
    _compile("tunnel-key", r"(?:\t|^)[A-Za-z0-9+/]{43}=\t", _always, "=\t"),
    _compile("url-login", r"://[^\s/:@\"'<>]*:(?P<v>[^\s/\"'<>]+?)@[\w\[]", _is_login, "@"),
    _compile("url-login", r"(?i:://|%3a%2f%2f)[^\s/@%]{1,60}(?::|%3a|%3A)(?P<v>[^\s/@]{1,99}?)%40", _is_login, "%40"),
    _compile("url-login", r"://(?P<v>[A-Za-z0-9_\-]*\d[A-Za-z0-9_\-]{15,})@", _is_login, "@"),
    _compile(
        "bearer",
        r"(?i:bearer|basic)[ \t]+(?=[A-Za-z_\-.+/=~]*[0-9A-Z])(?P<v>[\w\-.+/=~]{12,})",
        lambda m: any(c.isdigit() for c in m["v"]),
        "bearer",
        "basic",
    ),
    _compile(
        "header",
        r"(?i:authorization|x-api-key|private-token|x-auth-token)[\"']?\s*[:=]\s*[\"']?(?P<v>(?!\["
        r"|(?i:bearer|basic|token|digest|none|null|true|false)\b)[^\s\"',]{4,})",
        _is_login,
        "authorization",
        "x-api-key",
        "-token",
    ),
    _compile(
        "cookie",
        r"(?i:(?<![a-z])(?:set-)?cookie)[\"']?\s*[:=]\s*[\"']?(?P<v>(?!\[)[^\s\"']+=[^\s\"']{4,})",
        _is_login,
        "cookie",
    ),
    _compile(
        "registry-auth",
        r"\"auth\\*\"\s*:\s*\\*\"(?P<v>[A-Za-z0-9+/=]{6,})|_auth(?:Token)?\s?=\s?(?P<w>(?!\[)[^\s\"']{6,})",
        _always,
        "auth",
    ),
    _compile(
        "command-login",
        r"(?<![\w\-])(?:-u|--user|--proxy-user)[ =]+[\"']?[^\s:\"'/]+:(?P<v>(?!\[REDACTED"
        r"|\d{1,6}(?!\w))[^\s\"'/:][^\s\"':]+)",
        _is_login,
        "-u",
        "--user",
        "--proxy-user",
    ),
    _compile(
        "command-login",
        r"sshpass -p ?(?P<v>(?!\[)\S+)|docker login[^\n|]* -p[ =](?P<w>(?!\[)\S+)|mysql\w* [^\n"
        r"|]*?-p(?P<x>(?!\[)[^\s]+)|ipmitool[^\n]* -P ?(?P<y>(?!\[)\S+)|smbclient[^\n]*%(?P<z>(?!\[)\S+)"
        r"|redis-cli [^\n]*-a ?(?P<r>(?!\[)\S+)",
        _always,
        "sshpass",
        "docker login",
        "mysql",
        "ipmitool",
        "smbclient",
        "redis-cli",
    ),
    _compile(
        "kernel-login",
        r"netroot=iscsi:(?!\[)[^\s:@]+:[^\s@]+@|iscsi[\w.]*password=(?!\[)\S|(?:rd\.luks\.key"
        r"|cryptkey|luks\.key|rootpw|sshpw)=(?!\[|/|LABEL=|UUID=)\S",
        _always,
        "iscsi",
        "luks",
        "cryptkey",
        "rootpw",
        "sshpw",
    ),
    _compile("chap", r"\.auth\.(?:username|password)(?:_in)?\s*=\s*(?!\[)\S", _always, ".auth."),
    _compile(
        "community",
        r"(?m)(?:(?:^|\s)r[ow]community6?|snmp-server community|com2sec \S+ \S+|trap2?sink \S+"
        r"|snmp\w+ [^\n]*-c|createUser \S+ \S+)\s+[\"']?(?!\[REDACTED|-)[^\s\"']+",
        _always,
        "community",
        "com2sec",
        "sink",
        "snmp",
        "createuser",
    ),
    _compile(
        "wifi-key",
        r"(?i)\b(?:psk|wpa-psk|sae_password|wep_key\d)\s*[= ]\s*\"?(?P<v>(?!\[REDACTED)[^\s\"\[]{8,})"
        r"|wpa_passphrase \S+ (?!\[)\S|wifi connect \S+ password (?!\[)\S",
        _always,
        "psk",
        "sae_password",
        "wep_key",
        "wpa_passphrase",
        "wifi connect",
    ),
    _compile(
        "wifi-name",
        r"(?i:(?<![a-z])e?ssid)[\"']?\s*[:=]\s*[\"']?(?!ssid-\d|off/any|any\b|none\b|null"
        r"|--|\[)[^\s\"'=,]{2,}",
        _always,
        "ssid",
    ),
    _compile("volume-key", r"MK dump:\s+(?:[0-9a-f]{2}\s){8}", _always, "mk dump"),
    _compile("x-cookie", r"MAGIC-COOKIE-1\s+[0-9a-f]{16}", _always, "magic-cookie"),
    _compile("putty-key", r"Private-Lines: \d+\s+(?!\[)[A-Za-z0-9+/]{16}", _always, "private-lines"),
    _compile(
        "connection-key",
        r"(?i:accountkey|sharedaccesskey|(?<=;)pwd)=(?!\[)[^\s;]{4,}",
        _always,
        "accountkey",
        "sharedaccess",
        "pwd=",
    ),
    _compile("signed-url", r"[?&](?:sig|X-Amz-Signature|X-Amz-Credential)=(?!\[)[^\s&]{8,}", _always, "sig", "x-amz"),
    _compile(
        "secret-setting",
        r"(?<![A-Za-z0-9])(?P<n>[A-Za-z0-9_.\-]*?(?i:password|passwd|passphrase|secret|token"
        r"|credentials|api_?-?key|access_?-?key|private_?key|secret_?key)|[A-Z0-9_]+_(?:KEY"
        r"|PASS|PWD|PAT))"
        r"(?![A-Za-z0-9_])\\*[\"']?(?P<s>\s?=(?!=)\s?|\s?:(?!:)\s|:(?=[\"']))\[?\\*[\"']?(?P<v>[^\s\"'\\,;&)\]}>]+)",
        _is_value,
        "pass",
        "secret",
        "token",
        "key",
        "credential",
        "_pwd",
        "_pat",
    ),
    _compile(
        "secret-flag",
        r"(?<![\w\-])--(?P<n>[a-z\-]*(?:password|secret|token|api-key|passphrase|access-key"
        r"|secret-key))(?P<s>[ =\n]|\", ?\"|', ?')(?P<v>[^\s\"'\-][^\s\"']*)",
        _is_value,
        "--",
    ),
    _compile("netrc", r"login \S+\s+password (?!\[)\S", _always, "login "),
    _compile(
        "ipv4",
        r"(?:inet |://|@|nameserver |via |addr[ =:]{1,2}|\bfrom |\b\w*(?i:addr|host|ip)=)(?P<v>\d{1,3}(?:\.\d{1,3}"
        r"){3})(?![\d.])",
        _is_public_ipv4,
        ".",
    ),
    _compile(
        "ipv4",
        r"(?<![\d.\-_v])(?P<v>192\.168(?:\.\d{1,3}){2}|10(?:\.\d{1,3}){3}(?=[/:]\d))(?![\d.])",
        _is_public_ipv4,
        "192.168.",
        "10.",
    ),
    _compile(
        "ipv6",
        r"(?<![\w:.])(?P<v>(?:[23][0-9a-fA-F]{3}|[fF][dD][0-9a-fA-F]{2}|[fF][eE]80):[0-9a-fA-F:]{4,}[0-9a-fA-F])(?"
        r"![\w:])",
        _is_real_ipv6,
        ":",
    ),
    _compile("mac", r"(?<![\w:])(?P<v>(?:[0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2})(?![\w:])", _is_real_mac, ":"),
    _compile(
        "mac",
        r"(?<![\w\-])(?P<v>(?:[0-9a-fA-F]{2}-){5}[0-9a-fA-F]{2})(?![\w\-])|\b(?:enx|wlx)(?P<w>(?!02cafe)[0-9a-f]{1"
        r"2})\b",
        lambda m: m["v"] is None or _is_real_mac(m),
        "-",
        "enx",
        "wlx",
    ),
    _compile(
        "uuid", r"(?<![\w\-])(?P<v>[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})(?!\w)", _is_real_uuid, "-"
    ),
    _compile("uuid", r"machine-?_?id[\"' ]*[=: ]+[\"']?(?P<v>[0-9a-f]{32})\b", _is_real_uuid, "machine"),
    _compile("fs-uuid", r"(?:UUID=|by-uuid/)(?!02-?[cC][aA])[0-9A-F]{4}-[0-9A-F]{4}\b", _always, "uuid"),
    _compile("wwn", r"(?:wwn-|naa\.|eui\.|WWN=)(?:0x)?(?!02cafe)[0-9a-f]{16}", _always, "wwn", "naa.", "eui."),
    _compile(
        "serial",
        r"(?i:serial(?: number|_number|_short|no)?|asset[ _]tag|service tag)[\"']?\s*[:="
        r"|]\s*[\"']?(?P<v>[A-Za-z0-9][A-Za-z0-9._\-]{4,})",
        _is_real_serial,
        "serial",
        "asset",
        "service tag",
    ),
    _compile("serial", r"Device Serial Number (?P<v>[0-9a-fA-F\-]{23})", _is_real_serial, "device serial"),
    _compile("home", r"(?<![\w.])/(?:home|Users)/(?P<v>[A-Za-z][\w.\-]*\w)", _is_real_user, "/home/", "/users/"),
    _compile("user", r"(?<![\w])(?:USER|LOGNAME|SUDO_USER)=(?P<v>[A-Za-z]\w{2,})", _is_real_user, "user=", "logname="),
    _compile("account", r"(?m)^(?P<v>[A-Za-z][\w.\-]{2,}):[^:\s]*:[1-5]\d{3}:\d+:", _is_real_user, ":"),
    _compile(
        "mail",
        r"(?<![\w./@])[\w.+\-]+@(?!example\.invalid)(?:[\w\-]+\.)+(?!service|socket|timer"
        r"|mount|target|slice|scope|device|path|swap|conf|so)[a-z]{2,12}(?![\w:/@\-])",
        lambda m: _DONE not in m.group() and not m.group().startswith("git@"),
        "@",
    ),
    _compile("host", r"(?m)^(?:PRETTY_)?HOSTNAME=(?P<v>[A-Za-z][\w\-]{3,})", _is_real_user, "hostname="),
)
