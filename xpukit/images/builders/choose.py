"""Which builder this machine has: buildx, else BuildKit in an older docker client, else the classic builder."""

from __future__ import annotations

import re
from typing import get_args

import msgspec

from xpukit.core.errors import ExternalError, UsageError
from xpukit.host.door import Host
from xpukit.images.build import BuilderKind

# A machine may have several docker clients; only some of them can use BuildKit.
_CLIENT_PATHS = ("/usr/bin/docker", "/usr/local/bin/docker", "/snap/bin/docker")
_ASK_S = 20.0
# "github.com/docker/buildx v0.17.1 0123abc"; Debian's has no v.
_VERSION = re.compile(r"\s(v?\d+\.\d+\S*)")


class Builder(msgspec.Struct, frozen=True, kw_only=True):
    """A way to build. `program` is the docker client, "" for the classic builder, which is driven through the API.

    `provenance` says that the client adds attestations unless told not to: they differ from build to build.
    """

    kind: BuilderKind
    program: str = ""
    version: str = ""
    provenance: bool = False


class BuilderOffer(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of builder: `builder` is None where it is not to be had, `reason` says why, or what was found."""

    kind: BuilderKind
    builder: Builder | None
    reason: str


def choose_builder(host: Host, *, forced: str = "") -> Builder:
    """The best builder, or the `forced` one. Raises UsageError for an unknown name, ExternalError for an absent one."""
    if forced and forced not in get_args(BuilderKind):
        raise UsageError(f"--builder {forced}: no such builder", hint="one of " + ", ".join(get_args(BuilderKind)))
    offers = list_builders(host)
    for offer in offers:
        if offer.builder is not None and forced in ("", offer.kind):
            return offer.builder
    wanted = [offer for offer in offers if forced in ("", offer.kind)]
    raise ExternalError(
        "; ".join(f"{offer.kind}: {offer.reason}" for offer in wanted),
        hint="install docker with buildx, or the Python package: pip install 'xpukit[docker]' for the classic builder",
    )


def list_builders(host: Host) -> tuple[BuilderOffer, ...]:
    """All kinds in the order of preference, each with what was found."""
    clients = _list_clients(host)
    return (_find_buildx(host, clients), _find_buildkit(host, clients), _find_classic())


def _list_clients(host: Host) -> tuple[str, ...]:
    first = host.which("docker").value
    paths = [first] if first else []
    paths += [path for path in _CLIENT_PATHS if path not in paths and host.exists(path)]
    return tuple(paths)


def _read_environment(host: Host) -> dict[str, str]:
    """Where the client looks for its plugins, as it will when it builds."""
    found = {name: host.env(name).value for name in ("DOCKER_CONFIG", "HOME")}
    return {name: value for name, value in found.items() if value}


def _find_buildx(host: Host, clients: tuple[str, ...]) -> BuilderOffer:
    env = _read_environment(host)
    for program in clients:
        said = host.run([program, "buildx", "version"], env=env, timeout_s=_ASK_S)
        if said.ok:
            found = _VERSION.search(said.text)
            version = found[1] if found else ""
            options = host.run([program, "buildx", "build", "--help"], env=env, timeout_s=_ASK_S).text
            builder = Builder(kind="buildx", program=program, version=version, provenance="--provenance" in options)
            return BuilderOffer(kind="buildx", builder=builder, reason=f"{program} has buildx {version}".rstrip())
    reason = f"{', '.join(clients)}: without the plugin buildx" if clients else "no docker client is installed"
    return BuilderOffer(kind="buildx", builder=None, reason=reason)


def _find_buildkit(host: Host, clients: tuple[str, ...]) -> BuilderOffer:
    for program in clients:
        # Clients up to 20.10 speak BuildKit themselves and then offer --secret; later ones refuse without buildx.
        env = {**_read_environment(host), "DOCKER_BUILDKIT": "1"}
        said = host.run([program, "build", "--help"], env=env, timeout_s=_ASK_S)
        if said.ok and "--secret" in said.text:
            shown = host.run([program, "--version"], timeout_s=_ASK_S).text
            version = shown.partition("version ")[2].partition(",")[0]
            builder = Builder(kind="buildkit", program=program, version=version)
            return BuilderOffer(kind="buildkit", builder=builder, reason=f"{program} {version} has BuildKit built in")
    if clients:
        reason = f"{', '.join(clients)}: DOCKER_BUILDKIT=1 does not work without buildx"
    else:
        reason = "no docker client is installed"
    return BuilderOffer(kind="buildkit", builder=None, reason=reason)


def _find_classic() -> BuilderOffer:
    from importlib.util import find_spec

    if find_spec("docker") is None:
        return BuilderOffer(kind="classic", builder=None, reason="the Python package docker is not installed")
    return BuilderOffer(kind="classic", builder=Builder(kind="classic"), reason="the daemon's API, through its SDK")
