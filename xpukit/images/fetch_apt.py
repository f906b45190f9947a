"""Which Debian packages an offline build needs: the base image's own apt says it; and a repository made of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

import msgspec

from xpukit.core.errors import ExternalError
from xpukit.host.docker_daemon import DockerDaemon
from xpukit.images.inside import idle_request, keep_container

_UPDATE_S = 600.0
_ASK_S = 120.0
_CA = "/run/xpukit-ca.pem"
# 'ADDRESS' FILE BYTES ALGORITHM:HASH, as `apt-get --print-uris` writes it.
_URI = re.compile(r"^'([^']+)' (\S+\.deb) (\d+)(?: \S+)?$")
# apt's words for a package that none of the base image's archives has.
_ABSENT = re.compile(
    r"^E: (?:Unable to locate package (\S+)"
    r"|Package '(\S+)' has no installation candidate"
    r"|Version '(?P<version>[^']+)' for '(?P<name>[^']+)' was not found)$"
)


class DebSource(msgspec.Struct, frozen=True, kw_only=True):
    """A package that apt would install: `file` is its name in our repository, `stanza` its part of the index."""

    name: str
    url: str
    file: str
    sha256: str
    stanza: str


class DebPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What apt would install; `absent` are the packages that none of the base image's archives has."""

    debs: tuple[DebSource, ...] = ()
    absent: tuple[str, ...] = ()


def plan_debs(
    daemon: DockerDaemon,
    base: str,
    packages: Sequence[str],
    *,
    network: str = "",
    proxies: Mapping[str, str] | None = None,
    ca_bundle: Path | None = None,
) -> DebPlan:
    """Ask apt in a container of the base image, which is removed again; nothing is installed.

    The hashes are those of the archive's signed index. Raises ExternalError where apt cannot answer.
    """
    binds = (f"{ca_bundle.absolute()}:{_CA}:ro",) if ca_bundle is not None else ()
    options = ("-o", f"Acquire::https::CAInfo={_CA}") if ca_bundle is not None else ()
    request = idle_request(base, network=network, env=dict(proxies or {}), binds=binds, user="0")
    with keep_container(daemon, request) as container:

        def ask(*argv: str, timeout_s: float = _ASK_S) -> tuple[bool, str, str]:
            answer = daemon.exec_in(container, argv, timeout_s=timeout_s, user="0", env={"LC_ALL": "C.UTF-8"})
            return answer.rc == 0, answer.out.decode(errors="replace"), answer.err.decode(errors="replace")

        # Without the option a list that cannot be had is a warning, and what is old would be taken for what is there.
        fine, _, said = ask(
            "apt-get", *options, "-o", "APT::Update::Error-Mode=any", "-qq", "update", timeout_s=_UPDATE_S
        )
        if not fine:
            raise ExternalError(
                f"apt in {base} cannot read its archives: {last_complaint(said)}",
                hint="check network and proxies; behind a proxy that inspects traffic: --ca-bundle FILE",
            )
        return choose_debs(ask, base, packages)


def choose_debs(ask: Callable[..., tuple[bool, str, str]], base: str, packages: Sequence[str]) -> DebPlan:
    """The packages with all that they depend on and the base image lacks. `ask` runs a command in the base image."""
    wanted, absent = list(packages), set[str]()
    while wanted:
        argv = ("apt-get", "install", "--print-uris", "-qq", "-y", "--no-install-recommends", *wanted)
        fine, out, said = ask(*argv)
        if fine:
            return DebPlan(debs=_describe_debs(ask, base, parse_uris(out)), absent=tuple(sorted(absent)))
        gone = parse_absent(said) & set(wanted)
        if not gone:
            raise ExternalError(
                f"apt in {base} cannot install the packages: {last_complaint(said)}",
                hint=f"try: docker run --rm {base} bash -c 'apt-get update && apt-get install -s PACKAGE ...'",
            )
        absent |= gone
        wanted = [name for name in wanted if name not in gone]
    return DebPlan(absent=tuple(sorted(absent)))


def parse_uris(text: str) -> dict[str, str]:
    """Addresses by the archive file's name, from `apt-get --print-uris`; other lines are passed over."""
    found = {}
    for line in text.splitlines():
        if match := _URI.match(line.strip()):
            found[match[2]] = match[1]
    return found


def parse_absent(text: str) -> set[str]:
    """Packages, as asked for, that apt says it does not have."""
    gone = set()
    for line in text.splitlines():
        if match := _ABSENT.match(line.strip()):
            gone.add(match[1] or match[2] or f"{match['name']}={match['version']}")
    return gone


def parse_stanzas(text: str) -> dict[str, dict[str, str]]:
    """Stanzas of `apt-cache show` by the last part of their Filename; fields with their continuation lines."""
    found = {}
    for block in re.split(r"\n\s*\n", text):
        fields: dict[str, str] = {}
        last = ""
        for line in block.splitlines():
            if line[:1] in (" ", "\t"):
                if last:
                    fields[last] += f"\n{line}"
            elif ": " in line or line.endswith(":"):
                last, _, value = line.partition(":")
                fields[last] = value.strip()
        if name := fields.get("Filename", "").rpartition("/")[2]:
            found[name] = fields
    return found


def render_index(debs: Sequence[DebSource]) -> bytes:
    """The `Packages` of a flat repository, in the order of the files' names."""
    return "".join(f"{deb.stanza}\n" for deb in sorted(debs, key=lambda deb: deb.file)).encode()


def last_complaint(text: str) -> str:
    """The last error that apt names, else its last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line.removeprefix("E: ") for line in lines if line.startswith("E: ")]
    return (errors or lines or ["no word of why"])[-1]


def _describe_debs(
    ask: Callable[..., tuple[bool, str, str]], base: str, addresses: Mapping[str, str]
) -> tuple[DebSource, ...]:
    if not addresses:
        return ()
    # apt's own name of an archive file is PACKAGE_VERSION_ARCHITECTURE.deb, with the epoch's colon as %3a.
    names = [unquote("=".join(file.split("_")[:2])) for file in addresses]
    _, out, _ = ask("apt-cache", "show", "--no-all-versions", *names)
    stanzas = parse_stanzas(out)
    debs = []
    for url in addresses.values():
        parts = urlsplit(url)
        file = unquote(parts.path).rpartition("/")[2]
        fields = stanzas.get(file)
        if parts.scheme not in ("http", "https", "ftp") or fields is None or not fields.get("SHA256"):
            why = "no SHA-256 in its archive's index" if fields else "its archive is inside the image"
            raise ExternalError(f"{file} of {base} cannot be fetched: {why}", hint="name another archive: --apt-repo")
        # A colon would end the method's part of an address.
        stored = file.replace(":", "_")
        kept = {**fields, "Filename": f"./{stored}"}
        debs.append(
            DebSource(
                name=f"{fields.get('Package', '')}={fields.get('Version', '')}",
                url=url,
                file=stored,
                sha256=fields["SHA256"],
                stanza="".join(f"{key}: {value}\n" for key, value in kept.items()),
            )
        )
    return tuple(sorted(debs, key=lambda deb: deb.file))
