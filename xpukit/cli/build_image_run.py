"""`build-image`, as far as it needs a machine: the build, the dry run, the context, the collecting."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from xpukit.cli.build_image_order import ResolvedOrder, find_ca_bundle, make_sources, read_epoch
from xpukit.core.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from xpukit.cli.session import Session
    from xpukit.host.docker_daemon import DockerDaemon
    from xpukit.host.door import Host
    from xpukit.images.build import Rendered
    from xpukit.images.builders.choose import Builder
    from xpukit.images.fetch_apt import DebPlan
    from xpukit.images.lock import Lock
    from xpukit.images.sources import Sources

IMAGE_SCHEMA = "xpukit.image/1"


def run_build(session: Session, resolved: ResolvedOrder) -> int:
    """Build, test, keep what came of it, say so; the exit code says how it went."""
    from xpukit.cli.build_image_account import account_for_build, check_host, exit_code_of
    from xpukit.cli.build_image_tables import print_result
    from xpukit.core.json_document import build_document
    from xpukit.core.machine import Machine
    from xpukit.host.docker_daemon import DockerDaemon
    from xpukit.images.build_directory import LOG_FILE, keep_context, keep_outcome, make_build_directory
    from xpukit.images.builders import build_image
    from xpukit.images.builders.progress import BuildProgress
    from xpukit.images.context import split_linked
    from xpukit.images.result import describe_result
    from xpukit.images.tags import choose_tags
    from xpukit.probe.machine import probe_machine

    host = session.open_host()
    daemon = DockerDaemon()
    daemon.require()
    builder, rendered = _prepare(session, host, resolved, daemon)
    tags = choose_tags(rendered, resolved.order.tags)
    # An image for any machine asks nothing of this one: no reason to look at it, which takes most of a second.
    machine = Machine() if resolved.recipe.host.vendor == "any" else probe_machine(host)
    check_host(session, resolved, machine)
    directory = make_build_directory(host, rendered, resolved.order.output)
    keep_context(directory, rendered)
    session.say(f"building {tags[0]} with {builder.kind} into {directory}")
    kept, linked = split_linked(rendered)
    result = None
    try:
        with BuildProgress(_make_console(session), verbose=session.verbose > 0) as progress:
            outcome = build_image(
                kept,
                tags=tags,
                builder=builder,
                daemon=daemon,
                log=directory / LOG_FILE,
                host=host,
                on_event=progress,
                trees=linked,
                network=resolved.order.network,
                pull=resolved.order.pull,
                no_cache=resolved.order.no_cache,
                source_date_epoch=read_epoch(host),
            )
        result = describe_result(rendered, outcome, tags, str(directory))
        if result.ok:
            result = account_for_build(session, host, resolved, daemon, machine, result)
    except KeyboardInterrupt:
        done = (
            f"{', '.join(tags)} is built, but was not tested" if result else "the build was cancelled; no image of it"
        )
        session.say(f"{done}; log: {directory / LOG_FILE}")
        raise
    keep_outcome(directory, result, host.identity().hostname)
    if session.json:
        session.print_json(build_document(IMAGE_SCHEMA, host.identity().hostname, result))
    else:
        print_result(result, color=session.color)
    return int(exit_code_of(result))


def print_dry_run(session: Session, resolved: ResolvedOrder) -> int:
    """The command as it would be run, and every file of the context with size and hash."""
    from xpukit.core.json_document import build_document
    from xpukit.images.builders.buildkit import list_proxies, plan_command
    from xpukit.images.context import list_entries
    from xpukit.images.result import ImagePlan
    from xpukit.images.tags import choose_tags

    host = session.open_host()
    builder, rendered = _prepare(session, host, resolved, None)
    tags = choose_tags(rendered, resolved.order.tags)
    argv: tuple[str, ...] = ()
    env: dict[str, str] = {}
    if builder.kind != "classic":
        order = resolved.order
        command = plan_command(
            rendered,
            tags=tags,
            builder=builder,
            proxies=list_proxies(host),
            network=order.network,
            pull=order.pull,
            no_cache=order.no_cache,
            source_date_epoch=read_epoch(host),
        )
        argv, env = command.argv, command.env
    entries = list_entries(rendered)
    if session.json:
        body = ImagePlan(
            recipe=rendered.recipe,
            hash=rendered.hash,
            tags=tags,
            builder=builder.kind,
            argv=argv,
            env=env,
            files=entries,
        )
        session.print_json(build_document("xpukit.image-plan/1", "", body))
        return int(ExitCode.OK)
    if argv:
        print(" ".join([*(f"{name}={shlex.quote(value)}" for name, value in sorted(env.items())), shlex.join(argv)]))
    else:
        print(f"classic builder, through the daemon's API: tags {', '.join(tags)}; no command")
        if rendered.served is not None:
            print(f"RUN steps use this host's network; {rendered.served.folder} is served on {rendered.served.url}")
    from xpukit.cli.render import print_table

    rows = [(entry.path, str(entry.size_bytes), entry.mode, entry.sha256) for entry in entries]
    print()
    print_table("Context", ("file", "bytes", "mode", "sha256"), rows, color=session.color, right=(1,))
    print(f"recipe hash {rendered.hash}")
    return int(ExitCode.OK)


def write_out_context(session: Session, resolved: ResolvedOrder, directory: Path) -> int:
    """The whole build context as a folder, for another builder."""
    from xpukit.images.builders.context import write_context
    from xpukit.images.context import split_linked

    host = session.open_host()
    if directory.exists() and not directory.is_dir():
        raise UsageError(f"--context {directory} is no folder", hint="name a new one")
    if directory.is_dir() and any(directory.iterdir()) and not resolved.order.force:
        raise UsageError(f"--context {directory} is not empty", hint="name a new folder, or --force to write into it")
    lock = _load_lock(resolved)
    sources = make_sources(resolved.order, lock=lock, ca_bundle=find_ca_bundle(session, host, resolved.order))
    rendered = resolved.render(sources, kind="", source_date_epoch=read_epoch(host), require_hashes=True)
    if rendered.served is not None:
        raise UsageError(
            "--context: the classic builder gets a folder of Debian packages over loopback, only while xpukit builds",
            hint="use BuildKit (--builder buildkit), or name the repository by its URL",
        )
    kept, linked = split_linked(rendered)
    entries = write_context(kept, directory, trees=linked, epoch=rendered.source_date_epoch)
    session.say(f"{len(entries)} files for {rendered.builder} in {directory}; recipe hash {rendered.hash}")
    return int(ExitCode.OK)


def run_fetch(session: Session, resolved: ResolvedOrder, folder: Path) -> int:
    """Collect what an offline build needs; the lock says what that is."""
    from xpukit.images.fetch import fetch_build
    from xpukit.images.lock import LOCK_FILE
    from xpukit.images.sources import choose_fetched

    host = session.open_host()
    if resolved.order.lock is not None:
        raise UsageError("--fetch makes a lock; leave out --lock")
    ca_bundle = find_ca_bundle(session, host, resolved.order)
    sources = make_sources(resolved.order, ca_bundle=ca_bundle)
    rendered = resolved.render(sources, kind="")
    base_id, debs, save_base = _ask_base(session, host, resolved, rendered, sources)
    lock = fetch_build(
        host,
        rendered,
        choose_fetched(resolved.recipe, resolved.settings, {}, require_hashes=False),
        folder,
        python_argv=_find_pip(host) if rendered.wheels else (),
        python_version=str(resolved.settings.get("python", f"3.{sys.version_info.minor}")),
        base_id=base_id,
        debs=debs,
        save_base=save_base,
        ca_bundle=sources.ca_bundle,
        say=session.say,
    )
    if lock.apt_absent:
        session.warn(f"not collected, to come from --apt-repo: Debian packages {' '.join(lock.apt_absent)}")
    if session.json:
        from xpukit.core.json_document import build_document
        from xpukit.images.result import FetchReport

        report = FetchReport(folder=str(folder), lock=lock)
        session.print_json(build_document("xpukit.image-fetch/1", host.identity().hostname, report))
    else:
        print(folder / LOCK_FILE)
    return int(ExitCode.OK)


def _ask_base(
    session: Session, host: Host, resolved: ResolvedOrder, rendered: Rendered, sources: Sources
) -> tuple[str, DebPlan | None, Callable[[Path], None] | None]:
    """The base image's id, what its apt would install, and how to save it; "" and None where it is not to be had."""
    from xpukit.host.docker_daemon import DockerDaemon
    from xpukit.images.builders.buildkit import list_proxies
    from xpukit.images.fetch_apt import plan_debs

    daemon, base = DockerDaemon(), rendered.base_image
    reach = daemon.check()
    image = daemon.inspect_image(base) if reach.ok else None
    if image is None:
        why = "is not on this host" if reach.ok else f"cannot be asked ({reach.message})"
        session.warn(f"base image {base} {why}: neither it nor Debian packages are collected (docker pull {base})")
        return "", None, None

    def save(path: Path) -> None:
        daemon.save_image(base, path)

    order = resolved.order
    if order.apt_repo or not rendered.apt_packages:
        return image.id, None, save
    session.say(f"asking apt in {base} ...")
    plan = plan_debs(
        daemon,
        base,
        rendered.apt_packages,
        network=order.network,
        proxies=list_proxies(host),
        ca_bundle=sources.ca_bundle,
    )
    return image.id, plan, save


def _prepare(
    session: Session, host: Host, resolved: ResolvedOrder, daemon: DockerDaemon | None
) -> tuple[Builder, Rendered]:
    """Choose the builder and render for it, from the lock's files where there is one."""
    from xpukit.images.builders.choose import choose_builder
    from xpukit.images.lock import check_base, check_covers

    order = resolved.order
    builder = choose_builder(host, forced="" if order.builder == "auto" else order.builder)
    lock = _load_lock(resolved)
    sources = make_sources(order, lock=lock, ca_bundle=find_ca_bundle(session, host, order))
    rendered = resolved.render(
        sources, kind=builder.kind, source_date_epoch=read_epoch(host), require_hashes=daemon is not None
    )
    if lock is not None:
        check_covers(lock, rendered, own_apt_repo=bool(order.apt_repo))
        if daemon is not None:
            image = daemon.inspect_image(rendered.base_image)
            folder = order.lock.parent if order.lock else Path()
            check_base(lock, rendered.base_image, image.id if image else "", folder=folder)
    return builder, rendered


def _load_lock(resolved: ResolvedOrder) -> Lock | None:
    from xpukit.images.lock import check_files, load_lock

    path = resolved.order.lock
    if path is None:
        return None
    lock = load_lock(path)
    check_files(lock, path.parent)
    return lock


def _find_pip(host: Host) -> tuple[str, ...]:
    """A Python that has pip: ours, else the system's. Raises UsageError when none has."""
    for program in (sys.executable, "/usr/bin/python3"):
        if host.run([program, "-m", "pip", "--version"], timeout_s=30).ok:
            return (program,)
    raise UsageError("no pip on this machine, and wheels are needed", hint="install it: apt install python3-pip")


def _make_console(session: Session) -> Console:
    from rich.console import Console

    return Console(file=sys.stderr, no_color=session.no_color, highlight=False)
