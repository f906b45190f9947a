"""The options of `xpukit install`, made into a machine, a stack and choices."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xpukit.cli.session import Session
from xpukit.core.errors import UsageError

if TYPE_CHECKING:
    from xpukit.core.machine import Device
    from xpukit.facts.stacks import StackFacts
    from xpukit.install.export import InstallSet
    from xpukit.install.site import Site
    from xpukit.install.step import Scene, Source

StackOption = Annotated[
    str | None, typer.Option("--stack", metavar="NAME|FILE", help="The stack. [that of the machine's release]")
]
RootOption = Annotated[
    str, typer.Option("--root", metavar="DIR", help="A machine's root directory; commands run in it (chroot).")
]
WithOption = Annotated[
    list[str] | None, typer.Option("--with", metavar="OPTION", help="Choose an option of the stack; may be repeated.")
]
WithoutOption = Annotated[
    list[str] | None, typer.Option("--without", metavar="OPTION", help="Leave out a default option; may be repeated.")
]
UserOption = Annotated[
    list[str] | None,
    typer.Option("--user", metavar="NAME", help="Put this user into the GPU's groups; may be repeated. [who ran sudo]"),
]
PinOption = Annotated[
    list[str] | None, typer.Option("--pin", metavar="PACKAGE=VERSION", help="Exactly this version; may be repeated.")
]
SetOption = Annotated[
    Path | None, typer.Option("--set", metavar="FILE", help="The stack and versions of an export (install export).")
]
SourceOption = Annotated[
    str | None,
    typer.Option(
        "--source", metavar="DIR|FILE", help="More packages: a flat apt repository, or a .sources/.list file."
    ),
]
KeyOption = Annotated[
    str | None, typer.Option("--source-key", metavar="FILE", help="The key that signed the repository of --source.")
]
TrustOption = Annotated[
    bool, typer.Option("--trust-source", help="Take the repository of --source although it is not signed.")
]
OnlyOption = Annotated[
    bool, typer.Option("--only-source", help="Ask no other source than --source (a machine without a network).")
]
LockWaitOption = Annotated[
    float, typer.Option("--lock-wait", metavar="SECONDS", min=0, help="How long to wait for a lock of apt or xpukit.")
]


def open_site(session: Session, root: str, *, change: bool = False) -> Site:
    """The machine. Raises UsageError for a recorded one that shall be changed, or a root that is none."""
    from xpukit.install.site import Site

    if session.source is not None or session.record is not None or session.redact:
        if change:
            raise UsageError("a recorded machine cannot be changed", hint="leave --from, --record and --redact out")
        return Site(session.open_host(), root)
    from xpukit.host.writable import WritableHost

    host = WritableHost()
    if root != "/":
        resolved = host.resolve(root)
        if resolved.error or host.stat(f"{resolved.target}/etc").kind != "dir":
            raise UsageError(f"--root {root}: no root directory of a machine", hint="name one that has /etc")
        if host.identity().uid != 0:
            raise UsageError("--root runs commands by chroot, which needs root", hint="run it with sudo")
        root = resolved.target
    if change and host.identity().uid != 0:
        raise UsageError("only root may change a machine", hint="run it with sudo; `install plan` needs no root")
    return Site(host, root)


def make_scene(
    session: Session,
    site: Site,
    *,
    stack: str | None,
    chosen: Sequence[str],
    left_out: Sequence[str],
    users: Sequence[str],
    pins: Sequence[str],
    install_set: Path | None,
    source: Source,
    lock_wait_s: float,
    force: bool = False,
) -> Scene:
    """Everything that a step needs. Raises UsageError, BadFactsError, CouldNotJudgeError."""
    from xpukit.facts.stacks import get_stack
    from xpukit.install.detect import detect_stack
    from xpukit.install.step import Options, Scene

    if any(not name.strip() for name in users):
        raise UsageError("--user: the name is empty", hint="name a user, or leave --user out")
    exported = _read_set(install_set)
    name = stack or (exported.stack if exported else None)
    facts = get_stack(name) if name else detect_stack(site)
    names = _choose_options(facts, chosen, left_out, exported)
    options = Options(
        users=tuple(users) or _default_users(session, site, facts),
        chosen=names,
        pins={**(exported.packages if exported else {}), **_parse_pins(pins)},
        source=source,
        lock_wait_s=lock_wait_s,
        force=force,
    )
    return Scene(site=site, stack=facts, options=options, devices=_find_devices(site, facts))


def _read_set(path: Path | None) -> InstallSet | None:
    if path is None:
        return None
    from xpukit.install.export import read_set

    try:
        return read_set(path.read_bytes(), source=str(path))
    except OSError as err:
        raise UsageError(f"{path}: cannot be read: {err.strerror}", hint="name a file of install export") from err


def _choose_options(
    stack: StackFacts, chosen: Sequence[str], left_out: Sequence[str], exported: InstallSet | None
) -> frozenset[str]:
    # "kernel" is there in every stack that names one.
    known = {option.name for option in stack.options} | ({"kernel"} if stack.kernel else set())
    for name in (*chosen, *left_out):
        if name not in known:
            raise UsageError(
                f"stack {stack.name} has no option {name!r}", hint=f"one of: {', '.join(sorted(known)) or 'none'}"
            )
    default = frozenset(exported.options) & known if exported else stack.default_options
    return (default | frozenset(chosen)) - frozenset(left_out)


def _default_users(session: Session, site: Site, stack: StackFacts) -> tuple[str, ...]:
    """Who ran sudo, or who runs this; never root, and nobody in another root."""
    if not site.is_whole or stack.scope != "machine":
        return ()
    name = site.host.env("SUDO_USER").value or site.host.identity().username
    return (name,) if name and name != "root" and not name.isdigit() else ()


def _parse_pins(pins: Sequence[str]) -> dict[str, str]:
    found = {}
    for pin in pins:
        name, equals, version = pin.partition("=")
        if not (name and equals and version):
            raise UsageError(f"--pin {pin}: not PACKAGE=VERSION", hint="such as --pin libze1=1.8.12-1")
        found[name] = version
    return found


def make_source(site: Site, source: str | None, key: str | None, *, trust: bool, only: bool) -> Source:
    """The source to add. Paths are the machine's own (below --root). Raises UsageError."""
    from xpukit.install.step import Source

    if source is None:
        if key or trust or only:
            raise UsageError("--source-key, --trust-source and --only-source need --source", hint="name the source")
        return Source()
    if key and trust:
        raise UsageError("--source-key and --trust-source exclude each other", hint="a signed repository needs the key")
    if not source.startswith("/"):
        raise UsageError(f"--source {source}: not an absolute path", hint="as the machine itself names it")
    if source.endswith((".sources", ".list")):
        answer = site.read(source)
        if answer.error:
            raise UsageError(f"--source {source}: {answer.error}", hint="name a file of sources that is there")
        return Source(listing=answer.data.decode(errors="replace"), exclusive=only)
    return Source(directory=source.rstrip("/"), key=key or "", trusted=trust, exclusive=only)


def _find_devices(site: Site, stack: StackFacts) -> tuple[Device, ...]:
    if not site.is_whole or stack.scope != "machine":
        return ()
    from xpukit.probe.machine import probe_machine

    return probe_machine(site.host).devices
