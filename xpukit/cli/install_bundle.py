"""`xpukit install bundle create|verify`, and what `install plan|apply --bundle` needs of a bundle."""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xpukit.cli.session import JsonOption, Session, current_session
from xpukit.core.errors import ExitCode, UsageError
from xpukit.core.units import format_bytes

if TYPE_CHECKING:
    from xpukit.host import Host
    from xpukit.install.bundle.create import Created, Order
    from xpukit.install.bundle.open import OpenedBundle
    from xpukit.install.bundle.verify import Trust, Verified
    from xpukit.install.site import Site
    from xpukit.install.step import Scene

HELP = "Everything that a machine without a network needs, in one signed file."
CREATE_SCHEMA = "xpukit.install-bundle-created/1"
VERIFY_SCHEMA = "xpukit.install-bundle-verified/1"

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

BundleOption = Annotated[
    Path | None, typer.Option("--bundle", metavar="FILE", help="Install from this bundle only, once it is verified.")
]
FingerprintOption = Annotated[
    str, typer.Option("--fingerprint", metavar="HEX", help="Of the key that signed the bundle, as its maker says it.")
]
BundleKeyOption = Annotated[
    str, typer.Option("--key", metavar="FILE", help="The key that signed the bundle, from its maker, instead.")
]
OlderOption = Annotated[
    bool, typer.Option("--allow-older", help="Take a bundle older than the one that was applied before.")
]


@app.command("create", help="Make a bundle on a connected machine; a run that was stopped goes on.")
def create(
    json: JsonOption = False,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The bundle.")] = Path(
        "xpukit-bundle.tar"
    ),
    target: Annotated[
        str,
        typer.Option(
            "--for",
            metavar="TARGET",
            help="here, a root directory, a copy of its /var/lib/dpkg/status, or a bundle of `xpukit sysinfo`.",
        ),
    ] = "here",
    release: Annotated[
        str, typer.Option("--release", metavar="'debian 12'", help="The target's, for a copied status.")
    ] = "",
    stack: Annotated[
        str, typer.Option("--stack", metavar="NAME|FILE", help="The stack. [that of the target's release]")
    ] = "",
    with_: Annotated[
        list[str] | None, typer.Option("--with", metavar="OPTION", help="Choose an option of the stack. Repeatable.")
    ] = None,
    package: Annotated[
        list[str] | None,
        typer.Option("--package", metavar="NAME[=VERSION]", help="One more package, or a version. Repeatable."),
    ] = None,
    source: Annotated[
        list[Path] | None,
        typer.Option("--source", metavar="FILE", help="A .sources or .list file to ask too. Repeatable."),
    ] = None,
    no_own_sources: Annotated[
        bool, typer.Option("--no-own-sources", help="Leave this machine's own apt sources out.")
    ] = False,
    python: Annotated[str, typer.Option("--python", metavar="3.11", help="The target's. [of its packages]")] = "",
    extra: Annotated[
        list[str] | None, typer.Option("--extra", metavar="NAME", help="Of xpukit: embedded, report, ... Repeatable.")
    ] = None,
    xpukit_wheel: Annotated[
        Path | None,
        typer.Option("--xpukit-wheel", metavar="FILE", help="xpukit's own wheel. [built from the checkout]"),
    ] = None,
    no_wheels: Annotated[bool, typer.Option("--no-wheels", help="Without xpukit itself, and no script.")] = False,
    firmware: Annotated[
        Path | None, typer.Option("--firmware", metavar="DIR", help="A folder laid out as /lib/firmware.")
    ] = None,
    tools: Annotated[
        Path | None,
        typer.Option("--tools", metavar="DIR", help="An unpacked offline installer, for tools without a package."),
    ] = None,
    image: Annotated[
        list[str] | None, typer.Option("--image", metavar="NAME", help="A container image of this host. Repeatable.")
    ] = None,
    split: Annotated[str, typer.Option("--split", metavar="SIZE", help="In parts of this size: 4G, 700M.")] = "",
    signing_key: Annotated[
        Path | None, typer.Option("--signing-key", metavar="FILE", help="Made when missing. [in ~/.local/share/xpukit]")
    ] = None,
    gpg_key: Annotated[
        str, typer.Option("--gpg-key", metavar="FINGERPRINT", help="Sign with a key of your own gpg instead.")
    ] = "",
) -> int:
    """Resolve, fetch, sign, pack."""
    session = current_session()
    session.take(json=json)
    session.require_live("install bundle create")
    if gpg_key and signing_key:
        raise UsageError("--signing-key and --gpg-key exclude each other", hint="name one")
    from xpukit.core.json_document import build_document
    from xpukit.install.bundle.create import Order, choose_key_file, create_bundle, parse_size

    host = session.open_host()
    order = Order(
        output=output.absolute(),
        target=target,
        target_release=release,
        stack=stack,
        options=tuple(with_ or ()),
        packages=tuple(package or ()),
        sources=tuple(source or ()),
        own_sources=not no_own_sources,
        wheels=not no_wheels,
        python_version=python,
        extras=tuple(extra or ()),
        xpukit_wheel=xpukit_wheel,
        firmware=firmware,
        tools=tools.absolute() if tools else None,
        images=tuple(image or ()),
        part_bytes=parse_size(split) if split else 0,
        key_file=choose_key_file(host, signing_key),
        gpg_key=gpg_key,
    )
    created = create_bundle(host, order, save_image=_make_image_saver(order), say=session.say)
    if session.json:
        session.print_json(build_document(CREATE_SCHEMA, host.identity().hostname, created))
    else:
        _print_created(created, order)
    return int(ExitCode.OK)


@app.command("verify", help="Check a bundle: its signature, and every file; exit code 1 when it is refused.")
def verify(
    bundle: Annotated[Path, typer.Argument(metavar="FILE", help="The bundle, one of its parts, or its directory.")],
    json: JsonOption = False,
    fingerprint: FingerprintOption = "",
    key: BundleKeyOption = "",
    files: Annotated[bool, typer.Option("--files", help="List what is in it.")] = False,
) -> int:
    """Needs no root, and unpacks nothing."""
    session = current_session()
    session.take(json=json)
    session.require_live("install bundle verify")
    from xpukit.core.json_document import build_document
    from xpukit.install.bundle.verify import make_trust, verify_bundle

    host = session.open_host()
    trust = make_trust(host, fingerprint=fingerprint, key_file=key)
    verified = verify_bundle(host, bundle, _add_known_key(host, trust), on_bytes=make_progress(session, "checking"))
    if session.json:
        session.print_json(build_document(VERIFY_SCHEMA, host.identity().hostname, verified))
    else:
        _print_verified(verified, files=files)
    if not verified.trusted_by:
        session.warn("nothing vouches for its key: compare the fingerprint with what its maker says (--fingerprint)")
    return int(ExitCode.OK)


def _add_known_key(host: Host, trust: Trust) -> Trust:
    """The key of a bundle applied before, where that may be read (root)."""
    from xpukit.install.bundle.open import choose_trust
    from xpukit.install.site import Site

    return choose_trust(Site(host), trust, only_looks=True)


def _make_image_saver(order: Order) -> Callable[[str, Path], None] | None:
    if not order.images:
        return None
    from xpukit.host.docker_daemon import DockerDaemon

    daemon = DockerDaemon()
    daemon.require()
    return daemon.save_image


def _print_created(created: Created, order: Order) -> None:
    from xpukit.install.bundle.openpgp import format_fingerprint

    manifest = created.manifest
    _print_contents(created.manifest.target.described, created.manifest)
    for part in created.parts:
        print(f"bundle       {part} ({format_bytes(Path(part).stat().st_size)})")
    if created.script:
        print(f"script       {created.script}")
        print(f"             SHA-256 {created.script_sha256}")
    print(f"signed by    {format_fingerprint(created.fingerprint)}")
    print(f"             {'your gpg' if order.gpg_key else order.key_file}: keep it for the next bundle")
    if not manifest.target.packages_known:
        print("note         only part of the target's packages was known: more was packed than it may need")
    print("on the target, with the fingerprint brought by another way than the bundle:")
    print(f"  xpukit install apply --bundle {Path(created.parts[0]).name} --fingerprint {created.fingerprint}")
    if created.script:
        print(
            f"  without xpukit there: sha256sum {Path(created.script).name}, then ./{Path(created.script).name} apply"
        )


def _print_verified(verified: Verified, *, files: bool) -> None:
    from xpukit.install.bundle.openpgp import format_fingerprint

    manifest = verified.manifest
    _print_contents(manifest.target.described, manifest)
    print(f"made         {manifest.created} by xpukit {manifest.xpukit_version}")
    print(f"signed by    {format_fingerprint(verified.fingerprint)}")
    print(f"known by     {verified.trusted_by or 'nothing here'}")
    print(f"checked      {len(manifest.files)} files, {format_bytes(manifest.size_bytes)}: all as signed")
    if files:
        for file in manifest.files:
            print(f"  {file.sha256[:16]}  {format_bytes(file.size_bytes):>10}  {file.path}  {file.origin}")


def _print_contents(described: str, manifest: object) -> None:
    from xpukit.install.bundle.manifest import Manifest

    assert isinstance(manifest, Manifest)
    target = manifest.target
    print(f"stack        {manifest.stack}")
    print(f"for          {target.distribution} {target.release} {target.architecture} ({described})")
    counts = {kind: len(manifest.of_kind(kind)) for kind in ("deb", "wheel", "firmware", "tool", "image")}
    print("holds        " + ", ".join(f"{count} {kind}s" for kind, count in counts.items() if count))
    if manifest.absent:
        print(f"left out     {', '.join(manifest.absent)}: no source had them")


def make_progress(session: Session, what: str) -> Callable[[int, int], None] | None:
    """A line that counts up on a terminal; nothing elsewhere."""
    if session.json or not sys.stderr.isatty():
        return None
    shown = -1

    def tell(done: int, total: int) -> None:
        nonlocal shown
        percent = done * 100 // total if total else 100
        if percent != shown:
            shown = percent
            end = "\n" if done >= total else ""
            print(f"\r{what} {percent:3d} % of {format_bytes(total)}", end=end, file=sys.stderr, flush=True)

    return tell


@contextlib.contextmanager
def open_for_plan(
    session: Session, site: Site, bundle: Path, *, fingerprint: str = "", key: str = "", allow_older: bool = False
) -> Iterator[OpenedBundle]:
    """A verified bundle for `install plan`: unpacked in a temporary directory, unless it was applied before."""
    from xpukit.install.bundle.open import UNPACKED, describe_opened, open_bundle
    from xpukit.install.bundle.verify import make_trust

    if not site.can_change:
        raise UsageError("a bundle is planned on the machine itself", hint="leave --from, --record and --redact out")
    trust = make_trust(site.host, fingerprint=fingerprint, key_file=key)
    # A name that nobody can guess and prepare; apt's own user must be able to look into it.
    place = Path(tempfile.mkdtemp(prefix="xpukit-bundle-", dir=site.locate("/tmp")))
    place.chmod(0o755)
    below = f"/tmp/{place.name}"
    tell = make_progress(session, "checking")
    try:
        opened = open_bundle(site, bundle, trust, allow_older=allow_older, below=below, on_bytes=tell)
        placed = f"{UNPACKED}/{opened.directory.rpartition('/')[2]}"
        if site.exists(f"{placed}/Release"):
            opened = describe_opened(opened.verified, placed, Path(site.locate(placed)))
        yield opened
    finally:
        shutil.rmtree(place, ignore_errors=True)


def open_for_apply(
    session: Session, site: Site, bundle: Path, *, fingerprint: str = "", key: str = "", allow_older: bool = False
) -> OpenedBundle:
    """A verified bundle for `install apply`, unpacked where apt will read it. Raises RefusedBundleError."""
    from xpukit.install.bundle.open import open_bundle
    from xpukit.install.bundle.verify import make_trust

    trust = make_trust(site.host, fingerprint=fingerprint, key_file=key)
    opened = open_bundle(
        site, bundle, trust, allow_older=allow_older, on_bytes=make_progress(session, "checking and unpacking")
    )
    session.say(f"verified: {len(opened.verified.manifest.files)} files, key known by {opened.verified.trusted_by}")
    return opened


def refuse_mixed(bundle: Path | None, stack: str | None, install_set: Path | None, source: str | None, by: str) -> None:
    """A bundle says itself what is installed and from where. Raises UsageError."""
    given = {"--stack": stack, "--set": install_set, "--source": source}
    if bundle is not None and (named := [name for name, value in given.items() if value is not None]):
        raise UsageError(f"--bundle and {' and '.join(named)} exclude each other", hint="the bundle has its own")
    if bundle is None and by:
        raise UsageError("--fingerprint and --key need --bundle", hint="name the bundle; for --source: --source-key")


def finish_apply(session: Session, scene: Scene, opened: OpenedBundle) -> None:
    """After an apply that went well: remember the bundle, drop the one before, say what is left to do."""
    from xpukit.install.bundle.open import record_applied, remove_unpacked
    from xpukit.install.journal import load_journal

    site = scene.site
    if not load_journal(site).in_force:
        return  # the question was answered with no
    record_applied(site, opened)
    remove_unpacked(site, keep=opened.directory)
    for image in opened.images:
        session.say(f"container image: docker load -i {image}")
