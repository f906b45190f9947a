"""Where a build gets its packages and files from, and what of that goes into its context."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import msgspec

from xpukit.core.errors import UsageError
from xpukit.facts.recipes import Fetched, Recipe, SettingValue
from xpukit.images import build
from xpukit.images.context import link_file, link_folder, read_bytes
from xpukit.images.template import fill_settings

CA_FILE = "ca.pem"
# First port and how many: below those that Linux gives to outgoing connections (32768 and up).
_PORTS = (20000, 10000)


class Sources(msgspec.Struct, frozen=True, kw_only=True):
    """Where a build gets its packages from, instead of the networks that its recipe names.

    `wheelhouse` and `files` (what `build-image --fetch` collected) are folders; `apt_repo` is a flat repository's
    folder or a line of sources.list without its "deb". `ca_bundle` is trusted while the build runs and is in no layer
    of the final image. `hashes` are checksums of files by name, from a lock; where `wheel_names` is not empty, only
    these wheels of the wheelhouse are offered. `proxies` are the predefined build arguments (they do not persist).
    """

    wheelhouse: Path | None = None
    apt_repo: str = ""
    files: Path | None = None
    ca_bundle: Path | None = None
    base_image: str = ""
    hashes: dict[str, str] = {}
    wheel_names: tuple[str, ...] = ()
    network: str = ""


def choose_fetched(
    recipe: Recipe, settings: Mapping[str, SettingValue], hashes: Mapping[str, str], *, require_hashes: bool = True
) -> tuple[Fetched, ...]:
    """The files that this build fetches, names and addresses filled in. Raises UsageError for an unknown checksum."""
    chosen = []
    for file in recipe.fetch:
        if any(settings.get(key) != value for key, value in file.when.items()):
            continue
        filled = msgspec.structs.replace(
            file,
            url=fill_settings(file.url, settings),
            file=fill_settings(file.file, settings),
            sha256=hashes.get(file.name) or file.sha256,
        )
        if not filled.sha256 and require_hashes:
            raise UsageError(
                f"recipe {recipe.name}: no checksum is known for {filled.url}",
                hint=f"run: xpukit build-image {recipe.name} --fetch DIR, look at DIR/lock.toml, build with --lock",
            )
        chosen.append(filled)
    return tuple(chosen)


def list_inputs(
    sources: Sources, fetched: Sequence[Fetched], builder: build.BuilderKind
) -> tuple[build.ContextFile, ...]:
    """What the build gets from this host: wheels, files, Debian packages, and for the classic builder the CA bundle."""
    inputs: list[build.ContextFile] = []
    if sources.wheelhouse is not None:
        # A wheelhouse may be somebody's download folder: what is no package of Python is not even read.
        wheels = list(link_folder(sources.wheelhouse, "wheelhouse", wanted=lambda name: _is_wanted(name, sources)))
        if not wheels:
            raise UsageError(f"{sources.wheelhouse}: holds no Python package", hint="collect them with --fetch")
        inputs += wheels
    if sources.files is not None:
        for file in fetched:
            inputs.append(_link_fetched(sources.files, file))
    if is_folder(sources.apt_repo) and builder != "classic":
        inputs += link_folder(Path(sources.apt_repo), "apt-repo")
    if sources.ca_bundle is not None and builder == "classic":
        inputs.append(build.ContextFile(path=CA_FILE, content=read_bytes(sources.ca_bundle)))
    return tuple(inputs)


def list_secrets(sources: Sources, builder: build.BuilderKind) -> tuple[build.BuildSecret, ...]:
    if sources.ca_bundle is None or builder == "classic":
        return ()
    return (build.BuildSecret(id="ca", source=str(sources.ca_bundle)),)


def find_served(sources: Sources, builder: build.BuilderKind) -> build.ServedFolder | None:
    """The repository that the classic builder, which cannot mount a folder, gets over loopback; None without one.

    Raises UsageError for a network mode that shuts it out.
    """
    if builder != "classic" or not is_folder(sources.apt_repo):
        return None
    if sources.network not in ("", "host"):
        raise UsageError(
            f"--network {sources.network}: the classic builder gets {sources.apt_repo} over this host's loopback",
            hint="leave out --network (Debian packages come from that folder only), or build with BuildKit",
        )
    digest = hashlib.sha256()
    names = set()
    for file in link_folder(Path(sources.apt_repo), ""):
        names.add(file.path.lstrip("/"))
        digest.update(f"{file.path}\0{file.sha256}\0".encode())
    _require_index(sources.apt_repo, names)
    prefix = digest.hexdigest()[:16]
    first, count = _PORTS
    return build.ServedFolder(folder=sources.apt_repo, prefix=prefix, port=first + int(prefix, 16) % count)


def write_apt_line(apt_repo: str, inputs: Sequence[build.ContextFile], served: build.ServedFolder | None = None) -> str:
    """The line of sources.list. A folder with a key beside its InRelease is verified by apt with that key; one without
    is trusted, as is one that we serve: its files are part of the recipe's hash. A URL is verified by the keys of the
    base image.
    """
    if not apt_repo:
        return ""
    if served is not None:
        return f"deb [trusted=yes] {served.url} ./"
    if not is_folder(apt_repo):
        return f"deb {apt_repo}" if " " in apt_repo else f"deb {apt_repo} ./"
    names = {file.path.removeprefix("apt-repo/") for file in inputs if file.path.startswith("apt-repo/")}
    _require_index(apt_repo, names)
    keys = sorted(name for name in names if name.endswith((".asc", ".gpg")) and name != "Release.gpg")
    trust = f"signed-by=/run/apt-repo/{keys[0]}" if keys and "InRelease" in names else "trusted=yes"
    return f"deb [{trust}] file:/run/apt-repo ./"


def _require_index(apt_repo: str, names: Collection[str]) -> None:
    if not {"Packages", "Packages.gz", "Packages.xz"} & set(names):
        raise UsageError(f"{apt_repo}: is no flat apt repository (no Packages in it)", hint="see docs/build-image.md")


def is_folder(apt_repo: str) -> bool:
    return bool(apt_repo) and "://" not in apt_repo


def _is_wanted(name: str, sources: Sources) -> bool:
    return name.endswith((".whl", ".tar.gz", ".zip")) and (not sources.wheel_names or name in sources.wheel_names)


def _link_fetched(folder: Path, file: Fetched) -> build.ContextFile:
    linked = link_file(folder / file.file, f"files/{file.file}")
    if file.sha256 and linked.sha256 != file.sha256:
        raise UsageError(
            f"{folder / file.file}: SHA-256 is {linked.sha256}, not {file.sha256}",
            hint="the file was changed or cut off: fetch it again",
        )
    return linked
