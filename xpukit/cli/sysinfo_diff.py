"""`xpukit sysinfo diff`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xpukit.cli.session import JsonOption, Session, current_session
from xpukit.core.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from xpukit.host.door import Host
    from xpukit.host.mediated import Question
    from xpukit.sysinfo.diff_result import AnswerText, Side, SideInfo

HELP = "Say what differs between two bundles, or between a bundle and this machine."
SCHEMA = "xpukit.sysinfo-diff/1"


def diff(
    bundles: Annotated[
        list[Path],
        typer.Argument(metavar="A [B]", help="Bundles or recordings; without B, A is compared with this machine."),
    ],
    json: JsonOption = False,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Exit 1 when something differs, as diff does.")
    ] = False,
) -> int:
    """Look at both, compare, print."""
    session = current_session()
    session.take(json=json)
    if session.source is not None:
        raise UsageError("diff takes its bundles as arguments", hint="leave out --from")
    if len(bundles) > 2:
        raise UsageError("diff compares two", hint="xpukit sysinfo diff A B")
    from xpukit.host.redaction.mask_secrets import mask_struct
    from xpukit.sysinfo.diff import compare_sides

    a = _open_bundle(session, bundles[0])
    b = _open_bundle(session, bundles[1]) if len(bundles) == 2 else _look_here(session, a.answers)
    result = mask_struct(compare_sides(a, b))
    if session.json:
        from xpukit.core.json_document import build_document

        session.print_json(build_document(SCHEMA, "", result))
    else:
        from xpukit.cli.sysinfo_diff_tables import print_diff

        print_diff(result, color=session.color, verbose=session.verbose)
    return int(ExitCode.JUDGED_FAILING if exit_code and not result.same else ExitCode.OK)


def _open_bundle(session: Session, source: Path) -> Side:
    """One side from a recording, leniently: what it was not asked is not compared. Raises BadRecordingError."""
    from xpukit.host.replay import ReplayHost
    from xpukit.sysinfo.diff_answers import load_answers
    from xpukit.sysinfo.diff_result import SideInfo

    host = ReplayHost(source, strict=False)
    if host.damaged_lines:
        session.warn(f"{source}: {host.damaged_lines} answers are damaged and were passed over")
    manifest = host.manifest
    info = SideInfo(
        source=str(source),
        host=manifest.host,
        created=manifest.created,
        xpukit_version=manifest.xpukit_version,
        complete=manifest.complete,
    )
    return _examine(host, info, load_answers(source))


def _look_here(session: Session, asked: Mapping[Question, AnswerText]) -> Side:
    """This machine as the other side: it is asked for the files and variables that the bundle has as settings."""
    from xpukit import __version__
    from xpukit.core.json_document import now_utc
    from xpukit.facts.diff_rules import load_diff_rules
    from xpukit.sysinfo.diff_answers import ask_answers, name_question
    from xpukit.sysinfo.diff_result import SideInfo

    host = session.open_host()
    rules = load_diff_rules()
    questions = [
        question for question in asked if rules.find_setting(name_question(question)) or question[0] == "env-names"
    ]
    info = SideInfo(source="", host=host.identity().hostname, created=now_utc(), xpukit_version=__version__, live=True)
    return _examine(host, info, ask_answers(host, questions))


def _examine(host: Host, info: SideInfo, answers: dict[Question, AnswerText]) -> Side:
    from xpukit.doctor.examine import examine_machine
    from xpukit.host.asked_once import AskedOnceHost
    from xpukit.probe.machine import probe_machine
    from xpukit.sysinfo.diff_result import Side

    once = AskedOnceHost(host)
    machine = probe_machine(once, include_all=True)
    diagnosis = examine_machine(once, machine)
    return Side(info=info, machine=machine, findings=diagnosis.findings, unchecked=diagnosis.unchecked, answers=answers)
