"""`xpukit doctor`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from xpukit.cli.session import FromOption, JsonOption, Session, current_session
from xpukit.core.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from xpukit.core.finding import Finding
    from xpukit.doctor.check import Check
    from xpukit.doctor.report import Acceptance, Report
    from xpukit.host.door import Host

SCHEMA = "xpukit.doctor/1"
# What `probe` concludes by itself, named like a check.
PROBE = "probe"


def doctor(
    json: JsonOption = False,
    source: FromOption = None,
    brief: Annotated[bool, typer.Option("--brief", help="One line a finding.")] = False,
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="CHECK", help="Only this check (may be repeated; see --list).")
    ] = None,
    ignore: Annotated[
        list[str] | None,
        typer.Option("--ignore", metavar="XPK-ID[@SUBJECT]", help="Accept this finding: counted, not judged."),
    ] = None,
    show_list: Annotated[bool, typer.Option("--list", help="List the checks and the findings they can give.")] = False,
    fix: Annotated[
        bool, typer.Option("--fix", help="Print the commands that put it right as a shell script; runs nothing.")
    ] = False,
    log: Annotated[
        list[str] | None,
        typer.Option("--log", metavar="FILE", help="Explain a log instead ('-': standard input; may be repeated)."),
    ] = None,
) -> int:
    """Examine, print, say the verdict."""
    session = current_session()
    session.take(json=json, source=source)
    if sum((brief, fix, show_list, session.json and not show_list)) > 1:
        raise UsageError("--brief, --fix, --list and --json exclude each other", hint="choose one")
    if log:
        if only or ignore or fix or show_list:
            raise UsageError("--log explains a log; the other options are about the machine", hint="leave them out")
        from xpukit.cli.doctor_log import explain_log

        return int(explain_log(session, list(log)))
    from xpukit.doctor.registry import list_checks

    chosen, with_probe = _choose_checks(list_checks(), only or [])
    if show_list:
        return _show_list(session, chosen, with_probe=with_probe)
    from xpukit.doctor.report import judge_report, parse_acceptance

    accepted = [parse_acceptance(text) for text in ignore or []]
    host = session.open_host()
    report = examine_host(host, chosen, accepted=accepted, with_probe=with_probe)
    hostname = host.identity().hostname
    for item in accepted:
        if not any(item.covers(finding) for finding in report.ignored):
            session.warn(f"--ignore {item.id}{'@' if item.subject else ''}{item.subject}: no such finding here")
    if session.json:
        from xpukit.core.json_document import build_document

        session.print_json(build_document(SCHEMA, hostname, report))
    elif fix:
        _print_script(report, host, hostname)
    else:
        from xpukit.cli.doctor_tables import print_report

        print_report(report, hostname, color=session.color, brief=brief)
    return int(judge_report(report))


def _choose_checks(checks: Sequence[Check], only: Sequence[str]) -> tuple[list[Check], bool]:
    """The checks to run, and whether what probe concludes is wanted too. Raises UsageError."""
    if not only:
        return list(checks), True
    names = {check.name for check in checks} | {PROBE}
    unknown = sorted(set(only) - names)
    if unknown:
        raise UsageError(f"no such check: {', '.join(unknown)}", hint="see: xpukit doctor --list")
    return [check for check in checks if check.name in only], PROBE in only


def examine_host(
    host: Host, checks: Sequence[Check], *, accepted: Sequence[Acceptance] = (), with_probe: bool = True
) -> Report:
    """What is wrong with a machine: what `probe` concludes (`with_probe`) and what `checks` find."""
    import msgspec

    from xpukit.doctor.examine import examine_machine
    from xpukit.doctor.report import build_report
    from xpukit.host.asked_once import AskedOnceHost
    from xpukit.host.redaction.mask_secrets import mask_struct
    from xpukit.probe.machine import probe_machine

    host = AskedOnceHost(host)
    machine = probe_machine(host)
    if not with_probe:
        machine = msgspec.structs.replace(machine, findings=())
    # A finding quotes what it saw, a container's command too.
    report = mask_struct(build_report(examine_machine(host, machine, checks=checks), accepted))
    return msgspec.structs.replace(report, checks=(PROBE, *report.checks)) if with_probe else report


def _show_list(session: Session, checks: Sequence[Check], *, with_probe: bool) -> int:
    from xpukit.cli.doctor_tables import print_checks
    from xpukit.doctor.check import Check

    probe = Check(name=PROBE, summary="what xpukit probe concludes", ids=("XPK-PROBE-…",), look=lambda _: ())
    listed = [probe, *checks] if with_probe else list(checks)
    if session.json:
        from xpukit.core.json_document import build_document

        rows = [
            {"name": check.name, "summary": check.summary, "concerns": check.concerns, "ids": list(check.ids)}
            for check in listed
        ]
        session.print_json(build_document("xpukit.doctor-checks/1", "", {"checks": rows}))
    else:
        print_checks(listed, color=session.color)
    return int(ExitCode.OK)


def _print_script(report: Report, host: Host, hostname: str) -> None:
    import sys

    from xpukit import __version__
    from xpukit.cli.evaluate_advice import find_stack_of, name_install_command
    from xpukit.doctor.fix_script import write_fix_script

    stack = find_stack_of(host)

    def name_install(finding: Finding) -> str:
        return name_install_command(stack, finding.install_step, commands=finding.commands)

    sys.stdout.write(write_fix_script(report, host=hostname, version=__version__, name_install=name_install))
