"""`xpukit sysinfo`: collect; `show` and `diff` are commands of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xpukit.cli import sysinfo_diff, sysinfo_show
from xpukit.cli.session import FromOption, JsonOption, Session, current_session
from xpukit.core.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from xpukit.host import Host
    from xpukit.sysinfo.bundle import Document
    from xpukit.sysinfo.collection import Collection, Room, SysinfoReport
    from xpukit.sysinfo.collector import Collector

SCHEMA = "xpukit.sysinfo/1"
_MAX_SIZE = "50M"

app = typer.Typer(rich_markup_mode=None)
app.command("show", help=sysinfo_show.HELP)(sysinfo_show.show)
app.command("diff", help=sysinfo_diff.HELP)(sysinfo_diff.diff)


@app.callback(invoke_without_command=True)
def sysinfo(
    context: typer.Context,
    json: JsonOption = False,
    source: FromOption = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE|DIR", help="Where the bundle goes (default: here).")
    ] = None,
    archive_format: Annotated[
        str | None, typer.Option("--format", metavar="zst|xz", help="How it is compressed (default: zst).")
    ] = None,
    preset: Annotated[
        str, typer.Option("--preset", metavar="NAME", help="How much: minimal, default or full.")
    ] = "default",
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="A,B", help="Only these collectors (see --list).")
    ] = None,
    skip: Annotated[list[str] | None, typer.Option("--skip", metavar="A,B", help="Without these collectors.")] = None,
    timeout_s: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", min=1, max=3600, help="For the whole collection.")
    ] = 120.0,
    max_size: Annotated[
        str, typer.Option("--max-size", metavar="SIZE", help="Of all answers together, unpacked.")
    ] = _MAX_SIZE,
    show_list: Annotated[bool, typer.Option("--list", help="List the collectors; collects nothing.")] = False,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Say how much it would be; runs and reads nothing.")
    ] = False,
    no_redact: Annotated[
        int, typer.Option("--no-redact", count=True, help="Leave names and secrets in; has to be said twice.")
    ] = 0,
) -> int:
    """Choose, collect, write, say what came of it."""
    session = current_session()
    session.take(json=json, source=source)
    if context.invoked_subcommand is not None:
        return int(ExitCode.OK)
    from xpukit.cli.sysinfo_output import parse_size
    from xpukit.cli.sysinfo_redaction import check_no_redact
    from xpukit.sysinfo.choose import choose_collectors, parse_preset, split_names
    from xpukit.sysinfo.registry import list_collectors

    if session.record is not None:
        raise UsageError("sysinfo makes a recording itself; --record does not go with it", hint="leave --record out")
    if show_list and estimate:
        raise UsageError("--list and --estimate exclude each other", hint="choose one")
    chosen = choose_collectors(
        list_collectors(),
        preset=parse_preset(preset),
        only=split_names(only or ()),
        skip=split_names(skip or ()),
    )
    redact = check_no_redact(no_redact)
    max_bytes = parse_size(max_size)
    if show_list:
        return _print_list(session, choose_collectors(list_collectors(), preset="full"), chosen)
    if estimate:
        return _print_estimate(session, chosen, timeout_s)
    report = _collect(
        session,
        chosen,
        output=output,
        archive_format=archive_format,
        preset="" if only else preset,
        timeout_s=timeout_s,
        max_bytes=max_bytes,
        redact=redact,
    )
    return int(ExitCode.INTERRUPTED if report.collection.interrupted else ExitCode.OK)


def _collect(
    session: Session,
    chosen: tuple[Collector, ...],
    *,
    output: Path | None,
    archive_format: str | None,
    preset: str,
    timeout_s: float,
    max_bytes: int,
    redact: bool,
) -> SysinfoReport:
    from xpukit.cli.sysinfo_output import choose_target
    from xpukit.cli.sysinfo_progress import Progress, end_like_interrupt, finish_in_peace
    from xpukit.cli.sysinfo_redaction import BundleRedaction
    from xpukit.cli.sysinfo_tables import print_outcome
    from xpukit.core.json_document import build_document
    from xpukit.sysinfo.bundle import Order, write_bundle

    host = _open_source(session)
    redaction = BundleRedaction(host, enabled=redact, on_this_host=session.source is None)
    target = choose_target(output, archive_format, redaction.host_pseudonym, redacted=redact)
    order = Order(
        target=target,
        collectors=chosen,
        preset=preset,
        timeout_s=timeout_s,
        max_bytes=max_bytes,
        rooms=list_rooms(),
        documents=list_documents(target.name),
        command=("xpukit", *session.argv),
    )
    progress = Progress(session)
    try:
        with end_like_interrupt():
            report = write_bundle(
                host, order, redaction.describe(), progress=progress, finishing=lambda: finish_in_peace(session)
            )
    finally:
        progress.clear()
    redaction.keep_map(session)
    if session.json:
        session.print_json(build_document(SCHEMA, redaction.host_pseudonym, report))
    print_outcome(session, report, map_path=redaction.map_path)
    return report


def _open_source(session: Session) -> Host:
    """This machine, or a bundle to pack again; what an old one does not hold is noted as missing."""
    if session.source is None:
        return session.open_host()
    from xpukit.host.replay import ReplayHost

    return ReplayHost(session.source, strict=False)


def list_rooms() -> tuple[Room, ...]:
    """The commands whose questions are asked first, so that they can be answered from the bundle."""
    from xpukit.sysinfo.collection import Room

    def probe(host: Host) -> None:
        from xpukit.probe.machine import probe_machine

        # `probe --all` asks the most.
        probe_machine(host, include_all=True)

    def serve(host: Host) -> None:
        from xpukit.container.gpu_nodes import find_gpu_nodes
        from xpukit.probe.machine import probe_machine
        from xpukit.serve.calibrate import load_corrections
        from xpukit.serve.last_run import find_last_run

        find_last_run(host)
        load_corrections(host)
        find_gpu_nodes(host, probe_machine(host))

    return (
        Room(name="probe", summary="what xpukit probe asks", ask=probe),
        Room(name="doctor", summary="what xpukit doctor asks", ask=_examine),
        # Not the model's directory, which the command line names.
        Room(name="serve", summary="what xpukit serve asks of the machine", ask=serve, asks_all=False),
    )


def list_documents(bundle: str) -> tuple[Document, ...]:
    """The files that are made from the finished recording; `bundle` is the archive's name."""
    from xpukit.core.json_document import build_document, encode_json
    from xpukit.host.asked_once import AskedOnceHost
    from xpukit.probe.machine import probe_machine
    from xpukit.sysinfo.bundle import Document
    from xpukit.sysinfo.containers import list_summary_images
    from xpukit.sysinfo.summary import build_summary

    def probe(host: Host, _: Collection) -> str:
        from xpukit.cli.probe import SCHEMA as PROBE_SCHEMA

        return encode_json(build_document(PROBE_SCHEMA, host.identity().hostname, probe_machine(host)))

    def findings(host: Host, _: Collection) -> str:
        from xpukit.cli.doctor import SCHEMA as DOCTOR_SCHEMA

        host = AskedOnceHost(host)
        return encode_json(build_document(DOCTOR_SCHEMA, host.identity().hostname, _examine(host)))

    def summary(host: Host, collection: Collection) -> str:
        host = AskedOnceHost(host)
        images = list_summary_images(host)
        return build_summary(probe_machine(host), _examine(host), collection, images=images, bundle=bundle)

    return (
        Document(name="probe.json", make=probe),
        Document(name="findings.json", make=findings),
        Document(name="summary.md", make=summary),
    )


def _examine(host: Host) -> Any:
    from xpukit.cli.doctor import examine_host
    from xpukit.doctor.registry import list_checks

    return examine_host(host, list_checks())


def _print_list(session: Session, collectors: tuple[Collector, ...], chosen: tuple[Collector, ...]) -> int:
    from xpukit.cli.sysinfo_tables import print_collectors

    if session.json:
        from xpukit.core.json_document import build_document

        rows = [
            {
                "name": collector.name,
                "summary": collector.summary,
                "preset": collector.preset,
                "timeout_s": collector.timeout_s,
                "root_adds": collector.root_adds,
                "chosen": collector in chosen,
            }
            for collector in collectors
        ]
        session.print_json(build_document("xpukit.sysinfo-collectors/1", "", {"collectors": rows}))
    else:
        print_collectors(collectors, chosen, color=session.color)
    return int(ExitCode.OK)


def _print_estimate(session: Session, chosen: tuple[Collector, ...], timeout_s: float) -> int:
    from xpukit.cli.sysinfo_tables import print_estimates
    from xpukit.sysinfo.collection import estimate_bundle, estimate_machine

    estimates = estimate_machine(_open_source(session), chosen)
    if session.json:
        from xpukit.core.json_document import build_document

        body = {"estimates": estimates, "bundle": estimate_bundle(estimates), "at_most_s": timeout_s}
        session.print_json(build_document("xpukit.sysinfo-estimate/1", "", body))
    else:
        print_estimates(estimates, timeout_s, color=session.color)
    return int(ExitCode.OK)
