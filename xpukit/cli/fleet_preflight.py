"""`xpukit fleet preflight`."""

from __future__ import annotations

from typing import Annotated

import typer

from xpukit.cli.fleet_options import HostsOption, SshConfigOption, StrictOption
from xpukit.cli.session import JsonOption, current_session
from xpukit.core.errors import UsageError

HELP = "Look at several hosts before a launch over them: ssh, clocks, MTU, ports, bandwidth, image, model."
SCHEMA = "xpukit.fleet-preflight/1"
_STYLES = {"fail": "bold red", "warn": "yellow", "unknown": "magenta"}


def preflight(
    hosts: HostsOption = "",
    form: Annotated[str, typer.Option("--for", metavar="FORM", help="swarm or ray: their ports, Docker.")] = "",
    port: Annotated[
        list[int] | None, typer.Option("--port", min=1, max=65535, help="A TCP port of the engine's; repeatable.")
    ] = None,
    image: Annotated[str, typer.Option("--image", metavar="IMAGE", help="Must be the same everywhere.")] = "",
    model: Annotated[str, typer.Option("--model", metavar="DIR", help="Must hold the same files everywhere.")] = "",
    full_hash: Annotated[
        bool, typer.Option("--full-hash", help="Of the model's large files read all, not both ends.")
    ] = False,
    least: Annotated[
        float | None, typer.Option("--min-gbits", min=0, metavar="GBIT/S", help="Less between two hosts fails.")
    ] = None,
    bandwidth: Annotated[
        bool, typer.Option("--network/--no-network", help="Try ports and bandwidth (256 MiB or 4 s a pair).")
    ] = True,
    ssh_config: SshConfigOption = None,
    strict_host_keys: StrictOption = False,
    json: JsonOption = False,
) -> int:
    """Look, print, say the verdict."""
    session = current_session()
    session.take(json=json)
    session.require_live("fleet preflight")
    if form not in ("", "swarm", "ray"):
        raise UsageError(f"--for {form} is neither swarm nor ray")
    from xpukit.operate.fleet.hosts import read_hosts
    from xpukit.operate.fleet.preflight import PreflightWish, look_before
    from xpukit.operate.fleet.preflight_result import decide_preflight_exit
    from xpukit.operate.fleet.ssh import SshSettings

    wish = PreflightWish(
        form=form,
        ports=tuple(port or ()),
        image=image,
        model=model,
        full_hash=full_hash,
        least_gbits=least,
        bandwidth=bandwidth,
    )
    settings = SshSettings(config=str(ssh_config.resolve()) if ssh_config else "", strict=strict_host_keys)
    host = session.open_host()
    report = look_before(host, settings, read_hosts(hosts), wish, session.say)
    if session.json:
        from xpukit.core.json_document import build_document

        session.print_json(build_document(SCHEMA, host.identity().hostname, report))
    else:
        from xpukit.cli.render import make_console, print_table

        rows = [(row.name, row.where, row.verdict, row.value, row.why) for row in report.rows]
        styles = [_STYLES.get(row.verdict, "") for row in report.rows]
        print_table("", ("what", "where", "verdict", "value", "why"), rows, color=session.color, styles=styles)
        console = make_console(color=session.color)
        for remedy in dict.fromkeys(row.remedy for row in report.rows if row.remedy):
            console.print(f"next: {remedy}")
        console.print(f"verdict: {report.verdict}")
    return int(decide_preflight_exit(report.verdict))
