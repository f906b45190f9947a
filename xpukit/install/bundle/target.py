"""The machine that a bundle is for: this one, a mounted root, a copied dpkg status, or a recording of it."""

from __future__ import annotations

from pathlib import Path

import msgspec

from xpukit.core.errors import UsageError
from xpukit.host.door import Host
from xpukit.install.apt_parse import PackageState, parse_packages
from xpukit.install.apt_view import read_packages
from xpukit.install.bundle.manifest import BundleTarget
from xpukit.install.detect import read_release
from xpukit.install.site import Site

STATUS = "/var/lib/dpkg/status"
HERE = "here"


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """What packages are resolved against: dpkg's status (`status`, as its file), and what `about` says."""

    about: BundleTarget
    status: bytes
    installed: dict[str, str]


def read_target(host: Host, wanted: str, *, release: str = "") -> Target:
    """The target that `--for` names. `release` ("debian 12") is for a status file, which does not say it.

    Raises UsageError for what is none of them.
    """
    if wanted == HERE:
        return _read_root(Site(host), HERE)
    path = Path(wanted)
    if (path / "var/lib/dpkg/status").is_file():
        return _read_root(Site(host, str(path.absolute())), f"root {path}")
    if path.is_file() and _looks_like_status(path):
        distribution, _, version = release.partition(" ")
        if not version:
            raise UsageError(
                f"{path} is a dpkg status, which does not say the release", hint='add --release "debian 12"'
            )
        return make_target(path.read_bytes(), f"status {path.name}", distribution, version)
    if not path.exists():
        raise UsageError(
            f"--for {wanted}: no such file or directory",
            hint="here, a root directory, a copy of /var/lib/dpkg/status, or a bundle of `xpukit sysinfo`",
        )
    return _read_recording(path)


def _read_root(site: Site, described: str) -> Target:
    answer = site.read(STATUS)
    if answer.error or not answer.data:
        raise UsageError(
            f"{STATUS} of {described}: {answer.error or 'empty'}", hint="only machines with dpkg and apt have bundles"
        )
    release = read_release(site)
    return make_target(answer.data, described, release.id, release.version)


def _looks_like_status(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(8) == b"Package:"


def make_target(status: bytes, described: str, distribution: str, release: str) -> Target:
    """A target whose packages are all known."""
    installed, architecture = parse_status(status.decode(errors="replace"))
    about = BundleTarget(
        described=described,
        distribution=distribution,
        release=release,
        architecture=architecture,
        python_version=find_python(installed),
    )
    return Target(about=about, status=status, installed=installed)


def _read_recording(path: Path) -> Target:
    """A support bundle holds the packages of the GPU stack only; what else is installed there is not known."""
    from xpukit.host.replay import ReplayHost

    host = ReplayHost(path, command="install")
    site = Site(host)
    release = read_release(site)
    states = [state for state in read_packages(site).values() if state.installed]
    installed = {state.name: state.version for state in states}
    python = ".".join(host.identity().python.split(".")[:2])
    about = BundleTarget(
        described=f"recording {path.name}",
        distribution=release.id,
        release=release.version,
        architecture=_find_architecture(states),
        packages_known=False,
        python_version=find_python(installed) or python,
    )
    return Target(about=about, status=render_status(states), installed=installed)


def _find_architecture(states: list[PackageState]) -> str:
    names = [state.architecture for state in states if state.architecture != "all"]
    return max(set(names), key=names.count) if names else "amd64"


def parse_status(text: str) -> tuple[dict[str, str], str]:
    """Versions of installed packages by name, and the architecture that dpkg itself has. Never raises."""
    lines = []
    architecture = "amd64"
    for block in text.split("\n\n"):
        fields: dict[str, str] = {}
        for line in block.splitlines():
            name, colon, value = line.partition(":")
            if colon and not line.startswith((" ", "\t")):
                fields.setdefault(name, value.strip())
        if fields.get("Status", "").split()[-1:] != ["installed"]:
            continue
        package = fields.get("Package", "")
        if package == "dpkg":
            architecture = fields.get("Architecture", architecture)
        lines.append("\t".join((package, fields.get("Version", ""), fields.get("Architecture", ""), "ii")))
    return {state.name: state.version for state in parse_packages("\n".join(lines)).values()}, architecture


def render_status(states: list[PackageState]) -> bytes:
    """A dpkg status of packages of which only name and version are known: apt then fetches all that they might lack."""
    stanzas = [
        f"Package: {state.name}\nStatus: install ok installed\nMaintainer: unknown\n"
        f"Architecture: {state.architecture}\nVersion: {state.version}\nDescription: known by name only\n"
        for state in sorted(states, key=msgspec.structs.astuple)
    ]
    return "\n".join(stanzas).encode()


def find_python(installed: dict[str, str]) -> str:
    """ "3.11" of the package python3's version "3.11.2-1+b1"; "" where it is not installed."""
    version = installed.get("python3", "").rpartition(":")[2].split(".")
    return f"{version[0]}.{version[1]}" if len(version) >= 2 and version[0] == "3" and version[1].isdigit() else ""
