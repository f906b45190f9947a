"""A flat apt repository: `Packages` from the archives themselves, `Release` over it, `InRelease` signed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from xpukit.core.atomic import write_atomic
from xpukit.core.errors import ExternalError
from xpukit.host.door import Host
from xpukit.install.bundle.manifest import DEBS_DIR, BundleFile
from xpukit.install.bundle.signing import Signer
from xpukit.install.source_index import ORIGIN_FIELD

INDEX_FILES = ("Packages", "Release", "InRelease")
_READ_LIMIT_S = 60.0
# They say where the archive was; in this one it is elsewhere.
_REPLACED = ("filename", "size", "md5sum", "sha1", "sha256", "sha512", ORIGIN_FIELD.lower())


def write_repository(host: Host, tree: Path, debs: Sequence[BundleFile], signer: Signer, *, architecture: str) -> None:
    """Write the three index files for the archives under `tree`. Raises ExternalError for what is no archive."""
    stanzas = [_describe_deb(host, tree, deb) for deb in sorted(debs, key=lambda deb: deb.path)]
    packages = "\n".join(stanzas).encode()
    release = render_release(packages, architecture=architecture, at=datetime.now(timezone.utc))
    for name, data in zip(INDEX_FILES, (packages, release, signer.sign_clear(release)), strict=True):
        write_atomic(tree / name, data)


def _describe_deb(host: Host, tree: Path, deb: BundleFile) -> str:
    ran = host.run(("dpkg-deb", "--field", str(tree / deb.path)), timeout_s=_READ_LIMIT_S)
    if not ran.ok or "Package:" not in ran.text:
        raise ExternalError(f"{deb.path}: is no Debian package: {ran.describe_failure()}", hint="remove it, run again")
    place = f"{DEBS_DIR}/{deb.path.rpartition('/')[2]}"
    return render_stanza(ran.text, place, deb.size_bytes, deb.sha256, came_from=deb.origin)


def render_stanza(control: str, place: str, size_bytes: int, sha256: str, *, came_from: str = "") -> str:
    """The index's part for one archive: its control file, where it lies below the repository, size and hash.

    `came_from` is kept in a field of our own: stacks name some packages by the folder of their archive.
    """
    kept: list[str] = []
    keep = True
    for line in control.splitlines():
        if not line.startswith((" ", "\t")):
            keep = line.partition(":")[0].lower() not in _REPLACED and bool(line.strip())
        if keep:
            kept.append(line)
    origin = [f"{ORIGIN_FIELD}: {came_from}"] if came_from else []
    return "\n".join([*kept, f"Filename: ./{place}", f"Size: {size_bytes}", f"SHA256: {sha256}", *origin, ""])


def render_release(packages: bytes, *, architecture: str, at: datetime) -> bytes:
    """`Release` of the repository. It never runs out: a bundle may lie in a drawer for long."""
    digest = hashlib.sha256(packages).hexdigest()
    lines = [
        "Origin: xpukit",
        "Label: xpukit install bundle",
        "Suite: bundle",
        "Codename: bundle",
        f"Date: {at.strftime('%a, %d %b %Y %H:%M:%S')} UTC",
        f"Architectures: {architecture} all",
        "Description: packages for a machine without a network",
        "SHA256:",
        f" {digest} {len(packages)} Packages",
    ]
    return ("\n".join(lines) + "\n").encode()
