"""A bundle opened on a machine: verified while it is unpacked, and remembered so that no older one comes after it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import IO

import msgspec

from xpukit.core.errors import ExternalError, OutputError, UsageError
from xpukit.core.json_document import BAD_JSON, now_utc
from xpukit.install.backups import make_directories
from xpukit.install.bundle.manifest import KEY, STACK_FILE, Manifest
from xpukit.install.bundle.openpgp import format_fingerprint
from xpukit.install.bundle.refusal import RefusedBundleError
from xpukit.install.bundle.verify import Trust, Verified, verify_bundle
from xpukit.install.detect import read_release
from xpukit.install.site import STATE_DIR, Site
from xpukit.install.step import Source
from xpukit.install.work import fail_errno

# apt reads it as the user _apt, so it does not lie in the state directory, which is root's alone.
UNPACKED = "/var/lib/xpukit/bundles"
APPLIED = f"{STATE_DIR}/bundles.json"


class AppliedBundle(msgspec.Struct, frozen=True, kw_only=True):
    """The newest bundle of a stack that was applied here."""

    created: str
    manifest_sha256: str
    fingerprint: str
    applied: str = ""


class OpenedBundle(msgspec.Struct, frozen=True, kw_only=True):
    """A verified bundle on the machine. `stack` is for `get_stack`, the rest for the `Options` of an apply."""

    verified: Verified
    directory: str
    stack: str
    source: Source
    pins: dict[str, str]
    options: frozenset[str]
    images: tuple[str, ...] = ()

    @property
    def pin_words(self) -> tuple[str, ...]:
        """As --pin takes them."""
        return tuple(f"{name}={version}" for name, version in self.pins.items())


def load_applied(site: Site, *, only_looks: bool = False) -> dict[str, AppliedBundle]:
    """What was applied, by stack. Raises ExternalError when that is there and cannot be read.

    `only_looks`: for a plan, which needs no root; then what only root may read counts as nothing.
    """
    answer = site.read(APPLIED)
    if only_looks and answer.error in ("EACCES", "EPERM"):
        return {}
    if answer.error in ("ENOENT", "ENOTDIR", "UNRECORDED"):
        return {}
    try:
        if answer.error:
            raise ValueError(answer.error)
        return msgspec.json.decode(answer.data, type=dict[str, AppliedBundle])
    except BAD_JSON as err:
        raise ExternalError(
            f"{APPLIED}: cannot be read ({err}), so an older bundle would not be known as one",
            hint="run as root; a damaged file can be removed, then the key has to be given again",
        ) from err


def record_applied(site: Site, opened: OpenedBundle) -> None:
    """Remember that a bundle was applied. Raises ExternalError."""
    verified = opened.verified
    applied = load_applied(site)
    applied[verified.manifest.stack] = AppliedBundle(
        created=verified.manifest.created,
        manifest_sha256=verified.manifest_sha256,
        fingerprint=verified.fingerprint,
        applied=now_utc(),
    )
    make_directories(site, STATE_DIR)
    data = msgspec.json.format(msgspec.json.encode(applied), indent=2) + b"\n"
    if error := site.changer.write_file(site.locate(APPLIED), data, mode=0o600):
        raise fail_errno(f"{APPLIED}: cannot be written", error)


def choose_trust(site: Site, given: Trust, *, only_looks: bool = False) -> Trust:
    """What the user gave, else the key of the bundles applied before. Raises ExternalError."""
    if given.fingerprint:
        return given
    known = {applied.fingerprint for applied in load_applied(site, only_looks=only_looks).values()}
    if len(known) == 1:
        return Trust(fingerprint=known.pop(), origin="the key of the bundle applied before")
    return Trust()


def judge_manifest(
    site: Site, manifest: Manifest, digest: str, *, allow_older: bool = False, only_looks: bool = False
) -> tuple[str, ...]:
    """What speaks against installing a bundle on this machine, in words."""
    objections = []
    target, release = manifest.target, read_release(site)
    if target.distribution and (release.id, release.version) != (target.distribution, target.release):
        objections.append(
            f"manifest.json: made for {target.distribution} {target.release}, "
            f"this is {release.id or 'unknown'} {release.version}"
        )
    ran = site.ask(("dpkg", "--print-architecture"))
    if ran.ok and ran.text.strip() != target.architecture:
        objections.append(f"manifest.json: made for {target.architecture}, this is {ran.text.strip()}")
    before = load_applied(site, only_looks=only_looks).get(manifest.stack)
    if before and not allow_older and before.manifest_sha256 != digest and manifest.created <= before.created:
        objections.append(
            f"manifest.json: downgrade: made {manifest.created}, "
            f"older than the one of {before.created} that was applied here (--allow-older takes it)"
        )
    return tuple(objections)


def open_bundle(
    site: Site,
    path: Path,
    given: Trust,
    *,
    allow_older: bool = False,
    below: str = UNPACKED,
    on_bytes: Callable[[int, int], None] | None = None,
) -> OpenedBundle:
    """Verify a bundle and unpack it `below` a directory of the machine (another than the usual: for a plan).

    The directory is there only when all was right.

    Raises RefusedBundleError (a key that nothing vouches for included), UsageError, ExternalError and OutputError.
    """
    only_looks = below != UNPACKED
    trust = choose_trust(site, given, only_looks=only_looks)
    if not trust.fingerprint:
        found = verify_bundle(site.host, path, trust).fingerprint
        raise RefusedBundleError(
            path.name,
            (f"{KEY}: nothing vouches for its key {format_fingerprint(found)}",),
            hint="compare it with what `install bundle create` printed, then give it: --fingerprint, or --key FILE",
        )
    place = Path(site.locate(below))
    make_directories(site, below)
    staging = place / f".part-{os.getpid()}"
    _remove_leftovers(place)
    try:
        verified = verify_bundle(
            site.host,
            path,
            trust,
            sink=lambda name: _open_for_writing(staging, name),
            judge=lambda manifest, digest: judge_manifest(
                site, manifest, digest, allow_older=allow_older, only_looks=only_looks
            ),
            on_bytes=on_bytes,
        )
        final = place / verified.manifest_sha256[:16]
        if final.exists():
            shutil.rmtree(final)
        staging.rename(final)
    except OSError as err:
        raise OutputError(f"{below}: {err.strerror or err}", hint="check free space; nothing was installed") from err
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return describe_opened(verified, f"{below}/{final.name}", final)


def describe_opened(verified: Verified, directory: str, place: Path) -> OpenedBundle:
    """What an apply needs of an unpacked bundle; `place` is where `directory` lies for us."""
    manifest = verified.manifest
    stack_file = place / STACK_FILE
    return OpenedBundle(
        verified=verified,
        directory=directory,
        stack=str(stack_file) if stack_file.exists() else manifest.stack,
        source=Source(directory=directory, key=f"{directory}/{KEY}", exclusive=True),
        pins=manifest.pins,
        options=frozenset(manifest.options),
        images=tuple(f"{directory}/{file.path}" for file in manifest.of_kind("image")),
    )


def remove_unpacked(site: Site, *, keep: str = "") -> None:
    """Remove unpacked bundles but the directory `keep`: after an undo, or when a newer one came."""
    if not site.can_change:
        raise UsageError("a recorded machine cannot be changed", hint="leave --from out")
    for name in site.list(UNPACKED).names:
        if f"{UNPACKED}/{name}" != keep:
            shutil.rmtree(site.locate(f"{UNPACKED}/{name}"), ignore_errors=True)
    if not keep:
        site.changer.remove_directory(site.locate(UNPACKED))


def _open_for_writing(staging: Path, name: str) -> IO[bytes]:
    target = staging / name
    # Modes do not depend on the umask: apt's own user must be able to read what is signed.
    for directory in reversed([target.parent, *target.parent.parents]):
        if directory.is_relative_to(staging) and not directory.exists():
            directory.mkdir()
            directory.chmod(0o755)
    file = target.open("xb")
    os.fchmod(file.fileno(), 0o644)
    return file


def _remove_leftovers(place: Path) -> None:
    """What a run that was killed left half unpacked."""
    for path in place.glob(".part-*"):
        shutil.rmtree(path, ignore_errors=True)
