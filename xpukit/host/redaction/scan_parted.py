"""What the scan looks for where a secret's name stands apart from it; written apart from the redactor's rules."""

from __future__ import annotations

import re

from xpukit.host.redaction.scan_rule import DONE, ScanRule, always, build_scan_rule

_SECRET_NAME = r"[A-Za-z0-9_.\-]*(?i:password|passwd|passphrase|secret|token|credentials|api_?-?key|access_?-?key)"
_UPPER_NAME = r"[A-Z0-9_]+_(?:KEY|PASS|PWD|PAT)"


def _is_open(match: re.Match[str]) -> bool:
    """A value that is neither hidden, nor a variable, nor a word that says that there is none."""
    value = match["v"]
    return (
        DONE not in match.group()
        and not value.startswith(("$", "<", "{", "%", "*", "`", "/", "~"))
        and value.lower() not in ("true", "false", "null", "none", "yes", "no", "on", "off", "unknown")
        and not re.search(r"(?i)(?:eos|bos|pad|unk|sep|cls|mask|max|num|image|audio|video)_?tokens?\b", match["n"])
        and (any(sign.isdigit() for sign in value) or not value.isalpha())
        and not value.replace(".", "").isdigit()
    )


PARTED_RULES: tuple[ScanRule, ...] = (
    build_scan_rule(
        "secret-pair",
        rf"(?i:\b(?:name|key|variable)\b)[\\\"' ]*[:=][\\\"' ]*(?P<n>{_SECRET_NAME}|{_UPPER_NAME})[\\\"', \nn]{{1,40}}"
        r"(?i:value)[\\\"' ]*[:=][\\\"' ]*(?P<v>[^\s\"',}\]\\][^\"',}\]\\\n]{2,})",
        _is_open,
        "value",
    ),
    build_scan_rule(
        "secret-setting",
        rf"(?:\bsetenv|\bset -\w+(?: -\w+)*) +(?P<n>{_SECRET_NAME}|{_UPPER_NAME}) +[\"']?(?P<v>[^\s\"';|&]{{3,}})",
        _is_open,
        "set",
    ),
    build_scan_rule("secret-setting", rf"(?P<n>{_SECRET_NAME})%3[Dd](?P<v>[^\s\"'<>&%;,]{{4,}})", _is_open, "%3d"),
    build_scan_rule(
        "command-login",
        r"\s-(?:pass(?:in|out)?|kpass) pass:(?![\[$])\S{3,}"
        r"|-(?:src|dest|new)?(?:store|key)pass[ =](?![\[$<])[^\s\"']{3,}",
        always,
        "pass",
    ),
    build_scan_rule(
        "command-login",
        r"(?:echo|printf) (?:-n )?[\"']?(?![\[$<{%])[^\s\"'|]{6,}[\"']? *\|[^\n|]*--(?:password-stdin|with-token)",
        always,
        "echo",
        "printf",
    ),
    build_scan_rule("url-login", r"\w://[\w\-]+\\+[\w.\-]+:(?!\[)[^\s/\"'\\@]+@", always, "://"),
    build_scan_rule("ssh-fingerprint", r"MD5:(?:[0-9a-f]{2}:){15}[0-9a-f]{2}", always, "md5:"),
    build_scan_rule("token-prefix", r"\bGR1348941[\w\-]{16,}", always, "gr1348941"),
)
