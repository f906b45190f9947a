"""Credentials in protocol headers, URLs, command lines, the kernel's command line and settings of services."""

from __future__ import annotations

import base64
import binascii
import re

from xpukit.host.redaction.rule import MARK, Rule, Scene, build_secret_rule

_VALUE = r"[^\s\"'\\,;&\x00]+"


def _is_no_variable(text: str) -> bool:
    return not text.startswith(("$", "<", "{", "%", "*"))


def _is_base64_of_login(text: str) -> bool:
    """Docker's `auth`: base64 of user:password; a longer text that is base64 is hidden too."""
    try:
        return b":" in base64.b64decode(text + "=" * (-len(text) % 4), validate=True) or len(text) >= 16
    except (binascii.Error, ValueError):
        return len(text) >= 12


def _hide_url_logins(text: str, scene: Scene) -> str:
    def replace(match: re.Match[str]) -> str:
        login = match["login"]
        if MARK in login or not _is_no_variable(login):
            return match.group()
        user, colon, password = login.partition(":")
        if colon:
            if not password or not _is_no_variable(password):
                return match.group()
            # The user's name is hidden as well: tokens stand there (https://TOKEN:x-oauth-basic@host).
            return f"://{scene.hide('url-login', user) if len(user) > 2 else user}:{scene.hide('url-login', password)}@"
        # Alone before the @ stands a user name (ssh://git@host) or a token.
        if len(login) >= 16 and any(c.isdigit() for c in login):
            return f"://{scene.hide('url-login', login)}@"
        return match.group()

    return _URL_LOGIN.sub(replace, text)


# A password may hold ":" and, in practice, "@": the last @ before the path ends it.
_URL_LOGIN = re.compile(r"(?<=[A-Za-z0-9])://(?P<login>[^\s/\"'<>\\\x00?#]{1,300})@(?=[\w\[.\-])")

RULES: tuple[Rule, ...] = (
    Rule(
        name="url-login",
        removes="secret",
        what="user and password in URLs (proxies, registries, databases)",
        hints=(),
        probe=re.compile(r"://"),
        apply=_hide_url_logins,
    ),
    build_secret_rule(
        "url-login",
        "user and password in URLs (proxies, registries, databases)",
        r"(?i:://|%3A%2F%2F)[^\s\"'%/@]{1,80}(?::|%3A)(?P<s>[^\s\"'/@]{1,200}?)%40",
        hints=("%40",),
    ),
    build_secret_rule(
        "authorization",
        "Authorization headers and bearer tokens",
        r"(?i:authorization|x-api-key|x-auth-token|api-key|x-goog-api-key|private-token|x-amz-security-token)"
        r"\\*[\"']?\s*[:=]\s*\\*[\"']?(?:(?i:bearer|basic|token|digest|negotiate|apikey)\s+)?"
        rf"(?P<s>{_VALUE})",
        hints=("authorization", "x-api-key", "x-auth-token", "api-key", "x-goog-api-key", "private-token", "x-amz"),
        check=lambda text: (
            _is_no_variable(text)
            and len(text) > 3
            and text.lower() not in ("bearer", "basic", "token", "digest", "none", "null", "true", "false")
        ),
    ),
    build_secret_rule(
        "authorization",
        "Authorization headers and bearer tokens",
        r"(?<![A-Za-z])(?i:bearer|basic)[ \t]+(?P<s>[A-Za-z0-9_\-.+/=~]{12,})",
        hints=("bearer", "basic"),
        check=lambda text: any(c.isdigit() for c in text) or any(c.isupper() for c in text[1:]),
    ),
    build_secret_rule(
        "cookie-header",
        "cookies",
        r"(?i:(?<![A-Za-z])(?:set-)?cookie)\\*[\"']?:\s*\\*[\"']?(?P<s>[^\"'\n\x00]{4,})",
        hints=("cookie",),
    ),
    build_secret_rule(
        "registry-auth",
        "logins of Docker registries",
        r"\\*[\"'](?:auth|identitytoken|registrytoken)\\*[\"']\s*:\s*\\*[\"'](?P<s>[A-Za-z0-9+/=_\-.]{6,})",
        hints=("auth", "identitytoken", "registrytoken"),
        check=_is_base64_of_login,
    ),
    build_secret_rule(
        "registry-auth",
        "logins of Docker registries and npm",
        r"(?m:^|[\s:/])_auth(?:Token)?\s*=\s*(?P<s>[^\s\"']{6,})",
        hints=("_auth",),
    ),
    build_secret_rule(
        "command-login",
        "user:password and passwords of command-line tools",
        r"(?<![\w\-])(?:-u|--user|--proxy-user|--oauth2-bearer)(?:[ \t]+|=|\x00|\\*[\"'],\s*\\*[\"'])\\*[\"']?"
        r"(?P<u>[^\s:\"'\x00/]{1,64}):(?P<s>(?!\d{1,6}(?![^\s\"'\x00]))[^\s\"'\x00]{2,})",
        hints=("-u", "--user", "--proxy-user", "--oauth2"),
        check=lambda text: _is_no_variable(text) and not text.startswith((":", "/")),
    ),
    build_secret_rule(
        "command-login",
        "user:password and passwords of command-line tools",
        r"(?<![\w\-])(?:sshpass(?:[ \x00]|\\*[\"'],\s*\\*[\"'])-p[ \x00]?|mysql\w*\s(?:[^\n"
        r"|;]{0,80}\s)?-p|smbclient[^\n]{0,120}?%|"
        r"(?:docker|podman|nerdctl|helm registry) login[^\n|;]{0,200}?\s-p[ =]?|"
        r"(?:ipmitool|impitool)[^\n|;]{0,160}?\s-P[ ]?|redis-cli[^\n|;]{0,120}?\s-a[ ]?)\\*[\"']?(?P<s>[^\s\"'\x00"
        r"]{3,})",
        hints=("sshpass", "mysql", "smbclient", " login", "ipmitool", "redis-cli"),
        check=_is_no_variable,
    ),
    build_secret_rule(
        "kernel-argument",
        "credentials on the kernel's command line",
        r"(?:netroot=iscsi:|iscsi:|iscsi_(?:in_)?password=|rd\.iscsi\.(?:in\.)?password=|rd\.iscsi\.(?:in\.)?username=)"
        r"(?P<s>(?:(?<=netroot=iscsi:)|(?<=iscsi:))[^\s:@]+:[^\s@]+(?=@)|(?<==)[^\s]+)",
        hints=("iscsi",),
    ),
    build_secret_rule(
        "kernel-argument",
        "credentials on the kernel's command line",
        r"(?:rd\.luks\.(?:key|options|name|data)|cryptkey|luks[._]?key|keyscript_arg|rootpw|sshpw|passwd)="
        r"(?P<s>[^\s]+)",
        hints=("rd.luks", "cryptkey", "luks", "rootpw", "sshpw", "keyscript"),
        check=lambda text: not text.startswith(("/", "LABEL=", "UUID=")) and text not in ("discard", "timeout=0"),
    ),
    build_secret_rule(
        "chap-secret",
        "iSCSI and NFS credentials",
        r"(?:node\.session\.auth|discovery\.sendtargets\.auth)\.(?:username|password)(?:_in)?\s*=\s*(?P<s>\S+)",
        hints=(".auth.",),
    ),
    build_secret_rule(
        "snmp-community",
        "SNMP communities and pass phrases",
        r"(?m)(?:^|[\s;\"'])(?:(?:ro|rw)community6?\s+|com2sec6?\s+(?:-Cn\s+\S+\s+)?\S+\s+\S+\s+|"
        r"trap(?:2)?(?:sink|community)\s+(?:\S+\s+)?|snmp-server community\s+|"
        r"snmp\w*\s[^\n]{0,60}?-c[ ]?|createUser\s+\S+\s+(?:MD5|SHA\S*)\s+)[\"']?(?P<s>[^\s\"']+)",
        hints=("community", "com2sec", "trapsink", "trap2sink", "snmp", "createuser"),
    ),
    build_secret_rule(
        "snmp-community",
        "SNMP communities and pass phrases",
        r"(?:(?i:snmp[\w\- ]*community|community[ _]?(?:name|string))\"?\s*[:=]\s*\"?|createUser\s+\S+\s+(?:MD5"
        r"|SHA\S*)\s+\S+\s+(?:DES|AES)\S*\s+[\"']?)"
        r"(?P<s>[^\s\"',]+)",
        hints=("community", "createuser"),
    ),
    build_secret_rule(
        "wifi-password",
        "WiFi pass phrases",
        r"(?i)(?:\bwpa_passphrase\s+\S+\s+|\bwifi connect\s+\S+\s+password\s+|802-11-wireless-security\.psk:?\s*[="
        r":]?\s*|"
        r"\bwpa-psk\s+|\b(?:psk|wep_key\d|wep-key\d|sae_password|wpa_passphrase)\s*=\s*\"?)(?P<s>[^\s\"\[]+(?: [^"
        r"\s\"]+)*)(?=\"|\s|\Z)",
        hints=("psk", "wpa_passphrase", "wifi connect", "wep_key", "wep-key", "sae_password"),
    ),
    build_secret_rule(
        "luks-key",
        "LUKS volume keys",
        r"(?:MK dump|Volume key):?\s+(?P<s>(?:[0-9a-f]{2}[ \t\n]*){16,})",
        hints=("mk dump", "volume key"),
    ),
    build_secret_rule(
        "connection-string",
        "keys in connection strings",
        r"(?i:AccountKey|SharedAccessKey|SharedAccessSignature|Pwd)=(?P<s>[^\s;\"']+)",
        hints=("accountkey", "sharedaccess", "pwd="),
        check=lambda text: not text.startswith(("/", "$")),
    ),
)
