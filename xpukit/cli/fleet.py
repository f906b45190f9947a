"""`xpukit fleet run`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xpukit.cli import fleet_collectives, fleet_preflight
from xpukit.cli.fleet_options import HostsOption, SshConfigOption, StrictOption
from xpukit.cli.session import JsonOption, Session, current_session
from xpukit.core.errors import InterruptedRunError, UsageError

if TYPE_CHECKING:
    from xpukit.operate.fleet.directory import FleetDirectory, FleetOptions
    from xpukit.operate.fleet.hosts import FleetHost
    from xpukit.operate.fleet.ray_run import Event
    from xpukit.operate.fleet.result import FleetReport, HostRecord

SCHEMA = "xpukit.fleet/1"
app = typer.Typer(no_args_is_help=True)
app.command("collectives", help=fleet_collectives.HELP)(fleet_collectives.collectives)
app.command("preflight", help=fleet_preflight.HELP)(fleet_preflight.preflight)


@app.command(
    "run", help='Run "evaluate ...", "probe", "sysinfo" or "doctor" on every host, results into one directory.'
)
def run(
    command: Annotated[
        str, typer.Argument(metavar='"COMMAND ..."', help="In one word: evaluate, probe, sysinfo or doctor.")
    ] = "",
    hosts: HostsOption = "",
    address: Annotated[
        str, typer.Option("--address", metavar="HOST:PORT", help="An existing Ray cluster ('auto': this machine's).")
    ] = "",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where results go. [xpukit-fleet/<time>-<command>]")
    ] = None,
    resume: Annotated[
        Path | None, typer.Option("--resume", metavar="DIR", help="Ask only the hosts that gave no result yet.")
    ] = None,
    timeout: Annotated[
        float | None, typer.Option("--timeout", min=1, metavar="SECONDS", help="For each host. [by command]")
    ] = None,
    at_once: Annotated[int, typer.Option("--at-once", min=1, help="Hosts at a time.")] = 200,
    hold: Annotated[
        list[str] | None,
        typer.Option("--hold", metavar="NAME=N|all", help="Also take this of a host's Ray resources (GPU=all)."),
    ] = None,
    program: Annotated[
        str, typer.Option("--program", metavar="PATH", help="xpukit on the hosts. [where it is here, else on PATH]")
    ] = "",
    send: Annotated[
        bool, typer.Option("--send", help="Send this xpukit; the hosts have Python and its libraries only.")
    ] = False,
    python: Annotated[str, typer.Option("--python", metavar="PATH", help="With --send: the hosts' Python.")] = "",
    ray: Annotated[str, typer.Option("--ray", metavar="DIR", help="Where ray is, on this machine.")] = "",
    remote_ray: Annotated[
        str, typer.Option("--remote-ray", metavar="PATH", help="The program ray on the hosts. [where it is here]")
    ] = "",
    head_address: Annotated[
        str, typer.Option("--head-address", metavar="IP", help="This machine's address, as the hosts see it.")
    ] = "",
    ssh_config: SshConfigOption = None,
    strict_host_keys: StrictOption = False,
    json: JsonOption = False,
) -> int:
    """Ask, keep, say."""
    session = current_session()
    session.take(json=json)
    session.require_live("fleet run")
    from xpukit.operate.fleet.directory import FleetDirectory
    from xpukit.operate.fleet.ray_program import find_ray

    host = session.open_host()
    if resume is not None:
        clash = {"the command": command, "--hosts": hosts, "--out": out, "--address": address, "--hold": hold}
        if given := [name for name, value in clash.items() if value]:
            raise UsageError(f"--resume goes on as was asked for; leave out {', '.join(given)}")
        directory, options = FleetDirectory.reopen(resume)
        left = directory.list_left(options.hosts)
        found = find_ray(host, ray or options.ray) if left else None
    else:
        from xpukit import __version__
        from xpukit.core.json_document import now_utc
        from xpukit.operate.fleet.command import read_command
        from xpukit.operate.fleet.directory import FleetOptions
        from xpukit.operate.fleet.hosts import read_hosts
        from xpukit.operate.fleet.ray_run import list_cluster

        read = read_command(command)
        if python and not send:
            raise UsageError("--python is of --send", hint="--program PATH names xpukit on the hosts")
        if program and send:
            raise UsageError("--program and --send exclude each other", hint="--send brings its own xpukit")
        if not hosts and not address:
            raise UsageError("no host is named", hint="--hosts A,B (over ssh), or --address of a Ray cluster")
        asked = read_hosts(hosts) if hosts else ()
        found = find_ray(host, ray)
        asked = asked or list_cluster(host, found, address)
        options = FleetOptions(
            xpukit_version=__version__,
            created=now_utc(),
            command=read,
            hosts=asked,
            address=address,
            ssh_config=str(ssh_config.resolve()) if ssh_config else "",
            strict_keys=strict_host_keys,
            ray=ray,
            remote_ray=remote_ray,
            head_address=head_address,
            program=program,
            send=send,
            python=python,
            at_once=at_once,
            limit_s=timeout or read.facts.limit_s,
            hold=_read_hold(hold or []),
        )
        stamp = options.created.replace("-", "").replace(":", "").replace("T", "-").rstrip("Z")
        directory = FleetDirectory.create(out or Path("xpukit-fleet") / f"{stamp}-{read.room}", options)
        left = options.hosts
    if found is not None and left:
        from xpukit.operate.fleet.ray_run import run_fleet

        where = f"Ray at {options.address}" if options.address else "Ray over ssh"
        session.say(f'"{options.command.words}" on {len(left)} of {len(options.hosts)} hosts by {where}')
        try:
            run_fleet(host, found, directory, options, left, _Teller(session, len(left)).tell)
        except KeyboardInterrupt:
            hint = f"xpukit fleet run --resume {directory.path}"
            raise InterruptedRunError("interrupted; what came is kept", hint=hint) from None
    else:
        session.say("every host has given its result already")
    return _conclude(session, directory, options)


def _read_hold(words: list[str]) -> dict[str, str]:
    hold: dict[str, str] = {}
    for word in words:
        name, equals, amount = word.partition("=")
        try:
            fits = amount == "all" or float(amount) > 0
        except ValueError:
            fits = False
        if not name or not equals or not fits:
            raise UsageError(f"--hold {word}: not NAME=AMOUNT", hint="--hold GPU=all or --hold CPU=4")
        hold[name] = amount
    return hold


class _Teller:
    """Progress, a line per host, on standard error."""

    def __init__(self, session: Session, hosts: int) -> None:
        self._session = session
        self._hosts = hosts
        self._over = 0

    def tell(self, record: HostRecord | None, event: Event) -> None:
        """Say what happened."""
        if event.event == "cluster":
            self._session.say(f"Ray {event.ray} at {event.address}")
        elif event.event == "swept":
            self._session.say(f"took away {event.folder}: a run that was killed had left it")
        elif event.event == "running" and self._session.verbose:
            self._session.say(f"{event.host} ({event.address}): running")
        if record is None:
            return
        self._over += 1
        word = record.verdict or ("" if record.status != "done" else f"exit {record.rc}")
        text = ", ".join(part for part in (record.status, word, record.why) if part)
        self._session.say(f"{self._over} of {self._hosts}: {record.host}: {text} ({record.seconds:.0f} s)")


def _conclude(session: Session, directory: FleetDirectory, options: FleetOptions) -> int:
    from xpukit.operate.fleet.result import FleetReport, count_statuses, decide_exit
    from xpukit.operate.fleet.table import write_table

    records = directory.list_records(options.hosts)
    report = FleetReport(
        command=options.command.words,
        directory=str(directory.path),
        engine=f"Ray cluster {options.address}" if options.address else "Ray over ssh",
        counts=count_statuses(records),
        hosts=records,
        complete=all(record.status == "done" for record in records),
    )
    table = write_table(directory, options.hosts) if options.command.room == "evaluate" else None
    if session.json:
        from xpukit.core.json_document import build_document

        session.print_json(build_document(SCHEMA, session.open_host().identity().hostname, report))
    else:
        from xpukit.cli.fleet_tables import print_fleet

        print_fleet(session, report)
    _advise(session, directory, options.hosts, report, table)
    return int(decide_exit(records))


def _advise(
    session: Session, directory: FleetDirectory, hosts: tuple[FleetHost, ...], report: FleetReport, table: Path | None
) -> None:
    session.say(f"results: {directory.path}")
    if table is not None:
        session.say(f"rows: {table}")
    if not report.complete:
        session.say(f"  next: xpukit fleet run --resume {directory.path}")
    elif report.command.startswith("evaluate") and len(hosts) > 1:
        session.say(f"  next: xpukit compare {directory.path}")
