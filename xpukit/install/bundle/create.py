"""Making a bundle on a connected machine: what the target lacks is fetched, indexed, signed and packed.

What was fetched stays in `OUTPUT.work` until the bundle is whole, so that a run which was stopped goes on.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from xpukit import __version__
from xpukit.core.atomic import write_atomic
from xpukit.core.errors import OutputError, UsageError
from xpukit.core.json_document import now_utc
from xpukit.facts.stacks import StackFacts, find_stack, get_stack
from xpukit.host.door import Host
from xpukit.install.bundle import manifest as names
from xpukit.install.bundle.archive import write_archive
from xpukit.install.bundle.firmware import take_firmware
from xpukit.install.bundle.manifest import BundleFile, Manifest, describe_file, encode_manifest
from xpukit.install.bundle.repository import INDEX_FILES, write_repository
from xpukit.install.bundle.resolve import Resolved, TargetApt
from xpukit.install.bundle.script import write_script
from xpukit.install.bundle.signing import open_signer
from xpukit.install.bundle.target import HERE, Target, read_target
from xpukit.install.bundle.tools import take_tools
from xpukit.install.bundle.wheels import build_own_wheel, check_python, fetch_wheels
from xpukit.install.debian_versions import is_at_least
from xpukit.install.detect import read_release
from xpukit.install.site import Site
from xpukit.install.source_index import find_archived, list_directories
from xpukit.install.step import Source

DEFAULT_KEY = ".local/share/xpukit/bundle-key.asc"
SCRIPT = "xpukit-offline-install"
# Saves a container image to a file: `DockerDaemon.save_image`, or a test's own.
SaveImage = Callable[[str, Path], None]


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for. `stack` "" is the target's own; `sources` are files of apt sources."""

    output: Path
    target: str = HERE
    target_release: str = ""
    stack: str = ""
    options: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    sources: tuple[Path, ...] = ()
    own_sources: bool = True
    wheels: bool = True
    python_version: str = ""
    extras: tuple[str, ...] = ()
    xpukit_wheel: Path | None = None
    firmware: Path | None = None
    tools: Path | None = None
    images: tuple[str, ...] = ()
    part_bytes: int = 0
    key_file: Path = Path(DEFAULT_KEY)
    gpg_key: str = ""


class Created(msgspec.Struct, frozen=True, kw_only=True):
    """What was made: the bundle's file or parts, the script ("" without wheels), and the key's fingerprint."""

    manifest: Manifest
    fingerprint: str
    parts: tuple[str, ...]
    script: str = ""
    script_sha256: str = ""


def create_bundle(
    host: Host, order: Order, *, save_image: SaveImage | None = None, say: Callable[[str], None] = lambda text: None
) -> Created:
    """Make a bundle. Raises UsageError, ExternalError and OutputError; what was fetched is then kept."""
    target = read_target(host, order.target, release=order.target_release)
    stack = _choose_stack(order, target)
    _check_release(host, order, target)
    work = order.output.with_name(f"{order.output.name}.work")
    tree = work / "tree"
    try:
        for folder in (names.DEBS_DIR, names.WHEELS_DIR, names.FIRMWARE_DIR, names.IMAGES_DIR):
            (tree / folder).mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise OutputError(f"{work}: cannot be made: {err.strerror}", hint="check permissions and free space") from err
    resolved, target, python = _fetch_debs(host, order, target, stack, work, say)
    files = _list_debs(tree, resolved)
    files += _fetch_wheels(host, order, target, tree, python, say)
    files += take_firmware(host, stack, order, tree, say)
    files += take_tools(stack, order, tree, say)
    files += save_images(order, tree, save_image, say)
    files += _keep_stack_file(order, tree)
    with open_signer(host, key_file=order.key_file, gpg_key=order.gpg_key) as signer:
        debs = [file for file in files if file.kind == "deb"]
        write_repository(host, tree, debs, signer, architecture=target.about.architecture)
        files += [describe_file(tree, name, "index", date=now_utc()) for name in INDEX_FILES]
        manifest = Manifest(
            schema=names.SCHEMA,
            xpukit_version=__version__,
            stack=stack.name,
            created=now_utc(),
            target=target.about,
            # On a machine whose packages are not known, a newer one that is there must not stop the apply.
            pins=resolved.versions if target.about.packages_known else {},
            options=tuple(sorted({*order.options, *stack.default_options})),
            absent=resolved.absent,
            images=order.images,
            files=tuple(files),
        )
        data = encode_manifest(manifest)
        write_atomic(tree / names.MANIFEST, data)
        write_atomic(tree / names.SIGNATURE, signer.sign_detached(data))
        write_atomic(tree / names.KEY, signer.public)
        fingerprint = signer.fingerprint
    listed = (*names.HEAD_FILES, *sorted(file.path for file in files))
    parts = write_archive(order.output, tree, listed, part_bytes=order.part_bytes)
    script, digest = "", ""
    if order.wheels:
        place = order.output.with_name(SCRIPT)
        digest = write_script(place, tree / names.WHEELS_DIR, files, manifest, order.output.name, fingerprint)
        script = str(place)
    shutil.rmtree(work, ignore_errors=True)
    return Created(
        manifest=manifest,
        fingerprint=fingerprint,
        parts=tuple(str(part) for part in parts),
        script=script,
        script_sha256=digest,
    )


def _choose_stack(order: Order, target: Target) -> StackFacts:
    if order.stack:
        stack = get_stack(order.stack)
    else:
        found = find_stack(target.about.distribution, target.about.release)
        if found is None:
            where = f"{target.about.distribution} {target.about.release}".strip() or "the target"
            raise UsageError(f"no stack is made for {where}", hint="name one with --stack")
        stack = found
    known = {option.name for option in stack.options} | ({"kernel"} if stack.kernel else set())
    if unknown := sorted(set(order.options) - known):
        raise UsageError(
            f"the stack {stack.name} has no option {', '.join(unknown)}", hint=f"one of: {', '.join(sorted(known))}"
        )
    return stack


def _check_release(host: Host, order: Order, target: Target) -> None:
    """This machine's sources have packages for its own release only."""
    release = read_release(Site(host))
    mine, theirs = (release.id, release.version), (target.about.distribution, target.about.release)
    if order.own_sources and mine != theirs:
        raise UsageError(
            f"the target is {' '.join(theirs).strip() or 'unknown'}, this machine {' '.join(mine)}: "
            "its sources have other packages",
            hint="give the target's with --source FILE.sources and leave this machine's out: --no-own-sources",
        )


def choose_packages(host: Host, stack: StackFacts, order: Order) -> tuple[dict[str, str], frozenset[str]]:
    """Packages to ask apt for (versions by name, "" for the newest), and those that must be had."""
    chosen = {*order.options, *stack.default_options}
    rows = [
        msgspec.structs.replace(row, name=name)
        for row in stack.packages
        if not row.option or row.option in chosen
        for name in (_find_archived(host, order, row.archives) or (row.name,))
    ]
    wanted = {row.name: "" for row in rows}
    required = {row.name for row in rows if row.required}
    if stack.kernel is not None and "kernel" in chosen:
        wanted[stack.kernel.package] = ""
    for word in order.packages:
        name, _, version = word.partition("=")
        wanted[name] = version
        required.add(name)
    return wanted, frozenset(required)


def _find_archived(host: Host, order: Order, pattern: str) -> tuple[str, ...]:
    """The packages that lie where a pattern says, in the local directories that the files of sources name."""
    if not pattern:
        return ()
    texts = [path.read_text(encoding="utf-8", errors="replace") for path in order.sources if path.is_file()]
    directories = [place for text in texts for place in list_directories(Source(listing=text))]
    return find_archived(Site(host), directories, pattern)


def _fetch_debs(
    host: Host, order: Order, target: Target, stack: StackFacts, work: Path, say: Callable[[str], None]
) -> tuple[Resolved, Target, str]:
    apt = TargetApt(host, work / "apt", target, sources=order.sources, own_sources=order.own_sources)
    apt.update()
    wanted, required = choose_packages(host, stack, order)
    resolved = apt.resolve(wanted, required)
    for name in resolved.absent:
        say(f"no source has {name}: left out")
    kernel = stack.kernel
    if kernel and (found := resolved.versions.get(kernel.package)) and not is_at_least(found, kernel.minimum):
        say(f"{kernel.package} {found} is older than the stack's {kernel.minimum}: give a source with --source")
    apt.download(resolved, work / "tree" / names.DEBS_DIR, say)
    python = order.python_version or target.about.python_version
    if order.wheels and not python:
        version = apt.find_candidate("python3").rpartition(":")[2].split(".")
        python = ".".join(version[:2])
    about = msgspec.structs.replace(target.about, python_version=python)
    return resolved, msgspec.structs.replace(target, about=about), python


def _list_debs(tree: Path, resolved: Resolved) -> list[BundleFile]:
    wanted = {deb.file for deb in resolved.debs}
    for path in (tree / names.DEBS_DIR).iterdir():
        if path.name not in wanted:
            path.unlink()  # of an earlier run, for which apt chose another version
    return [
        describe_file(
            tree, f"{names.DEBS_DIR}/{deb.file}", "deb",
            name=deb.name, version=deb.version, origin=deb.url, date=_read_date(tree / names.DEBS_DIR / deb.file),
        )
        for deb in resolved.debs
    ]  # fmt: skip


def _fetch_wheels(
    host: Host, order: Order, target: Target, tree: Path, python_version: str, say: Callable[[str], None]
) -> list[BundleFile]:
    folder = tree / names.WHEELS_DIR
    if not order.wheels:
        return []
    check_python(python_version)
    python = host.identity().executable
    for old in folder.glob("xpukit-*.whl"):
        old.unlink()
    if order.xpukit_wheel is not None:
        try:
            own = Path(shutil.copy2(order.xpukit_wheel, folder))
        except OSError as err:
            raise UsageError(f"{order.xpukit_wheel}: {err.strerror}", hint="name a wheel: --xpukit-wheel FILE") from err
    else:
        own = build_own_wheel(host, python, folder)
    fetched = fetch_wheels(
        host, python, own, folder,
        extras=order.extras, python_version=python_version, architecture=target.about.architecture, say=say,
    )  # fmt: skip
    kept = {own.name, *(wheel.file for wheel in fetched)}
    for path in folder.iterdir():
        if path.name not in kept:
            path.unlink()
    origin = str(order.xpukit_wheel) if order.xpukit_wheel else "built from the checkout"
    own_path = f"{names.WHEELS_DIR}/{own.name}"
    described = [describe_file(tree, own_path, "wheel", name="xpukit", version=__version__, origin=origin)]
    for wheel in fetched:
        place = f"{names.WHEELS_DIR}/{wheel.file}"
        date = _read_date(tree / place)
        described.append(
            describe_file(tree, place, "wheel", name=wheel.name, version=wheel.version, origin=wheel.url, date=date)
        )
    return described


def save_images(order: Order, tree: Path, save_image: SaveImage | None, say: Callable[[str], None]) -> list[BundleFile]:
    """Container images as `docker load` takes them. Raises UsageError where there is no daemon to ask."""
    files = []
    for reference in order.images:
        if save_image is None:
            raise UsageError("--image needs a Docker daemon", hint="start one, or leave the image out")
        name = "".join(letter if letter.isalnum() or letter in ".-" else "_" for letter in reference).lstrip(".-")
        path = f"{names.IMAGES_DIR}/{name}.tar"
        say(f"saving {reference}")
        save_image(reference, tree / path)
        files.append(describe_file(tree, path, "image", name=reference, origin="docker save", date=now_utc()))
    return files


def _keep_stack_file(order: Order, tree: Path) -> list[BundleFile]:
    """A stack of the user's own goes along: the target does not have it."""
    path = tree / names.STACK_FILE
    if not order.stack.endswith(".toml"):
        path.unlink(missing_ok=True)
        return []
    write_atomic(path, Path(order.stack).read_bytes())
    return [describe_file(tree, names.STACK_FILE, "stack", origin=order.stack, date=now_utc())]


def _read_date(path: Path) -> str:
    """When a file was fetched, UTC."""
    from datetime import datetime, timezone

    return datetime.fromtimestamp(path.stat().st_ctime, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def choose_key_file(host: Host, given: Path | None) -> Path:
    """The file of the signing key: the one given, else one in the user's home."""
    if given is not None:
        return given
    home = host.env("HOME").value
    if not home:
        raise UsageError("HOME is not set, so there is no place for a signing key", hint="give --signing-key FILE")
    return Path(home) / DEFAULT_KEY


def parse_size(text: str) -> int:
    """ "4G", "700M" or bytes; powers of two, as media tools take them. Raises UsageError."""
    units: Sequence[tuple[str, int]] = (("K", 1 << 10), ("M", 1 << 20), ("G", 1 << 30))
    number, factor = text.strip().upper().removesuffix("IB").removesuffix("B"), 1
    for unit, size in units:
        if number.endswith(unit):
            number, factor = number.removesuffix(unit), size
    try:
        count = int(float(number) * factor)
    except (ValueError, OverflowError):
        count = 0
    if count < 1 << 16:
        raise UsageError(f"--split {text}: no size, or less than 64 KiB", hint="for example --split 4G")
    return count
