"""Secrets that the scan of a finished archive looks for; written apart from the redactor's rules."""

from __future__ import annotations

import re

from xpukit.host.redaction.scan_rule import DONE, ScanRule, always, build_scan_rule


def _has_digits(match: re.Match[str]) -> bool:
    return DONE not in match.group() and any(c.isdigit() for c in match.group())


def _is_random(match: re.Match[str]) -> bool:
    """With digits, or a long run of letters in both cases."""
    text = match.group()
    if _has_digits(match) or DONE in text:
        return DONE not in text
    runs = re.split(r"[^A-Za-z]+", text)
    return any(len(run) >= 24 and not (run.islower() or run.isupper() or run.istitle()) for run in runs)


_DULL = re.compile(
    r"(?i)(?:true|false|null|none|yes|no|on|off|unknown|required|optional|\"?[\[({<$%*\\."
    r"|].*|[*x.\-_]+|-.*|~?/.*|\.{0,2}/.*|file:.*|\d{1,15}|[\d.]+)"
)


def _is_value(match: re.Match[str]) -> bool:
    value = match["v"].strip("\"',;")
    name = match["n"].lower().replace("-", "_")
    if DONE in match.group() or len(value) < 3 or _DULL.fullmatch(value):
        return False
    if re.search(
        r"(?:eos|bos|pad|unk|sep|cls|mask|stop|image|audio|video|first|next|per|prompt|output"
        r"|max|primary|foreign|public|cache|sort|group|think)_?(?:token|key)$",
        name,
    ):
        return False
    # Keys of tables and settings are words (I_MPI_THREAD_ID_KEY=vci); those that open something are not.
    if name.endswith(("key", "token", "pat")) and value.isalpha() and len(value) < 16:
        return False
    # In prose a word of a language follows: only where a name is assigned is a plain word a password.
    return any(c.isdigit() for c in value) or match["s"].strip() != ":" or not value.isalpha()


def _is_login(match: re.Match[str]) -> bool:
    if DONE in match.group() and match["v"].endswith("]"):
        return False
    return DONE not in match["v"] and not match["v"].startswith(("$", "<", "{", "*", "%"))


SECRET_RULES: tuple[ScanRule, ...] = (
    build_scan_rule("secret-setting", r"private_key_id\"?\s*[:=]\s*\"?(?!\[)\w", always, "private_key_id"),
    build_scan_rule(
        "token-prefix",
        r"(?<![A-Za-z0-9])(?:hf_(?:oauth_|jwt_)?[A-Za-z0-9]{12}|gh[a-z]_[A-Za-z0-9]{12}|github_pat_\w{12}"
        r"|glpat-[\w\-]{12}|npm_[A-Za-z0-9]{16}|pypi-[\w\-]{16}|"
        r"nvapi-[\w\-]{12}|xox[a-z]-[\w\-]{8}|AIza[\w\-]{20}|dckr_pat_[\w\-]{10}"
        r"|gsk_\w{20}|ya29\.[\w\-]{12}|"
        r"sk_live_\w{8}|hvs\.[\w\-]{16}|SWMTKN-1-\w{10}|r8_\w{20})[\w\-]*",
        _is_random,
        "_",
        "-",
        "aiza",
        "ya29.",
        "hvs.",
    ),
    build_scan_rule(
        "token-prefix",
        r"(?<![A-Za-z0-9])(?:AKIA|ASIA|AGPA|AROA|AIDA)[A-Z0-9]{16}(?![A-Za-z0-9])",
        always,
        *("akia", "asia", "agpa", "aroa", "aida"),
    ),
    build_scan_rule("token-prefix", r"(?<![A-Za-z0-9])sk-[A-Za-z0-9_\-]{14,}", _is_random, "sk-"),
    build_scan_rule("bot-token", r"(?<!\d)\d{8,10}:AA[\w\-]{30}", always, ":aa"),
    build_scan_rule("web-hook", r"hooks\.slack\.com/\w+/(?!\[REDACTED)[A-Za-z0-9]", always, "hooks.slack"),
    build_scan_rule("web-token", r"(?<![A-Za-z0-9])eyJ[\w\-]{8,}\.[\w\-]{4,}", always, "eyj"),
    build_scan_rule("password-hash", r"\$(?:[1567y]|2[aby]|apr1|argon2id?)\$[A-Za-z0-9./$=,+]{12}", always, "$"),
    build_scan_rule(
        "key-block",
        r"-----BEGIN [A-Z0-9 ]+-----(?:\s|\\+[nr])*(?!\[REDACTED)[A-Za-z0-9+/]{12}|[A-Za-z0-9+/=]{12,}(?:\s"
        r"|\\+n)+-----END [A-Z0-9 ]+-----",
        always,
        "-----begin",
        "-----end",
    ),
    build_scan_rule(
        "key-lines",
        r"(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{64}(?:\r?\n|\\n)[A-Za-z0-9+/]{64}(?:\r?\n|\\n)",
        lambda match: len(set(match.group())) > 26 and bool(re.search(r"[G-Zg-z]", match.group())),
        "\n",
        "\\n",
    ),
    build_scan_rule(
        "ssh-key", r"(?<![A-Za-z0-9+/])AAAA[A-Za-z0-9+/]{40}", lambda match: len(set(match.group())) > 10, "aaaa"
    ),
    build_scan_rule("ssh-fingerprint", r"SHA256:[A-Za-z0-9+/]{43}|\|1\|[A-Za-z0-9+/]{20}", always, "sha256:", "|1|"),
    build_scan_rule(
        "tunnel-key",
        r"(?i:private|public|preshared|peer|pre-shared)[ _\-]?(?i:key)?\s*[:=]\s*[A-Za-z0-9+/]{42,43}=",
        always,
        "=",
    ),
    build_scan_rule("tunnel-key", r"(?:\t|^)[A-Za-z0-9+/]{43}=\t", always, "=\t"),
    build_scan_rule(
        "url-login", r"(?<=[A-Za-z0-9])://[^\s/:@\"'<>\\?#]*:(?P<v>[^\s/\"'<>\\?#]+?)@[\w\[]", _is_login, "@"
    ),
    build_scan_rule(
        "url-login", r"(?i:://|%3a%2f%2f)[^\s/@%]{1,60}(?::|%3a|%3A)(?P<v>[^\s/@]{1,99}?)%40", _is_login, "%40"
    ),
    build_scan_rule("url-login", r"://(?P<v>[A-Za-z0-9_\-]*\d[A-Za-z0-9_\-]{15,})@", _is_login, "@"),
    build_scan_rule(
        "bearer",
        r"(?i:bearer|basic)[ \t]+(?=[A-Za-z_\-.+/=~]*[0-9A-Z])(?P<v>[\w\-.+/=~]{12,})",
        lambda m: any(c.isdigit() for c in m["v"]),
        "bearer",
        "basic",
    ),
    build_scan_rule(
        "header",
        r"(?i:authorization|x-api-key|private-token|x-auth-token)[\"']?\s*[:=]\s*[\"']?(?P<v>(?!\["
        r"|(?i:bearer|basic|token|digest|none|null|true|false)\b)[^\s\"',]{4,})",
        _is_login,
        "authorization",
        "x-api-key",
        "-token",
    ),
    build_scan_rule(
        "cookie",
        r"(?i:(?<![a-z])(?:set-)?cookie)[\"']?\s*[:=]\s*[\"']?(?P<v>(?!\[)[^\s\"']+=[^\s\"']{4,})",
        _is_login,
        "cookie",
    ),
    build_scan_rule(
        "registry-auth",
        r"\"auth\\*\"\s*:\s*\\*\"(?P<v>[A-Za-z0-9+/=]{6,})|_auth(?:Token)?\s?=\s?(?P<w>(?!\[)[^\s\"']{6,})",
        always,
        "auth",
    ),
    build_scan_rule(
        "command-login",
        r"(?<![\w\-])(?:-u|--user|--proxy-user)[ =]+[\"']?[^\s:\"'/]+:(?P<v>(?!\[REDACTED"
        r"|\d{1,6}(?!\w))[^\s\"'/:][^\s\"':]+)",
        _is_login,
        "-u",
        "--user",
        "--proxy-user",
    ),
    build_scan_rule(
        "command-login",
        r"sshpass -p ?(?P<v>(?!\[)\S+)|docker login[^\n|]* -p[ =](?P<w>(?!\[)\S+)|mysql\w* [^\n"
        r"|]*?-p(?P<x>(?!\[)[^\s]+)|ipmitool[^\n]* -P ?(?P<y>(?!\[)\S+)|smbclient[^\n]*%(?P<z>(?!\[)\S+)"
        r"|redis-cli [^\n]*-a ?(?P<r>(?!\[)\S+)",
        always,
        "sshpass",
        "docker login",
        "mysql",
        "ipmitool",
        "smbclient",
        "redis-cli",
    ),
    build_scan_rule(
        "kernel-login",
        r"netroot=iscsi:(?!\[)[^\s:@]+:[^\s@]+@|iscsi[\w.]*password=(?!\[)\S|(?:rd\.luks\.key"
        r"|cryptkey|luks\.key|rootpw|sshpw)=(?!\[|/|LABEL=|UUID=)\S",
        always,
        "iscsi",
        "luks",
        "cryptkey",
        "rootpw",
        "sshpw",
    ),
    build_scan_rule("chap", r"\.auth\.(?:username|password)(?:_in)?\s*=\s*(?!\[)\S", always, ".auth."),
    build_scan_rule(
        "community",
        r"(?m)(?:(?:^|\s)r[ow]community6?|snmp-server community|com2sec \S+ \S+|trap2?sink \S+"
        r"|snmp\w+ [^\n]*-c|createUser \S+ \S+)\s+[\"']?(?!\[REDACTED|-)[^\s\"']+",
        always,
        "community",
        "com2sec",
        "sink",
        "snmp",
        "createuser",
    ),
    build_scan_rule(
        "wifi-key",
        r"(?i)\b(?:psk|sae_password|wep_key\d)[ \t]*=[ \t]*\"?(?P<v>(?!\[REDACTED)[^\s\"\[]{8,})"
        r"|(?<![\w\-])wpa-psk[ \t]+(?!\[)(?=\S*\d)\S{8}"
        r"|wpa_passphrase \S+ (?!\[)\S|wifi connect \S+ password (?!\[)\S",
        always,
        "psk",
        "sae_password",
        "wep_key",
        "wpa_passphrase",
        "wifi connect",
    ),
    build_scan_rule(
        "wifi-name",
        r"(?i:(?<![a-z])e?ssid)[\"']?\s*[:=]\s*[\"']?(?!ssid-\d|off/any|any\b|none\b|null"
        r"|--|\[)[^\s\"'=,]{2,}",
        always,
        "ssid",
    ),
    build_scan_rule("volume-key", r"MK dump:\s+(?:[0-9a-f]{2}\s){8}", always, "mk dump"),
    build_scan_rule("x-cookie", r"MAGIC-COOKIE-1\s+[0-9a-f]{16}", always, "magic-cookie"),
    build_scan_rule("putty-key", r"Private-Lines: \d+\s+(?!\[)[A-Za-z0-9+/]{16}", always, "private-lines"),
    build_scan_rule(
        "connection-key",
        r"(?i:accountkey|sharedaccesskey|(?<=;)pwd)=(?!\[)[^\s;]{4,}",
        always,
        "accountkey",
        "sharedaccess",
        "pwd=",
    ),
    build_scan_rule(
        "signed-url", r"[?&](?:sig|X-Amz-Signature|X-Amz-Credential)=(?!\[)[^\s&]{8,}", always, "sig", "x-amz"
    ),
    build_scan_rule(
        "secret-setting",
        r"(?<![A-Za-z0-9])(?P<n>[A-Za-z0-9_.\-]*?(?i:password|passwd|passphrase|secret|token"
        r"|credentials|api_?-?key|access_?-?key|private_?key|secret_?key)|[A-Z0-9_]+_(?:KEY"
        r"|PASS|PWD|PAT))"
        r"(?![A-Za-z0-9_])\\*[\"']?(?P<s>[ \t]?=(?!=)[ \t]?|[ \t]?:(?!:)[ \t]|:(?=[\"']))"
        r"\[?\\*[\"']?(?P<v>[^\s\"'\\,;&)\]}>]+)",
        _is_value,
        "pass",
        "secret",
        "token",
        "key",
        "credential",
        "_pwd",
        "_pat",
    ),
    build_scan_rule(
        "secret-flag",
        r"(?<![\w\-])--(?P<n>[a-z\-]*(?:password|secret|token|api-key|passphrase|access-key"
        r"|secret-key))(?P<s>[ =]|\n(?=[^\s=]*\d[^\s=]*(?:\n|$))|\", ?\"|', ?')(?P<v>[^\s\"'\-][^\s\"']*)",
        _is_value,
        "--",
    ),
    build_scan_rule("netrc", r"login \S+\s+password (?!\[)\S", always, "login "),
    build_scan_rule(
        "token-prefix",
        r"(?<![A-Za-z0-9])(?:gl(?:rt|dt|ptt|cbt|oas|soat)-[\w\-]{12}|glsa_\w{16}|lsv2_\w{16}|xapp-[\w\-]{12}"
        r"|GOCSPX-[\w\-]{12}|1//0[a-z][\w\-]{20}|dapi[0-9a-f]{24}|dop_v1_\w{24}|tskey-[a-z]+-\w{8}"
        r"|SG\.[\w\-]{16}|AGE-SECRET-KEY-1\w{20}|IQoJb3JpZ2lu\w{12})",
        always,
        "gl",
        "lsv2_",
        "xapp-",
        "gocspx-",
        "1//0",
        "dapi",
        "dop_v1_",
        "tskey-",
        "sg.",
        "age-secret",
        "iqojb3",
    ),
    build_scan_rule(
        "token-prefix", r"(?<![A-Za-z0-9])(?:SK|AC|key-)[0-9a-f]{32}(?![A-Za-z0-9])", always, "sk", "ac", "key-"
    ),
    build_scan_rule("token-prefix", r"(?<![\w~.\-])[\w~.\-]{3}\dQ~[\w~.\-]{31}", always, "q~"),
    build_scan_rule(
        "web-hook", r"/webhooks/\d+/(?!\[)[\w\-]{8}|/webhookb2/\S*?IncomingWebhook/(?!\[)\w", always, "/webhook"
    ),
    build_scan_rule("password-hash", r"grub\.pbkdf2\.\w+\.\d+\.(?!\[)[0-9A-Fa-f]", always, "grub.pbkdf2"),
    build_scan_rule(
        "key-block", r"-----BEGIN [A-Za-z0-9 ]+-----(?:\s|\\+[nr])*(?!\[REDACTED)[0-9a-fA-F]{16}", always, "-----begin"
    ),
    build_scan_rule(
        "secret-lines",
        r"(?i:password|secret|token|api_?key|private_key)[\"']?\s?:\s?[|>][+\-]?\d?[ \t]*\n[ \t]+(?!\[)\S{4,}",
        always,
        "|",
        ">",
    ),
    build_scan_rule(
        "secret-setting",
        r"(?i:password|passwd|secret|secret_key|api_?key)[\"']?\s?[:=]\s?(?:\"\"\"|''')(?!\[)[^\s\"']",
        always,
        '"""',
        "'''",
    ),
    build_scan_rule(
        "secret-setting",
        r"\"(?i:[\w.\-]*(?:password|passwd|secret|api_?key))\"\s?:\s?\"(?!\[)(?=[^\"\n]*[\d\\])[^\"\n]{6,}\"",
        always,
        "passw",
        "secret",
        "key",
    ),
    build_scan_rule(
        "secret-setting",
        r"(?:[,;&?\s]|[a-z]_)(?:pass|pw|pwd)\s?=\s?(?!\[)(?=\S*\d)[^\s,;&\"'$/<{]{4,}",
        always,
        "pass",
        "pw",
    ),
    build_scan_rule(
        "secret-element",
        r"<[\w:.\-]*(?i:password|passwd|secret|token|api_?key)(?:\s[^<>\n]*)?>(?!\[)(?=[^<\s]*\d)[^<\s]{4,}</",
        always,
        "</",
    ),
    build_scan_rule(
        "secret-flag",
        r"(?<![\w\-])--(?P<n>certificate-key|auth-?key|pass|key)(?P<s>[ =\n])"
        r"(?P<v>(?=\S*\d)[A-Za-z0-9][^\s\"'/.]{11,})",
        _is_value,
        "--",
    ),
)
