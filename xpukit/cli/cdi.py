"""`xpukit cdi`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from xpukit.cli.session import FromOption, JsonOption, Session, current_session
from xpukit.core.errors import CouldNotJudgeError, ExitCode, UsageError

SCHEMA = "xpukit.cdi-check/1"


def cdi(
    json: JsonOption = False,
    source: FromOption = None,
    write: Annotated[bool, typer.Option("--write", help="Write the file instead of printing it.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Is the file on disk still true? Exit 1 when not.")] = False,
    systemd: Annotated[
        bool, typer.Option("--systemd", help="Print the unit and the udev rule that keep the file true.")
    ] = False,
    no_groups: Annotated[
        bool,
        typer.Option("--no-groups", help="Leave the groups out: an older form, which older runtimes read (Podman 4)."),
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="FILE", help="The file to write or check. [/etc/cdi/intel.com-gpu.json]"),
    ] = None,
    dynamic: Annotated[
        bool, typer.Option("--dynamic", help="Use /var/run/cdi, which is empty after each boot.")
    ] = False,
) -> int:
    """Probe, build the document, then print, write or compare it."""
    session = current_session()
    session.take(json=json, source=source)
    if write + check + systemd > 1:
        raise UsageError("--write, --check and --systemd exclude each other", hint="give one of them")
    if dynamic and output is not None:
        raise UsageError("--dynamic and --output both name a place", hint="give one of them")
    from xpukit.images.cdi_file import default_path

    path = output or default_path(dynamic=dynamic)
    if systemd:
        return _print_systemd(session, path, groups=not no_groups)
    if write:
        session.require_live("cdi --write")
    from xpukit.container.gpu_nodes import find_gpu_nodes
    from xpukit.images.cdi import build_cdi
    from xpukit.probe.machine import probe_machine

    host = session.open_host()
    gpus = find_gpu_nodes(host, probe_machine(host))
    for gpu in gpus:
        if gpu.missing:
            session.warn(f"GPU {gpu.index} ({gpu.bdf}) is left out: {gpu.missing}")
        for group in gpu.groups:
            if group.gid is None:
                session.warn(f"the group of {group.node} is not known: only root will be able to open it inside")
    document = build_cdi(gpus, groups=not no_groups)
    if check:
        return _check(session, str(path), document, build_cdi(gpus, groups=no_groups))
    if not document["devices"]:
        raise CouldNotJudgeError(
            "no Intel GPU with a render node: there is nothing to specify", hint="see: xpukit doctor"
        )
    if write:
        from xpukit.images.cdi_file import write_cdi

        write_cdi(document, path)
        session.say(f"{path}: {len(document['devices'])} names; try: docker run --device intel.com/gpu=all …")
    else:
        session.print_json(document)
    return int(ExitCode.OK)


def _check(session: Session, path: str, document: dict[str, object], other: dict[str, object]) -> int:
    """Compare the file; it may have the groups or not."""
    from xpukit.images.cdi_file import compare_cdi

    state = compare_cdi(session.open_host(), path, document, also=[other])
    if session.json:
        from xpukit.core.json_document import build_document

        session.print_json(build_document(SCHEMA, session.open_host().identity().hostname, state))
    else:
        print(f"{path}: {state.state}")
        for difference in state.differences:
            print(f"  {difference}")
        if state.state in ("missing", "stale"):
            session.say("  next: sudo xpukit cdi --write")
    if state.state == "unreadable":
        return int(ExitCode.COULD_NOT_JUDGE)
    return int(ExitCode.OK if state.state == "current" else ExitCode.JUDGED_FAILING)


def _print_systemd(session: Session, path: Path, *, groups: bool) -> int:
    from xpukit.images.cdi_file import render_systemd

    if not path.is_absolute():
        raise UsageError(f"{path} is not absolute", hint="a service has no current directory")
    program = session.open_host().which("xpukit").value or "/usr/local/bin/xpukit"
    print(render_systemd(program, str(path), groups=groups), end="")
    return int(ExitCode.OK)
