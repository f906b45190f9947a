"""`xpukit install`: plan, apply, undo, status, export."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xpukit.cli import install_bundle, install_index
from xpukit.cli.install_bundle import (
    BundleKeyOption,
    BundleOption,
    FingerprintOption,
    OlderOption,
    finish_apply,
    open_for_apply,
    open_for_plan,
    refuse_mixed,
)
from xpukit.cli.install_options import (
    KeyOption,
    LockWaitOption,
    OnlyOption,
    PinOption,
    RootOption,
    SetOption,
    SourceOption,
    StackOption,
    TrustOption,
    UserOption,
    WithOption,
    WithoutOption,
    make_scene,
    make_source,
    open_site,
)
from xpukit.cli.session import FromOption, JsonOption, Session, current_session
from xpukit.core.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from xpukit.install.documents import PlanDocument
    from xpukit.install.step import Scene

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
app.add_typer(install_bundle.app, name="bundle", help=install_bundle.HELP)
app.command("index", help=install_index.HELP)(install_index.index)

YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before changing the machine.")]


@app.command("plan", help="Show what would change, step by step; needs no root and changes nothing.")
def plan(
    json: JsonOption = False,
    source_bundle: FromOption = None,
    stack: StackOption = None,
    root: RootOption = "/",
    with_: WithOption = None,
    without: WithoutOption = None,
    user: UserOption = None,
    pin: PinOption = None,
    set_: SetOption = None,
    source: SourceOption = None,
    source_key: KeyOption = None,
    trust_source: TrustOption = False,
    only_source: OnlyOption = False,
    bundle: BundleOption = None,
    fingerprint: FingerprintOption = "",
    key: BundleKeyOption = "",
    allow_older: OlderOption = False,
    list_: Annotated[bool, typer.Option("--list", help="List the stacks and their options.")] = False,
) -> int:
    """Exit code 1 when it could not be applied."""
    session = current_session()
    session.take(json=json, source=source_bundle)
    if list_:
        from xpukit.cli.install_tables import print_stacks

        print_stacks()
        return int(ExitCode.OK)
    site = open_site(session, root)
    refuse_mixed(bundle, stack, set_, source, fingerprint or key)
    with contextlib.ExitStack() as stack_of_bundle:
        opened = None
        if bundle is not None:
            opened = stack_of_bundle.enter_context(
                open_for_plan(session, site, bundle, fingerprint=fingerprint, key=key, allow_older=allow_older)
            )
        scene = make_scene(
            session,
            site,
            stack=opened.stack if opened else stack,
            chosen=[*(with_ or ()), *(sorted(opened.options) if opened else ())],
            left_out=without or (),
            users=user or (),
            pins=[*(opened.pin_words if opened else ()), *(pin or ())],
            install_set=set_,
            source=opened.source
            if opened
            else make_source(site, source, source_key, trust=trust_source, only=only_source),
            lock_wait_s=0,
        )
        document = _make_plan(scene)
        _show_plan(session, scene, document)
    return int(ExitCode.JUDGED_FAILING if document.blocked else ExitCode.OK)


@app.command("apply", help="Bring the machine to the stack; a second run changes nothing. Needs root.")
def apply(
    json: JsonOption = False,
    stack: StackOption = None,
    root: RootOption = "/",
    with_: WithOption = None,
    without: WithoutOption = None,
    user: UserOption = None,
    pin: PinOption = None,
    set_: SetOption = None,
    source: SourceOption = None,
    source_key: KeyOption = None,
    trust_source: TrustOption = False,
    only_source: OnlyOption = False,
    bundle: BundleOption = None,
    fingerprint: FingerprintOption = "",
    key: BundleKeyOption = "",
    allow_older: OlderOption = False,
    lock_wait: LockWaitOption = 120.0,
    yes: YesOption = False,
    force: Annotated[bool, typer.Option("--force", help="Go on in spite of critical findings.")] = False,
) -> int:
    """Plan, ask, apply, look at the result."""
    session = current_session()
    session.take(json=json)
    site = open_site(session, root, change=True)
    refuse_mixed(bundle, stack, set_, source, fingerprint or key)
    opened = None
    if bundle is not None:
        opened = open_for_apply(session, site, bundle, fingerprint=fingerprint, key=key, allow_older=allow_older)
    scene = make_scene(
        session,
        site,
        stack=opened.stack if opened else stack,
        chosen=[*(with_ or ()), *(sorted(opened.options) if opened else ())],
        left_out=without or (),
        users=user or (),
        pins=[*(opened.pin_words if opened else ()), *(pin or ())],
        install_set=set_,
        source=opened.source if opened else make_source(site, source, source_key, trust=trust_source, only=only_source),
        lock_wait_s=lock_wait,
        force=force,
    )
    code = apply_scene(session, scene, yes=yes)
    if opened is not None and code == ExitCode.OK:
        finish_apply(session, scene, opened)
    return code


def apply_scene(session: Session, scene: Scene, *, yes: bool) -> int:
    """Show the plan, ask, apply, look at the result; also what `--bundle` ends in."""
    from xpukit.cli.install_progress import SpokenReporter
    from xpukit.cli.install_tables import count_changes
    from xpukit.core.json_document import build_document
    from xpukit.install.apply import apply_stack
    from xpukit.install.documents import APPLY_SCHEMA, view_outcome

    if not yes:
        if not sys.stdin.isatty():
            raise UsageError(
                "apply changes the machine and nobody can be asked", hint="look at `plan`, then give --yes"
            )
        document = _make_plan(scene)
        _show_plan(session, scene, document, always_text=True)
        if document.blocked and not scene.options.force:
            return int(ExitCode.JUDGED_FAILING)
        if document.changes and not typer.confirm("Apply this?", default=False, err=True):
            session.say("nothing was changed")
            return int(ExitCode.OK)
    elif not scene.options.force and (reasons := _list_critical(scene)):
        for reason in reasons:
            session.say(f"xpukit: {reason}")
        session.say("  next: see `install plan`; --force goes on all the same")
        return int(ExitCode.JUDGED_FAILING)
    outcome = apply_stack(scene, SpokenReporter(session), pid=os.getpid())
    for problem in outcome.problems:
        session.say(f"does not work: {problem}")
    if session.json:
        host = scene.site.host.identity().hostname
        session.print_json(build_document(APPLY_SCHEMA, host, view_outcome(scene.stack.name, scene.site, outcome)))
    else:
        print(f"{count_changes(len(outcome.changes))} made" if outcome.changes else "nothing to change")
        for why in outcome.reboot:
            print(f"reboot needed: {why}")
        print(f"log: {outcome.log}")
        if outcome.changes and not outcome.problems:
            _say_what_is_seen(scene)
    return int(ExitCode.JUDGED_FAILING if outcome.problems else ExitCode.OK)


@app.command("undo", help="Take back everything that was applied, newest first. Needs root.")
def undo(
    json: JsonOption = False,
    root: RootOption = "/",
    lock_wait: LockWaitOption = 120.0,
    yes: YesOption = False,
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite what someone changed since; dpkg still breaks no dependency.")
    ] = False,
) -> int:
    """Exit code 1, and nothing touched, when something stands in the way."""
    session = current_session()
    session.take(json=json)
    site = open_site(session, root, change=True)
    from xpukit.cli.install_progress import SpokenReporter
    from xpukit.cli.install_tables import count_changes
    from xpukit.core.json_document import build_document
    from xpukit.install.bundle.open import remove_unpacked
    from xpukit.install.documents import UNDO_SCHEMA, view_undo
    from xpukit.install.status import read_status
    from xpukit.install.undo import undo_stack

    if not yes:
        if not sys.stdin.isatty():
            raise UsageError(
                "undo changes the machine and nobody can be asked", hint="look at `status`, then give --yes"
            )
        status = read_status(site)
        if status.entries and not typer.confirm(
            f"Take back {count_changes(len(status.entries))}?", default=False, err=True
        ):
            session.say("nothing was changed")
            return int(ExitCode.OK)
    done = undo_stack(site, SpokenReporter(session), force=force, lock_wait_s=lock_wait, pid=os.getpid())
    if not done.refused:
        remove_unpacked(site)
    if session.json:
        document = view_undo(site, done.outcome, done.refused)
        session.print_json(build_document(UNDO_SCHEMA, site.host.identity().hostname, document))
    elif done.refused:
        for refusal in done.refused:
            session.say(f"refused: {refusal.what}: {refusal.why}")
        session.say("nothing was touched; --force goes on all the same")
    else:
        count = len(done.outcome.changes) if done.outcome else 0
        print(f"{count_changes(count)} taken back" if count else "nothing is in force: nothing to take back")
    return int(ExitCode.JUDGED_FAILING if done.refused else ExitCode.OK)


@app.command("status", help="The journal, and where the machine has drifted from it; exit code 1 when it has.")
def status(json: JsonOption = False, source_bundle: FromOption = None, root: RootOption = "/") -> int:
    """Only looks."""
    session = current_session()
    session.take(json=json, source=source_bundle)
    site = open_site(session, root)
    from xpukit.install.documents import STATUS_SCHEMA
    from xpukit.install.status import read_status

    found = read_status(site)
    if session.json:
        from xpukit.core.json_document import build_document

        session.print_json(build_document(STATUS_SCHEMA, site.host.identity().hostname, found))
    else:
        from xpukit.cli.install_tables import print_status

        print_status(found, color=session.color)
    return int(ExitCode.JUDGED_FAILING if found.drift or found.interrupted else ExitCode.OK)


@app.command("export", help="Write the stack's installed versions, to be applied elsewhere with --set.")
def export(
    stack: StackOption = None,
    root: RootOption = "/",
    with_: WithOption = None,
    without: WithoutOption = None,
    source_bundle: FromOption = None,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Where to; - prints it.")] = Path("-"),
) -> int:
    """A JSON document in either case."""
    session = current_session()
    session.take(source=source_bundle)
    from xpukit.cli.output import write_text
    from xpukit.core.json_document import encode_json
    from xpukit.install.export import export_set
    from xpukit.install.step import Source

    scene = make_scene(
        session,
        open_site(session, root),
        stack=stack,
        chosen=with_ or (),
        left_out=without or (),
        users=(),
        pins=(),
        install_set=None,
        source=Source(),
        lock_wait_s=0,
    )
    write_text(output, encode_json(export_set(scene)))
    return int(ExitCode.OK)


def _make_plan(scene: Scene) -> PlanDocument:
    from xpukit.install.documents import view_plan
    from xpukit.install.plan import plan_stack

    options = tuple(sorted(scene.options.chosen))
    return view_plan(scene.site, plan_stack(scene), options=options, notes=scene.stack.notes)


def _list_critical(scene: Scene) -> tuple[str, ...]:
    """Why apply should not begin. After a run that was cut short steps may look blocked until it is put right."""
    from xpukit.install.journal import load_journal
    from xpukit.install.plan import plan_stack
    from xpukit.install.surroundings import look_around

    if any(entry.after is None for entry in load_journal(scene.site).in_force):
        return tuple(finding.summary for finding in look_around(scene) if finding.severity == "critical")
    return plan_stack(scene).blocked


def _show_plan(session: Session, scene: Scene, document: PlanDocument, *, always_text: bool = False) -> None:
    if session.json and not always_text:
        from xpukit.core.json_document import build_document
        from xpukit.install.documents import PLAN_SCHEMA

        session.print_json(build_document(PLAN_SCHEMA, scene.site.host.identity().hostname, document))
    elif not session.json:
        from xpukit.cli.install_tables import print_plan

        print_plan(document, color=session.color, verbose=bool(session.verbose))


def _say_what_is_seen(scene: Scene) -> None:
    """What the machine itself says now: the driver is seen by its loader, or it is not."""
    if not scene.site.is_whole or scene.stack.scope != "machine":
        return
    from xpukit.probe.machine import probe_machine

    devices = probe_machine(scene.site.host).devices
    bound = sum(1 for device in devices if device.driver)
    seen = sum(1 for device in devices if device.level_zero_index is not None)
    print(f"seen now: {len(devices)} Intel GPUs, {bound} with a driver, {seen} in Level Zero (see: xpukit doctor)")
