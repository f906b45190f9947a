"""`install index`: an index for a tree of archives that has none, so that apt can take packages from it."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import msgspec

from xpukit.core.atomic import write_atomic
from xpukit.core.errors import OutputError, UsageError
from xpukit.install.bundle.manifest import hash_file
from xpukit.install.bundle.repository import render_stanza
from xpukit.install.site import Site
from xpukit.install.source_index import INDEX, parse_stanzas

_READ_LIMIT_S = 60.0
_MAX_DEPTH = 8


class Indexed(msgspec.Struct, frozen=True, kw_only=True):
    """What an index holds. `packages` are "name version"; `doubled` and `damaged` were left out, with why."""

    path: str
    packages: tuple[str, ...]
    doubled: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()


def index_directory(site: Site, directory: str) -> Indexed:
    """Write `Packages` for all archives below a directory of the machine. Raises UsageError and OutputError."""
    paths = _find_archives(site, directory, 0)
    if not paths:
        raise UsageError(
            f"{directory}: has no .deb files", hint="name the directory that the installer was unpacked to"
        )
    stanzas: list[str] = []
    names: list[str] = []
    seen: dict[str, tuple[str, str]] = {}
    doubled, damaged = [], []
    for path in paths:
        place = str(PurePosixPath(path).relative_to(directory))
        ran = site.ask(("dpkg-deb", "--field", path), timeout_s=_READ_LIMIT_S)
        fields = next(parse_stanzas(ran.text), {}) if ran.ok else {}
        if not fields.get("package"):
            damaged.append(f"{place}: is no Debian package: {ran.describe_failure()}")
            continue
        sha256, size_bytes = hash_file(Path(site.locate(path)))
        name = f"{fields['package']} {fields.get('version', '')}"
        known = seen.setdefault(f"{name} {fields.get('architecture', '')}", (place, sha256))
        if known[0] != place:
            if known[1] != sha256:
                doubled.append(f"{place}: {name} again, and not the same as {known[0]}")
            continue
        names.append(name)
        stanzas.append(render_stanza(ran.text, place, size_bytes, sha256))
    target = Path(site.locate(f"{directory}/{INDEX}"))
    try:
        write_atomic(target, "\n".join(stanzas).encode())
    except OSError as err:
        raise OutputError(f"{target}: {err.strerror}", hint="copy the directory to where it can be written") from err
    return Indexed(
        path=f"{directory}/{INDEX}", packages=tuple(names), doubled=tuple(doubled), damaged=tuple(damaged)
    )  # fmt: skip


def _find_archives(site: Site, directory: str, depth: int) -> list[str]:
    found = []
    for name in sorted(site.list(directory).names):
        path = f"{directory}/{name}"
        kind = site.stat(path).kind
        if kind == "file" and name.endswith(".deb"):
            found.append(path)
        elif kind == "dir" and depth < _MAX_DEPTH and not site.link(path).target:
            found.extend(_find_archives(site, path, depth + 1))
    return found
