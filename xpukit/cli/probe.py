"""`xpukit probe`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from xpukit.cli.session import FromOption, JsonOption, current_session
from xpukit.core.errors import ExitCode, UsageError

SCHEMA = "xpukit.probe/1"


def probe(
    json: JsonOption = False,
    source: FromOption = None,
    include_all: Annotated[bool, typer.Option("--all", help="Also NICs and NVMe drives in the topology.")] = False,
    dot: Annotated[
        Path | None, typer.Option("--dot", metavar="FILE", help="Write the topology as Graphviz source ('-': stdout).")
    ] = None,
    svg: Annotated[
        Path | None, typer.Option("--svg", metavar="FILE", help="Write the topology as an SVG drawing ('-': stdout).")
    ] = None,
) -> int:
    """Read the machine, join what the sources say, print it."""
    session = current_session()
    session.take(json=json, source=source)
    if [str(file) for file in (dot, svg)].count("-") > 1 or (session.json and "-" in (str(dot), str(svg))):
        raise UsageError("only one document fits standard output", hint="give the others file names")
    from xpukit.probe.machine import probe_machine

    host = session.open_host()
    machine = probe_machine(host, include_all=include_all)
    if dot is not None or svg is not None:
        from xpukit.cli.output import write_text
        from xpukit.probe.draw import draw_dot, draw_svg

        if dot is not None:
            write_text(dot, draw_dot(machine))
        if svg is not None:
            write_text(svg, draw_svg(machine))
    if session.json:
        from xpukit.core.json_document import build_document

        session.print_json(build_document(SCHEMA, host.identity().hostname, machine))
    elif "-" not in (str(dot), str(svg)):
        from xpukit.cli.probe_tables import print_machine

        print_machine(machine, host.identity().hostname, color=session.color, verbose=session.verbose)
    return int(ExitCode.OK)
