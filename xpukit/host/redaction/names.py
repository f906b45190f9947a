"""Names of people and machines: where they show that they are one (a home path, a prompt, /etc/hosts)."""

from __future__ import annotations

import re
from functools import lru_cache

from xpukit.host.redaction.common_names import is_common, is_distinct, is_stand_in
from xpukit.host.redaction.lazy_pattern import LazyPattern
from xpukit.host.redaction.pseudonyms import Render
from xpukit.host.redaction.rule import MARK, Rule, Scene, replace_group
from xpukit.host.redaction.stand_ins import render_domain, render_host, render_serial, render_user

RENDER: dict[str, Render] = {
    "host": render_host,
    "user": render_user,
    "domain": render_domain,
    "serial": render_serial,
}
_PUBLIC = re.compile(
    r"(?i)(?:.*\.)?(?:intel|github|githubusercontent|docker|pytorch|python|pypi|huggingface"
    r"|kernel|ubuntu|debian|canonical|"
    r"launchpad|freedesktop|google|googleapis|microsoft|nvidia|amd|redhat|fedoraproject|gnu|apache|example|invalid|"
    r"quay|gcr|khronos|openvino|modelscope|conda|anaconda)(?:\.(?:com|org|net|io|ai|dev"
    r"|cn|invalid|example))?|example|invalid|test|localhost"
)
_HOST = r"[A-Za-z0-9](?:[A-Za-z0-9\-]{0,62}[A-Za-z0-9])?"
_FQDN = rf"{_HOST}(?:\.{_HOST})*"


def split_host(name: str) -> tuple[str, str]:
    """Host and domain; an address has neither."""
    if re.fullmatch(r"[\d.]+", name):
        return "", ""
    host, _, domain = name.partition(".")
    return host, domain


def is_public_domain(domain: str) -> bool:
    """Sites that everybody uses."""
    return bool(_PUBLIC.fullmatch(domain))


def replace_host(rule: str, name: str, scene: Scene) -> str:
    """A host name, with or without domain, as a pseudonym; public names and addresses stay."""
    host, domain = split_host(name)
    if not host or is_stand_in(host) or is_public_domain(name):
        return name
    if domain and not re.search(r"[A-Za-z]", domain.rpartition(".")[2]):
        return name
    shown = host if is_common(host) else scene.stand_in(rule, "host", host, render_host)
    if is_distinct(host):
        scene.learn("host", host)
    if not domain or is_public_domain(domain) or is_stand_in(domain) or is_common(domain):
        return shown + ("." + domain if domain else "")
    scene.learn("domain", domain)
    return f"{shown}.{scene.stand_in(rule, 'domain', domain, render_domain)}"


@lru_cache(maxsize=4096)
def compile_name(name: str) -> re.Pattern[str]:
    """The name alone, in any case; not inside a longer word."""
    return re.compile(rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])", re.IGNORECASE)


def _build_host_rule(name: str, what: str, pattern: str, hints: tuple[str, ...], probe: str = "") -> Rule:
    lazy = LazyPattern(pattern)

    def apply(text: str, scene: Scene) -> str:
        # A journal has its host's name on each of a million lines.
        shown_before: dict[str, str] = {}

        def replace(match: re.Match[str]) -> str:
            found = match["s"]
            if MARK in found:
                return match.group()
            if found in shown_before:
                if shown_before[found] != found:
                    scene.again(name)
                return replace_group(match, "s", shown_before[found])
            pieces = re.split(r"([\s,:]+)", found)
            shown = "".join(
                replace_host(name, piece, scene) if place % 2 == 0 and piece and re.fullmatch(_FQDN, piece) else piece
                for place, piece in enumerate(pieces)
            )
            if len(pieces) == 1 and "." not in found:
                shown_before[found] = shown
            return replace_group(match, "s", shown)

        return lazy.compiled.sub(replace, text)

    quick = re.compile(probe) if probe else None
    return Rule(name=name, removes="name", what=what, hints=hints, apply=apply, probe=quick)


def _build_user_rule(name: str, what: str, pattern: str, hints: tuple[str, ...], probe: str = "") -> Rule:
    lazy = LazyPattern(pattern)

    def apply(text: str, scene: Scene) -> str:
        def replace(match: re.Match[str]) -> str:
            found = match["s"]
            if is_common(found) or found.startswith(("$", "{", "<", "*", ".")) or not found[0].isalpha():
                return match.group()
            pseudonym = scene.stand_in(name, "user", found, render_user)
            if is_distinct(found):
                scene.learn("user", found)
            return replace_group(match, "s", pseudonym)

        return lazy.compiled.sub(replace, text)

    quick = re.compile(probe) if probe else None
    return Rule(name=name, removes="name", what=what, hints=hints, apply=apply, probe=quick)


# Letters of any alphabet: accounts of directories have them.
_USER = r"[^\W\d][\w.\-]{0,31}"
_MONTH = "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec"
_USERS, _HOSTS = "names of users and their home directories", "names of this host and of others"
_USER_HINTS = ("user=", 'user"', "user'", "user:", "user =", "user :", "user\\", "username", "user_name", "logname",
               "login_name")  # fmt: skip
_SESSION_HINTS = ("uid=", "gid=", "groups=", "user=", "/mail/", "session opened", "session closed", "new session",
                  "accepted ", "failed ", "crontabs")  # fmt: skip

RULES: tuple[Rule, ...] = (
    _build_user_rule(
        "user-name",
        _USERS,
        rf"(?<![A-Za-z0-9_.])/(?:home(?:/(?P<hash>[a-z])(?=/(?P=hash)))?|Users|nfs/home|run/media"
        rf"|media(?=/[a-z]\w+/))/(?P<s>{_USER})(?![A-Za-z0-9_])",
        ("/home/", "/users/", "/media/"),
    ),
    _build_user_rule(
        "user-name",
        _USERS,
        rf"(?<![A-Za-z0-9_])(?:USER|LOGNAME|(?i:username|user_name|login_name)"
        rf"|SUDO_USER|SUDO_HOME_USER|MAIL_USER|DOCKER_USER)\\*[\"']?\s?[=:"
        rf"]\s?\\*[\"']?(?P<s>{_USER})(?![A-Za-z0-9_\\/])",
        _USER_HINTS,
    ),
    _build_user_rule(
        "user-name",
        _USERS,
        rf"(?m)(?:^|(?<=[\"'\x00]))(?P<s>{_USER}):[^:\s]*:[1-9]\d{{3,8}}:\d+:",
        (),
        r":[1-9]\d{3,8}:\d+:",
    ),
    _build_user_rule(
        "user-name",
        _USERS,
        rf"(?:(?:[ug]id|groups)=[1-9]\d{{3,8}}\(|\buser=|/var/(?:spool/)?(?:mail|spool/cron/crontabs)/"
        rf"|(?:session opened for|Accepted \w+ for|Failed \w+ for(?: invalid user)?|session closed for) (?:user )?"
        rf"|New session \S+ of user )(?P<s>{_USER})(?![A-Za-z0-9_])",
        _SESSION_HINTS,
    ),
    _build_user_rule(
        "user-name",
        _USERS,
        rf"(?m)(?:^|[\s\"'=])(?:(?:ssh|scp|rsync|sftp|sshfs|git\+ssh|mosh)\b[^\n|;]{{0,120}}?[\s\"',\x00]"
        rf"|ssh://)(?P<s>{_USER})(?=@[A-Za-z0-9])",
        ("ssh", "scp", "rsync", "sftp", "mosh"),
    ),
    _build_host_rule(
        "host-name",
        _HOSTS,
        rf"(?m)(?:^|[\s\"'=])(?:(?:ssh|scp|rsync|sftp|sshfs|git\+ssh|mosh)\b[^\n|;]{{0,120}}?[\s\"',\x00]"
        rf"|ssh://){_USER}@(?P<s>{_FQDN})",
        ("ssh", "scp", "rsync", "sftp", "mosh"),
    ),
    _build_host_rule(
        "host-name",
        _HOSTS,
        rf"(?m)^[ \t]*(?:\d{{1,3}}(?:\.\d{{1,3}}){{3}}|(?!::)(?=[0-9a-fA-F:]*::|(?:[0-9a-fA-F]{{1,4}}:){{7}})"
        rf"[0-9a-fA-F]{{1,4}}:[0-9a-fA-F:]+)[ \t]+(?P<s>(?=[A-Za-z]|\d+\w*[A-Za-z\-]){_FQDN}(?:[ \t]+{_FQDN})*)"
        r"[ \t]*(?:#.*)?$",
        (".", ":"),
    ),
    _build_host_rule(
        "host-name",
        _HOSTS,
        rf"(?<![A-Za-z0-9])(?i:(?:static |transient |pretty )?host ?name|HOSTNAME|nodename"
        rf"|computer ?name|sys ?name|MASTER_ADDR|sssd_domain)\\*[\"']?\s*[=:]\s*\\*[\"']?(?P<s>{_FQDN})"
        r"(?![A-Za-z0-9_/\(])",
        ("host", "nodename", "computer", "sysname", "sys name", "master_addr"),
    ),
    _build_host_rule(
        "host-name",
        _HOSTS,
        rf"(?m)^(?:(?:{_MONTH}) [ \d]\d \d\d:\d\d:\d\d(?:\.\d+)?|\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d[.,\d]*(?:Z"
        rf"|[+\-]\d\d:?\d\d)) (?P<s>{_FQDN})(?= [\w\-./()@]+(?:\[\d+\])?: )",
        (),
        r":\d\d:\d\d",
    ),
    _build_user_rule(
        "user-name",
        _USERS,
        rf"(?m)^(?:\([\w.\- ]+\) )?(?P<s>{_USER})(?=@{_FQDN}:[~/][^\n]*[$#])",
        (":~", ":/"),
        r"@[A-Za-z0-9.\-]+:[~/]",
    ),
    _build_host_rule(
        "host-name",
        _HOSTS,
        rf"(?m)^(?:\([\w.\- ]+\) )?{_USER}@(?P<s>{_FQDN})(?=:[~/][^\n]*[$#])",
        (":~", ":/"),
        r"@[A-Za-z0-9.\-]+:[~/]",
    ),
    _build_host_rule(
        "host-name",
        _HOSTS,
        rf"(?m)^Linux (?!version )(?P<s>{_FQDN})(?= \d+\.\d+\.\d+)",
        ("linux ",),
    ),
    _build_host_rule(
        "host-name",
        _HOSTS,
        rf"(?i:(?:https?|all|ftp|rsync|socks)_proxy)\\*[\"']?\s*[=:]\s*\\*[\"']?(?:\w+://)?(?:[^\s/@\"']*@)?(?P<s>("
        rf"?=[\w\-.]*[A-Za-z]){_FQDN})(?=[:/\s\"'\\]|\Z)",
        ("_proxy",),
    ),
    _build_host_rule(
        "host-name",
        _HOSTS,
        r"(?<![\w./@\-])(?P<s>(?:[A-Za-z0-9](?:[A-Za-z0-9\-]{0,62})\.){1,6}(?:corp|lan|internal"
        r"|intranet|localdomain|home\.arpa|local))(?![\w.(\-]|\.\w)",
        (".corp", ".lan", ".internal", ".intranet", ".localdomain", ".arpa", ".local"),
    ),
    _build_host_rule(
        "host-name",
        _HOSTS,
        rf"(?:(?<=[\s\x00])|(?<=[\"']))(?:-hosts?|--hosts?|-H|--nodelist)(?:[ =\x00]|[\"'],\s*[\"'])(?P<s>(?=[A-Za-"
        rf"z]){_FQDN}(?::\d+)?(?:,{_FQDN}(?::\d+)?)+)",
        ("-host", "-h", "--nodelist"),
    ),
    _build_host_rule(
        "host-name",
        _HOSTS,
        rf"(?m)^(?P<s>(?=[A-Za-z]){_FQDN}):/[^\s:]*\s+/\S*\s+nfs4?\s",
        ("nfs",),
    ),
)  # fmt: skip


def _replace_search_domains(text: str, scene: Scene) -> str:
    def replace(match: re.Match[str]) -> str:
        pieces = re.split(r"(\s+)", match["s"])
        for place, piece in enumerate(pieces):
            if "." in piece and not is_public_domain(piece) and not is_stand_in(piece):
                pieces[place] = scene.stand_in("host-name", "domain", piece, render_domain)
                scene.learn("domain", piece)
        return replace_group(match, "s", "".join(pieces))

    return re.sub(r"(?m)^[ \t]*(?:search|domain|DNS Domain:|Domains=)[ \t]*(?P<s>[A-Za-z][^\n#]*)$", replace, text)


def _replace_members(text: str, scene: Scene) -> str:
    def replace(match: re.Match[str]) -> str:
        shown = []
        for member in match["s"].split(","):
            keeps = is_common(member) or not member[:1].isalpha()
            shown.append(member if keeps else scene.stand_in("user-name", "user", member, render_user))
            scene.learn("user", member)
        return replace_group(match, "s", ",".join(shown))

    return _GROUP.sub(replace, text)


_GROUP = re.compile(rf"(?m)^[A-Za-z_][\w.\-]{{0,31}}:[x*!]?:\d{{1,6}}:(?P<s>{_USER}(?:,{_USER})*)$")

RULES += (
    Rule(
        name="user-name",
        removes="name",
        what=_USERS,
        hints=(":x:", ":*:", ":!:", "::"),
        apply=_replace_members,
    ),
    Rule(
        name="host-name",
        removes="name",
        what=_HOSTS,
        hints=("search", "domain"),
        apply=_replace_search_domains,
    ),
)
