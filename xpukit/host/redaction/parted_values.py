"""Secrets whose name stands apart from them, or that only their place shows: pairs of `name:` and `value:`, shells that
assign without `=`, URL-encoded settings, programs that take passwords in their own ways."""

from __future__ import annotations

import re

from xpukit.host.redaction.named_values import NAME, hide_named_value
from xpukit.host.redaction.rule import MARK, Rule, Scene, build_secret_rule, replace_group

_WHAT = "values named password, secret, token, key, credentials and the like"
_LOGIN = "user:password and passwords of command-line tools"

# Kubernetes' env, Docker's and Nomad's lists, JSON: {"name": "HF_TOKEN", "value": "x"}, also on two lines.
_PAIR = re.compile(
    r"(?<![A-Za-z0-9_])\\*[\"']?(?i:name|key|variable)\\*[\"']?\s{0,4}[:=]\s{0,4}\\*[\"']?(?P<n>[A-Za-z0-9_.\-]{2,80})"
    r"\\*[\"']?,?(?:\s|\\n){0,40}\\*[\"']?(?i:value)\\*[\"']?\s{0,4}[:=]\s{0,4}"
    r"(?:(?P<q>\\*[\"'])(?P<s>(?:(?!(?P=q))[^\n])*)(?P=q)|(?P<p>[^\s\"',}\]\\][^\n,}\]]*))"
)
# fish, csh, Dockerfiles of old.
_ASSIGNED = re.compile(
    r"(?<![\w\-])(?:setenv|set(?: -[A-Za-z]{1,4}| --(?:export|global|universal)){1,3})[ \t]+"
    r"(?P<n>[A-Za-z_]\w{1,79})[ \t]+[\"']?(?P<s>[^\s\"';|&]+)"
)
# token%3Dx: within an address that stands in another. What ends it: %26 (&), quotes, white space, %2C, %3B.
_ENCODED = re.compile(
    r"(?P<n>[A-Za-z0-9_.\-]{2,80})%3[Dd](?P<s>(?:[^\s\"'<>&%;,\\]|%(?!26|22|27|20|0[AaDd]|2[Cc]|3[Bb])[0-9A-Fa-f]{2})+)"
)


def _hide_parted(pattern: re.Pattern[str], text: str, scene: Scene) -> str:
    def replace(match: re.Match[str]) -> str:
        group = "p" if "p" in pattern.groupindex and match["p"] is not None else "s"
        value = match[group]
        # %3F before it is the question mark of the address.
        name = re.sub(r"\A(?:3[Ff]|26)(?=[a-z_])", "", match["n"]) if pattern is _ENCODED else match["n"]
        hidden = hide_named_value(name, value, scene) if MARK not in value else value
        return match.group() if hidden == value else replace_group(match, group, hidden)

    return pattern.sub(replace, text)


def _is_no_variable(text: str) -> bool:
    return not text.startswith(("$", "<", "{", "%", "*", "`"))


RULES: tuple[Rule, ...] = (
    Rule(
        name=NAME,
        removes="secret",
        what=_WHAT,
        hints=("value",),
        apply=lambda text, scene: _hide_parted(_PAIR, text, scene),
    ),
    Rule(
        name=NAME,
        removes="secret",
        what=_WHAT,
        hints=("setenv", "set -"),
        apply=lambda text, scene: _hide_parted(_ASSIGNED, text, scene),
    ),
    Rule(
        name=NAME,
        removes="secret",
        what=_WHAT,
        hints=("%3d",),
        apply=lambda text, scene: _hide_parted(_ENCODED, text, scene),
    ),
    build_secret_rule(
        "command-login",
        _LOGIN,
        r"(?<![\w\-])(?:-(?:pass(?:in|out)?|passwd|kpass)(?:[ \x00]|\\*[\"'],\s*\\*[\"'])pass:"
        r"|--?(?:(?:src|dest|new)?(?:store|key)pass(?:wd)?)(?:[ =\x00]|\\*[\"'],\s*\\*[\"']))"
        r"(?P<s>[^\s\"'\x00]{3,})",
        hints=("pass:", "storepass", "keypass"),
        check=_is_no_variable,
    ),
    build_secret_rule(
        "command-login",
        _LOGIN,
        r"(?:\becho|\bprintf)[ \t]+(?:-n[ \t]+|[\"']?%s(?:\\n)?[\"']?[ \t]+)?[\"']?(?P<s>[^\s\"'|]{6,200})[\"']?[ \t]*"
        r"\|[^\n|;]{0,200}?(?:--password-stdin|--with-token|\bsudo -S\b|\bchpasswd\b|cryptsetup\b|\bpasswd --stdin)",
        hints=("echo", "printf"),
        check=_is_no_variable,
    ),
    build_secret_rule(
        "url-login",
        "user and password in URLs (proxies, registries, databases)",
        # A Windows domain before the user.
        r"(?<=[A-Za-z0-9])://[A-Za-z][\w\-]{0,30}\\{1,4}[\w.\-]{1,64}:(?P<s>[^\s/\"'<>\\\x00?#]{1,200})@(?=[\w\[.\-])",
        hints=("://",),
        check=_is_no_variable,
    ),
    build_secret_rule(
        "ssh-fingerprint",
        "SSH key fingerprints",
        r"MD5:(?P<s>(?:[0-9a-f]{2}:){15}[0-9a-f]{2})(?![0-9a-f:])",
        hints=("md5:",),
    ),
)
