"""Names of people and machines: where they show that they are one (a home path, a prompt, /etc/hosts)."""

from __future__ import annotations

import re
from functools import lru_cache

from xpukit.host.redaction.pseudonyms import Render
from xpukit.host.redaction.rule import MARK, Rule, Scene, replace_group
from xpukit.host.redaction.stand_ins import render_domain, render_host, render_serial, render_user

RENDER: dict[str, Render] = {
    "host": render_host,
    "user": render_user,
    "domain": render_domain,
    "serial": render_serial,
}
# Names that many machines have: a pseudonym would hide nothing and damage other texts.
_COMMON = frozenset(
    [
        "root",
        "localhost",
        "localdomain",
        "localhost4",
        "localhost6",
        "user",
        "users",
        "admin",
        "administrator",
        "ubuntu",
        "debian",
        "fedora",
        "centos",
        "intel",
        "test",
        "tester",
        "guest",
        "default",
        "nobody",
        "daemon",
        "system",
        "systemd",
        "docker",
        "container",
        "podman",
        "server",
        "client",
        "host",
        "node",
        "worker",
        "master",
        "gpu",
        "xpu",
        "cpu",
        "dev",
        "home",
        "work",
        "data",
        "model",
        "models",
        "share",
        "shared",
        "public",
        "cache",
        "build",
        "builder",
        "driver",
        "python",
        "vllm",
        "ollama",
        "sglang",
        "openvino",
        "oneapi",
        "nvidia",
        "linux",
        "linuxbrew",
        "local",
        "none",
        "null",
        "unknown",
        "vm",
        "qemu",
        "kvm",
        "localuser",
        "runner",
        "vscode",
        "jovyan",
        "app",
        "service",
        "ipv6",
        "ip6-localhost",
        "ip6-loopback",
        "ip6-allnodes",
        "ip6-allrouters",
        "ip6-localnet",
        "ip6-mcastprefix",
        "broadcasthost",
        "gateway",
        "proxy",
        "www",
        "www-data",
        "mail",
        "ftp",
        "ssh",
        "git",
        "video",
        "render",
        "audio",
        "kernel",
        "name",
        "username",
        "hostname",
        "ec2-user",
        "azureuser",
        "opc",
        "core",
        "pi",
        "jenkins",
        "gitlab-runner",
        "github",
        "actions",
        "myuser",
        "someuser",
        "youruser",
        "your",
        "alice-example",
        "benchmark",
        "bench",
        "llm",
        "inference",
        "serving",
        "xpukit",
        "redacted",
        "true",
        "false",
        "error",
        "info",
        "warning",
        "debug",
        "lost+found",
    ]
)
_STAND_IN = re.compile(r"(?i)(?:host|user|domain|ssid|mail)-\d+(?:\.example)?|SN\d+")
_PUBLIC = re.compile(
    r"(?i)(?:.*\.)?(?:intel|github|githubusercontent|docker|pytorch|python|pypi|huggingface"
    r"|kernel|ubuntu|debian|canonical|"
    r"launchpad|freedesktop|google|googleapis|microsoft|nvidia|amd|redhat|fedoraproject|gnu|apache|example|invalid|"
    r"quay|gcr|khronos|openvino|modelscope|conda|anaconda)(?:\.(?:com|org|net|io|ai|dev"
    r"|cn|invalid|example))?|example|invalid|test|localhost"
)
_HOST = r"[A-Za-z0-9](?:[A-Za-z0-9\-]{0,62}[A-Za-z0-9])?"
_FQDN = rf"{_HOST}(?:\.{_HOST})*"


def is_common(name: str) -> bool:
    """Whether a name is one that hides nothing: a role, a default, a number, a stand-in of ours."""
    return name.lower() in _COMMON or name.isdigit() or bool(_STAND_IN.fullmatch(name)) or MARK in name


def is_distinct(name: str) -> bool:
    """Whether a name may be looked for in all text, not only where it shows that it is one."""
    return len(name) >= 4 and not is_common(name)


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
    if not host or _STAND_IN.fullmatch(host) or is_public_domain(name):
        return name
    if domain and not re.search(r"[A-Za-z]", domain.rpartition(".")[2]):
        return name
    shown = host if is_common(host) else scene.stand_in(rule, "host", host, render_host)
    if is_distinct(host):
        scene.learn("host", host)
    if not domain or is_public_domain(domain) or _STAND_IN.fullmatch(domain) or is_common(domain):
        return shown + ("." + domain if domain else "")
    scene.learn("domain", domain)
    return f"{shown}.{scene.stand_in(rule, 'domain', domain, render_domain)}"


@lru_cache(maxsize=4096)
def compile_name(name: str) -> re.Pattern[str]:
    """The name alone, in any case; not inside a longer word."""
    return re.compile(rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])", re.IGNORECASE)


def _build_host_rule(name: str, what: str, pattern: str, hints: tuple[str, ...], probe: str = "") -> Rule:
    compiled = re.compile(pattern)

    def apply(text: str, scene: Scene) -> str:
        def replace(match: re.Match[str]) -> str:
            found = match["s"]
            if MARK in found:
                return match.group()
            pieces = re.split(r"([\s,:]+)", found)
            shown = "".join(
                replace_host(name, piece, scene) if place % 2 == 0 and piece and re.fullmatch(_FQDN, piece) else piece
                for place, piece in enumerate(pieces)
            )
            return replace_group(match, "s", shown)

        return compiled.sub(replace, text)

    quick = re.compile(probe) if probe else None
    return Rule(name=name, removes="name", what=what, hints=hints, apply=apply, probe=quick)


def _build_user_rule(name: str, what: str, pattern: str, hints: tuple[str, ...], probe: str = "") -> Rule:
    compiled = re.compile(pattern)

    def apply(text: str, scene: Scene) -> str:
        def replace(match: re.Match[str]) -> str:
            found = match["s"]
            if is_common(found) or found.startswith(("$", "{", "<", "*", ".")) or not found[0].isalpha():
                return match.group()
            pseudonym = scene.stand_in(name, "user", found, render_user)
            if is_distinct(found):
                scene.learn("user", found)
            return replace_group(match, "s", pseudonym)

        return compiled.sub(replace, text)

    quick = re.compile(probe) if probe else None
    return Rule(name=name, removes="name", what=what, hints=hints, apply=apply, probe=quick)


_USER = r"[A-Za-z_][A-Za-z0-9_.\-]{0,31}"
_MONTH = "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec"
_USERS, _HOSTS = "names of users and their home directories", "names of this host and of others"

RULES: tuple[Rule, ...] = (
    _build_user_rule(
        "user-name",
        _USERS,
        rf"(?<![A-Za-z0-9_.])/(?:home(?:/[a-z]{{1,2}}(?=/{_USER}))?|Users|nfs/home|run/media"
        rf"|media(?=/[a-z]\w+/))/(?P<s>{_USER})(?![A-Za-z0-9_])",
        ("/home/", "/users/", "/media/"),
    ),
    _build_user_rule(
        "user-name",
        _USERS,
        rf"(?<![A-Za-z0-9_])(?:USER|LOGNAME|USERNAME|SUDO_USER|SUDO_HOME_USER|MAIL_USER|DOCKER_USER)\\*[\"']?\s?[=:"
        rf"]\s?\\*[\"']?(?P<s>{_USER})(?![A-Za-z0-9_\\/])",
        ("user", "logname"),
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
        rf"(?:uid=[1-9]\d{{3,8}}\(|\buser=|/var/(?:spool/)?(?:mail|spool/cron/crontabs)/"
        rf"|(?:session opened for|Accepted \w+ for|Failed \w+ for(?: invalid user)?|session closed for) (?:user )?"
        rf"|New session \S+ of user )(?P<s>{_USER})(?![A-Za-z0-9_])",
        ("uid=", "user=", "/mail/", "session", " for ", "crontabs"),
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
        rf"(?m)^[ \t]*(?:\d{{1,3}}(?:\.\d{{1,3}}){{3}}|(?!::)[0-9a-fA-F]{{1,4}}:[0-9a-fA-F:]+)[ \t]+(?P<s>(?=[A-Za-"
        rf"z]|\d+\w*[A-Za-z\-]){_FQDN}(?:[ \t]+{_FQDN})*)[ \t]*(?:#.*)?$",
        (".", ":"),
    ),
    _build_host_rule(
        "host-name",
        _HOSTS,
        rf"(?<![A-Za-z0-9])(?i:(?:static |transient |pretty )?host ?name|HOSTNAME|nodename"
        rf"|computer ?name|MASTER_ADDR|sssd_domain)\\*[\"']?\s*[=:]\s*\\*[\"']?(?P<s>{_FQDN})(?![A-Za-z0-9_/\(])",
        ("host", "nodename", "computer", "master_addr"),
    ),
    _build_host_rule(
        "host-name",
        _HOSTS,
        rf"(?m)^(?:(?:{_MONTH}) [ \d]\d \d\d:\d\d:\d\d(?:\.\d+)?|\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d[.,\d]*(?:Z"
        rf"|[+\-]\d\d:?\d\d)) (?P<s>{_FQDN})(?= [\w\-./()@]+(?:\[\d+\])?: )",
        (),
        r":\d\d:\d\d",
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
            if "." in piece and not is_public_domain(piece) and not _STAND_IN.fullmatch(piece):
                pieces[place] = scene.stand_in("host-name", "domain", piece, render_domain)
                scene.learn("domain", piece)
        return replace_group(match, "s", "".join(pieces))

    return re.sub(r"(?m)^[ \t]*(?:search|domain|DNS Domain:|Domains=)[ \t]*(?P<s>[A-Za-z][^\n#]*)$", replace, text)


RULES += (
    Rule(
        name="host-name",
        removes="name",
        what=_HOSTS,
        hints=("search", "domain"),
        apply=_replace_search_domains,
    ),
)
