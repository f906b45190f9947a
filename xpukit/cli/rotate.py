"""`xpukit rotate`: the engines behind a balancer are replaced one after another, without a lost request."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xpukit.cli.session import JsonOption, Session, current_session
from xpukit.core.errors import ExitCode, ExternalError, OutputError, UsageError

if TYPE_CHECKING:
    from xpukit.operate.rotate.compose_site import ComposeSite
    from xpukit.operate.rotate.state import Policy, RotationPlan, RotationReport, SlotState, StepRecord

_AGE = re.compile(r"(\d+(?:\.\d+)?)(s|min|h|d|w)")
_SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86400, "w": 604800}
_LOCK_DIR = "/run/lock"


def rotate(
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="The deployment: serve's --name.")] = "xpukit",
    json: JsonOption = False,
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="ENGINE", help="Only this engine; repeatable.")
    ] = None,
    older_than: Annotated[
        str, typer.Option("--older-than", metavar="TIME", help="Only engines that were started before: 12h, 6d.")
    ] = "",
    min_healthy: Annotated[
        int | None,
        typer.Option(
            "--min-healthy", min=0, metavar="N", help="Healthy engines at any time. [all but one, all with a spare]"
        ),
    ] = None,
    drain: Annotated[
        float | None, typer.Option("--drain-limit", min=0, metavar="SECONDS", help="For requests that run. [600]")
    ] = None,
    start: Annotated[
        float | None, typer.Option("--start-limit", min=1, metavar="SECONDS", help="For a new engine to answer. [3600]")
    ] = None,
    cut: Annotated[
        bool, typer.Option("--cut", help="End requests that run after the drain limit, instead of giving up.")
    ] = False,
    stop_first: Annotated[
        bool, typer.Option("--stop-first", help="Without the spare engine, where there is one.")
    ] = False,
    level: Annotated[
        str, typer.Option("--gate", help="How deep a new engine is checked: quick, normal, long.")
    ] = "quick",
    api_key_env: Annotated[
        str, typer.Option("--api-key-env", metavar="NAME", help="The environment variable that holds the engines' key.")
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    text_files: Annotated[
        Path | None, typer.Option("--text-files", metavar="DIR", help="Write DIR/NAME.prom for xpukit exporter.")
    ] = None,
    log: Annotated[Path | None, typer.Option("--log", metavar="FILE", help="Append each step to it.")] = None,
    lock: Annotated[
        str, typer.Option("--lock", metavar="FILE", help="One rotation at a time. [/run/lock/xpukit-rotate-NAME.lock]")
    ] = "",
    every: Annotated[str, typer.Option("--every", metavar="TIME", help="With --print-*: how often.")] = "weekly",
    print_timer: Annotated[bool, typer.Option("--print-timer", help="Print units of systemd that do this.")] = False,
    print_cron: Annotated[
        bool, typer.Option("--print-cron", help="Print a file for /etc/cron.d that does this.")
    ] = False,
) -> int:
    """Find the deployment, plan, rotate; the exit code."""
    session = current_session()
    session.take(json=json)
    session.require_live("rotate")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", name):
        raise UsageError(f"{name!r} is no name of a deployment", hint="the --name that serve was given")
    if print_timer or print_cron:
        return _print_schedule(session, name, every, cron=print_cron)
    from xpukit.facts.rotation import find_rotation_limit
    from xpukit.operate.rotate.plan import plan_rotation
    from xpukit.operate.rotate.state import Policy

    policy = Policy(
        drain_s=drain if drain is not None else find_rotation_limit("drain_s"),
        start_s=start if start is not None else find_rotation_limit("start_s"),
        min_healthy=min_healthy,
        only=tuple(only or ()),
        older_than_s=_parse_age(older_than) if older_than else None,
        cut=cut,
        stop_first=stop_first,
    )
    site = _open_site(session, name, api_key_env, level)
    if dry_run:
        states = site.read()
        return _show_plan(session, name, plan_rotation(states, policy), states)
    with _hold_lock(lock or f"{_LOCK_DIR}/xpukit-rotate-{name}.lock", name):
        plan = plan_rotation(site.read(), policy)
        report = _rotate(session, site, plan, policy, name, log)
    if text_files is not None:
        _write_metrics(text_files, report)
    return _show_report(session, report)


def _open_site(session: Session, name: str, api_key_env: str, level: str) -> ComposeSite:
    from xpukit.cli.check import read_key
    from xpukit.host.docker_daemon import DockerDaemon
    from xpukit.operate.rotate.compose_site import ComposeSite
    from xpukit.operate.rotate.deployment import LABEL, find_deployment

    key = read_key(session, api_key_env)
    daemon = DockerDaemon()
    daemon.require()
    deployed = find_deployment(name, daemon.list_containers(label=LABEL))
    return ComposeSite(session.open_host(), daemon, deployed, key=key, level=level)


def _rotate(
    session: Session, site: ComposeSite, plan: RotationPlan, policy: Policy, name: str, log: Path | None
) -> RotationReport:
    from xpukit.core.json_document import now_utc
    from xpukit.host.interrupt import interrupt_on_terminate
    from xpukit.operate.rotate.run import run_rotation

    def tell(step: StepRecord) -> None:
        text = f"{step.slot}: {step.step}: {step.text}"
        session.say(f"{step.seconds:8.1f} s  {text}")
        _append(log, f"{now_utc()} {name} {text}")

    session.say(f"{name}: {plan.mode}: {plan.why}; at least {plan.min_healthy} stay healthy")
    for text in plan.skipped:
        session.say(f"  left out: {text}")
    _append(log, f"{now_utc()} {name} rotation of {len(plan.order)}, {plan.mode}")
    with interrupt_on_terminate():
        report = run_rotation(site, plan, policy, deployment=name, tell=tell)
    _append(log, f"{now_utc()} {name} {report.outcome} {report.why}".rstrip())
    return report


def _append(path: Path | None, line: str) -> None:
    if path is None:
        return
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
    except OSError as err:
        raise OutputError(f"{path}: cannot be written: {err.strerror or err}", hint="another --log") from err


@contextmanager
def _hold_lock(path: str, name: str) -> Iterator[None]:
    from xpukit.core.json_document import now_utc
    from xpukit.host.file_lock import FileLock

    lock = FileLock(path)
    if error := lock.take(f"xpukit rotate {name}, since {now_utc()}"):
        if error in ("EAGAIN", "EACCES"):
            holder = lock.read_holder() or "another user's rotation"
            raise ExternalError(f"{name} is rotated already: {holder}", hint="wait for it; it has limits of its own")
        raise ExternalError(f"{path}: cannot be locked ({error})", hint="--lock FILE names another one")
    try:
        yield
    finally:
        lock.release()


def _show_plan(session: Session, name: str, plan: RotationPlan, states: tuple[SlotState, ...]) -> int:
    from xpukit.cli.rotate_tables import print_rotation_plan
    from xpukit.operate.rotate.state import SCHEMA, RotationReport

    if session.json:
        from xpukit.core.json_document import build_document

        hostname = session.open_host().identity().hostname
        report = RotationReport(
            deployment=name, outcome="planned", plan=plan, rotated=(), steps=(), seconds=0.0, slots=states
        )
        session.print_json(build_document(SCHEMA, hostname, report))
    else:
        print_rotation_plan(session, name, plan, states)
    return int(ExitCode.OK)


def _show_report(session: Session, report: RotationReport) -> int:
    from xpukit.cli.rotate_tables import print_rotation_report
    from xpukit.operate.rotate.state import SCHEMA

    if session.json:
        from xpukit.core.json_document import build_document

        session.print_json(build_document(SCHEMA, session.open_host().identity().hostname, report))
    else:
        print_rotation_report(session, report)
    return judge_report(report)


def judge_report(report: RotationReport) -> int:
    """1: a new engine was not right (or requests did not end) and the old one serves; 4: less serves than before."""
    if report.outcome == "interrupted":
        return int(ExitCode.INTERRUPTED)
    if report.outcome == "failed":
        return int(ExitCode.EXTERNAL_FAILURE if report.out_of_service else ExitCode.JUDGED_FAILING)
    return int(ExitCode.OK)


def _write_metrics(directory: Path, report: RotationReport) -> None:
    import time

    from xpukit.operate.rotate.metrics_file import write_metrics

    try:
        write_metrics(directory, report, time.time())
    except OSError as err:
        raise OutputError(f"{directory}: {err.strerror or err}", hint="another --text-files") from err


def _parse_age(text: str) -> float:
    match = _AGE.fullmatch(text)
    if match is None:
        raise UsageError(f"--older-than {text!r} is no time", hint="for example 30min, 12h, 6d")
    return float(match[1]) * _SECONDS[match[2]]


def _print_schedule(session: Session, name: str, every: str, *, cron: bool) -> int:
    """The same command line without what prints it."""
    from xpukit.operate.rotate.schedule import render_cron, render_timer

    # This very installation: a timer's PATH may not lead to it.
    own = Path(sys.argv[0])
    program = [str(own.absolute())] if own.name == "xpukit" else [sys.executable, "-m", "xpukit"]
    words: list[str] = []
    skip = False
    for word in session.argv:
        if skip or word in ("--print-timer", "--print-cron") or word.startswith("--every="):
            skip = False
        elif word == "--every":
            skip = True
        else:
            words.append(word)
    argv = [*program, *words]
    if cron:
        print(render_cron(name, argv, every), end="")
    else:
        for file, text in render_timer(name, argv, every):
            print(f"# /etc/systemd/system/{file}")
            print(text)
        session.say(f"then: systemctl daemon-reload && systemctl enable --now xpukit-rotate-{name}.timer")
    return int(ExitCode.OK)
