"""`xpukit exporter`."""

from __future__ import annotations

import ipaddress
import signal
import threading
import time
from typing import TYPE_CHECKING, Annotated

import typer

from xpukit.cli.session import FromOption, Session, current_session
from xpukit.core.errors import ExitCode, ExternalError, UsageError

if TYPE_CHECKING:
    from xpukit.core.machine import Machine
    from xpukit.host import Host
    from xpukit.operate.exporter.collect import Exporter, SmiReadings

DEFAULT_PORT = 9808
_SMI_TIMEOUT_S = 15.0
# Between the two readings of --once: rates and shares of time need two.
_ONCE_WAIT_S = 1.0


def exporter(
    source: FromOption = None,
    once: Annotated[bool, typer.Option("--once", help="Print the metrics and end.")] = False,
    listen: Annotated[
        str, typer.Option("--listen", metavar="ADDRESS", help="Address to listen on; it has no users or encryption.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0 takes a free one.")] = DEFAULT_PORT,
    interval_s: Annotated[
        float, typer.Option("--interval-s", min=5, max=3600, help="Seconds between readings of the slow sources.")
    ] = 30.0,
    level_zero: Annotated[
        bool, typer.Option("--level-zero/--no-level-zero", help="Ask Level Zero too (in a child process).")
    ] = True,
    xpu_smi: Annotated[
        bool, typer.Option("--xpu-smi/--no-xpu-smi", help="Ask xpu-smi for what nothing else says.")
    ] = True,
    text_files: Annotated[
        str, typer.Option("--text-files", metavar="DIR", help="Pass on *.prom files of this directory (rotations).")
    ] = "",
) -> int:
    """Read the GPUs, print or serve."""
    session = current_session()
    session.take(source=source)
    _require_library()
    address = _check_address(listen)
    if session.json:
        raise UsageError("exporter speaks Prometheus' text form", hint="use probe --json for JSON")
    if session.source is not None:
        once = True  # a recording does not move
    host = session.open_host()
    found = _make_exporter(host, level_zero=level_zero, xpu_smi=xpu_smi, text_files=text_files, interval_s=interval_s)
    found.refresh()
    found.scan()
    if once:
        _print_once(found, live=session.source is None)
        return int(ExitCode.OK)
    return _serve(session, found, address, port)


def _require_library() -> None:
    try:
        import prometheus_client  # noqa: F401
    except ImportError as err:
        raise ExternalError(
            "the Python package prometheus-client is not installed", hint="pip install 'xpukit[monitor]'"
        ) from err


def _check_address(listen: str) -> str:
    try:
        return str(ipaddress.ip_address("127.0.0.1" if listen == "localhost" else listen))
    except ValueError as err:
        raise UsageError(f"--listen {listen}: not an address", hint="give one as 127.0.0.1 or ::1") from err


def _make_exporter(host: Host, *, level_zero: bool, xpu_smi: bool, text_files: str, interval_s: float) -> Exporter:
    from xpukit.operate.exporter.collect import Exporter
    from xpukit.probe.machine import probe_machine

    return Exporter(
        host,
        lambda: probe_machine(host),
        ask_smi=(lambda machine: ask_smi(host, machine)) if xpu_smi else None,
        level_zero=level_zero,
        text_files=text_files,
        interval_s=interval_s,
    )


def ask_smi(host: Host, machine: Machine) -> SmiReadings:
    """xpu-smi's readings by BDF, under the names of its parser; {} where it is not there or says nothing.

    All cards in one call, for each call starts the tool anew; one by one where that gives nothing.
    """
    places = {device.xpu_smi_index: device.bdf for device in machine.devices if device.xpu_smi_index is not None}
    together = ",".join(str(index) for index in sorted(places))
    found, goes_on = _dump_smi(host, together, places) if places else ({}, False)
    if not found and goes_on and len(places) > 1:
        for index in sorted(places):
            more, goes_on = _dump_smi(host, str(index), places)
            found.update(more)
            if not goes_on:
                break
    return found


def _dump_smi(host: Host, indices: str, places: dict[int, str]) -> tuple[dict[str, dict[str, float]], bool]:
    """(readings, whether another call may do better): a tool that is not there, or hangs, is not asked again."""
    from xpukit.evaluate.parsers.xpu_smi_dump import parse_dump
    from xpukit.facts.exporter_metrics import load_exporter_sources

    for words in load_exporter_sources().xpu_smi_dump.arguments:
        argv = [word.replace("{device}", indices) for word in words]
        ran = host.run(["xpu-smi", *argv], timeout_s=_SMI_TIMEOUT_S)
        found: dict[str, dict[str, float]] = {}
        for row in parse_dump(ran.text, ran.err_text).readings:
            if row.tile is None and row.device in places:
                values = {cell.column.metric: cell.value for cell in row.cells if cell.value is not None}
                found[places[row.device]] = {name: value for name, value in values.items() if name}
        if found or ran.failure:
            return found, not ran.failure
    return {}, True


def _print_once(found: Exporter, *, live: bool) -> None:
    from xpukit.operate.exporter.expose import render_text

    samples = found.collect()
    if live and any(sample.name == "hw_gpu_info" for sample in samples):
        time.sleep(_ONCE_WAIT_S)
        samples = found.collect()
    print(render_text(samples), end="")


def _serve(session: Session, found: Exporter, address: str, port: int) -> int:
    from xpukit.operate.exporter.expose import start_server

    server = start_server(found.collect, address=address, port=port)
    shown = f"[{address}]" if ":" in address else address
    session.say(f"metrics at http://{shown}:{server.server_port}/metrics (Ctrl-C ends it)")
    if not ipaddress.ip_address(address).is_loopback:
        session.warn(f"{address} is not loopback: whoever reaches the port sees names of processes and containers")
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: ended.set())
    found.start()
    try:
        ended.wait()
    finally:
        found.stop()
        server.shutdown()
    return int(ExitCode.OK)
