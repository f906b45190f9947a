"""`xpukit monitor print` and `up`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xpukit.cli.session import current_session
from xpukit.core.errors import ExitCode, OutputError, UsageError

if TYPE_CHECKING:
    from xpukit.operate.monitor.settings import MonitorSettings

app = typer.Typer(no_args_is_help=True)

ExporterOption = Annotated[
    list[str] | None,
    typer.Option("--exporter", metavar="HOST:PORT", help="An exporter to scrape; repeatable [127.0.0.1:9808]."),
]
EngineOption = Annotated[
    list[str] | None,
    typer.Option("--engine", metavar="ENGINE=HOST:PORT", help="vllm= or sglang= and its address; repeatable."),
]
BalancerOption = Annotated[
    list[str] | None,
    typer.Option(
        "--balancer",
        metavar="ENGINE=HOST:PORT",
        help="vllm= or sglang= and the metrics' address of a balancer: its engines are followed; repeatable.",
    ),
]
ListenOption = Annotated[
    str, typer.Option("--listen", metavar="ADDRESS", help="Grafana's address; Prometheus stays on loopback.")
]
GrafanaPortOption = Annotated[int, typer.Option("--grafana-port", min=1, max=65535)]
PrometheusPortOption = Annotated[int, typer.Option("--prometheus-port", min=1, max=65535)]
RetentionOption = Annotated[int, typer.Option("--retention-days", min=1, max=3650)]
# Alerts look five minutes back, and need two scrapes in that time.
ScrapeOption = Annotated[int, typer.Option("--scrape-interval-s", min=1, max=120)]
SlaOption = Annotated[
    float, typer.Option("--ttft-sla-s", min=0.001, help="Alert when 95 % of first tokens take longer.")
]
PrometheusImageOption = Annotated[str, typer.Option("--prometheus-image", metavar="IMAGE", help="Instead of ours.")]
GrafanaImageOption = Annotated[str, typer.Option("--grafana-image", metavar="IMAGE", help="Instead of ours.")]
ExporterImageOption = Annotated[
    str,
    typer.Option("--exporter-image", metavar="IMAGE", help="Run the exporter in a container of this image too."),
]


@app.command("print", help="Print the compose file; with --dir write everything, and start nothing.")
def print_stack(
    directory: Annotated[Path | None, typer.Option("--dir", metavar="DIR", help="Write all files there.")] = None,
    exporters: ExporterOption = None,
    engines: EngineOption = None,
    balancers: BalancerOption = None,
    listen: ListenOption = "127.0.0.1",
    grafana_port: GrafanaPortOption = 3000,
    prometheus_port: PrometheusPortOption = 9090,
    retention_days: RetentionOption = 15,
    scrape_interval_s: ScrapeOption = 15,
    ttft_sla_s: SlaOption = 2.0,
    prometheus_image: PrometheusImageOption = "",
    grafana_image: GrafanaImageOption = "",
    exporter_image: ExporterImageOption = "",
) -> int:
    """Write, start nothing."""
    from xpukit.operate.monitor.render import COMPOSE_FILE, render_files
    from xpukit.operate.monitor.settings import make_settings

    settings = make_settings(
        exporters=tuple(exporters or ()),
        engines=tuple(engines or ()),
        balancers=tuple(balancers or ()),
        listen=listen,
        grafana_port=grafana_port,
        prometheus_port=prometheus_port,
        retention_days=retention_days,
        scrape_interval_s=scrape_interval_s,
        ttft_sla_s=ttft_sla_s,
        prometheus_image=prometheus_image,
        grafana_image=grafana_image,
        exporter_image=exporter_image,
        owner=_find_owner(directory),
        render_nodes=not exporter_image or _has_render_nodes(),
    )
    if directory is None:
        print(next(file.text for file in render_files(settings) if file.path == COMPOSE_FILE), end="")
        current_session().say("with --dir DIR all files are written: rules, dashboards, data source, password")
    else:
        _write(directory, settings)
    return int(ExitCode.OK)


@app.command("up", help="Write everything to a directory and start it with docker compose.")
def up(
    directory: Annotated[Path, typer.Option("--dir", metavar="DIR", help="The stack's directory.")] = Path(
        "xpukit-monitor"
    ),
    exporters: ExporterOption = None,
    engines: EngineOption = None,
    balancers: BalancerOption = None,
    listen: ListenOption = "127.0.0.1",
    grafana_port: GrafanaPortOption = 3000,
    prometheus_port: PrometheusPortOption = 9090,
    retention_days: RetentionOption = 15,
    scrape_interval_s: ScrapeOption = 15,
    ttft_sla_s: SlaOption = 2.0,
    prometheus_image: PrometheusImageOption = "",
    grafana_image: GrafanaImageOption = "",
    exporter_image: ExporterImageOption = "",
) -> int:
    """Write and start."""
    from xpukit.operate.monitor.settings import make_settings
    from xpukit.operate.monitor.start import start_stack

    session = current_session()
    settings = make_settings(
        exporters=tuple(exporters or ()),
        engines=tuple(engines or ()),
        balancers=tuple(balancers or ()),
        listen=listen,
        grafana_port=grafana_port,
        prometheus_port=prometheus_port,
        retention_days=retention_days,
        scrape_interval_s=scrape_interval_s,
        ttft_sla_s=ttft_sla_s,
        prometheus_image=prometheus_image,
        grafana_image=grafana_image,
        exporter_image=exporter_image,
        owner=_find_owner(directory),
        render_nodes=not exporter_image or _has_render_nodes(),
    )
    password = _write(directory, settings)
    start_stack(session.open_host(), directory.resolve(), settings, session.say)
    print(f"Grafana     http://{settings.listen}:{settings.grafana_port}  (user admin, password in {password})")
    print(f"Prometheus  http://127.0.0.1:{settings.prometheus_port}")
    if not settings.exporter_image:
        session.say(
            f"the exporter runs on the host: xpukit exporter, or as a service: {directory / 'xpukit-exporter.service'}"
        )
    return int(ExitCode.OK)


def _has_render_nodes() -> bool:
    """Whether there is a /dev/dri: Docker starts no container that asks for one where there is none."""
    return not current_session().open_host().list("/dev/dri").error


def _find_owner(directory: Path | None) -> tuple[int, int]:
    """Who runs this, whose alone the password will be, and the directory's group; it is made if need be."""
    session = current_session()
    if session.source is not None:
        raise UsageError("the monitoring stack runs on this machine, not on a recorded one", hint="leave --from out")
    place = directory or Path()
    try:
        if directory is not None:
            directory.mkdir(parents=True, exist_ok=True)
        found = place.stat()
    except OSError as err:
        raise OutputError(f"{place}: cannot be made: {err.strerror}", hint="choose another with --dir") from err
    return session.open_host().identity().uid, found.st_gid


def _write(directory: Path, settings: MonitorSettings) -> Path:
    from xpukit.operate.monitor.start import write_stack

    session = current_session()
    password = write_stack(directory, settings)
    session.say(f"written to {directory}; Grafana's password is in {password}")
    if settings.listen != "127.0.0.1":
        session.warn(f"Grafana listens on {settings.listen} without encryption: put a proxy with TLS before it")
    return password
