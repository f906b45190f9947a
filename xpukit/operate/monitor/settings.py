"""What a user may choose of the monitoring stack, checked."""

from __future__ import annotations

import ipaddress
import re

import msgspec

from xpukit.core.errors import UsageError
from xpukit.facts.exporter_engines import load_monitor_images

_ADDRESS = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9.-]{0,252}|\[[0-9A-Fa-f:.]{2,45}\]):(\d{1,5})")
_ENGINE = re.compile(r"(vllm|sglang)=(.+)")
_IMAGE = re.compile(r"[a-z0-9][A-Za-z0-9._/:-]{0,254}(?:@sha256:[0-9a-f]{64})?")


class MonitorSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`exporters` are host:port, `engines` and `balancers` (engine, host:port); `listen` is Grafana's address.

    A balancer's address is that of its metrics: it tells which engines there are, and passes on those of each.

    `owner` is the user and group of the directory, as whom the containers run. `exporter_image` "": the exporter runs
    on the host. `render_nodes`: there is a /dev/dri to give it. Raises UsageError for what cannot be.
    """

    exporters: tuple[str, ...]
    engines: tuple[tuple[str, str], ...]
    listen: str
    grafana_port: int
    prometheus_port: int
    retention_days: int
    scrape_interval_s: int
    ttft_sla_s: float
    prometheus_image: str
    grafana_image: str
    exporter_image: str = ""
    exporter_port: int = 9808
    owner: tuple[int, int] = (1000, 1000)
    balancers: tuple[tuple[str, str], ...] = ()
    render_nodes: bool = True


def make_settings(
    *,
    exporters: tuple[str, ...],
    engines: tuple[str, ...],
    balancers: tuple[str, ...] = (),
    listen: str = "127.0.0.1",
    grafana_port: int = 3000,
    prometheus_port: int = 9090,
    retention_days: int = 15,
    scrape_interval_s: int = 15,
    ttft_sla_s: float = 2.0,
    prometheus_image: str = "",
    grafana_image: str = "",
    exporter_image: str = "",
    exporter_port: int = 9808,
    owner: tuple[int, int] = (1000, 1000),
    render_nodes: bool = True,
) -> MonitorSettings:
    """Settings from what was typed; images default to the pinned ones."""
    pinned = load_monitor_images()
    own = f"127.0.0.1:{exporter_port}"
    if not exporters or (exporter_image and own not in exporters):
        exporters = (own, *exporters)
    settings = MonitorSettings(
        exporters=tuple(dict.fromkeys(_check_target(target) for target in exporters)),
        engines=tuple(_check_engine("--engine", engine) for engine in engines),
        balancers=tuple(dict.fromkeys(_check_engine("--balancer", balancer) for balancer in balancers)),
        listen=_check_listen(listen),
        grafana_port=grafana_port,
        prometheus_port=prometheus_port,
        retention_days=retention_days,
        scrape_interval_s=scrape_interval_s,
        ttft_sla_s=ttft_sla_s,
        prometheus_image=prometheus_image or pinned.prometheus.image,
        grafana_image=grafana_image or pinned.grafana.image,
        exporter_image=exporter_image,
        exporter_port=exporter_port,
        owner=owner,
        render_nodes=render_nodes,
    )
    for image in (settings.prometheus_image, settings.grafana_image, settings.exporter_image):
        if image and not _IMAGE.fullmatch(image):
            raise UsageError(f"{image!r} is no image's name", hint="give NAME:TAG or NAME@sha256:DIGEST")
    if len({grafana_port, prometheus_port, exporter_port}) < 3:
        raise UsageError("Grafana, Prometheus and the exporter need ports of their own", hint="choose other ports")
    return settings


def _check_target(text: str) -> str:
    match = _ADDRESS.fullmatch(text)
    if not match or not 0 < int(match[1]) < 65536:
        raise UsageError(f"{text!r} is no target", hint="give HOST:PORT, as 127.0.0.1:9808")
    return text


def _check_engine(option: str, text: str) -> tuple[str, str]:
    match = _ENGINE.fullmatch(text)
    if not match:
        raise UsageError(f"{option} {text}: which engine?", hint="give vllm=HOST:PORT or sglang=HOST:PORT")
    return match[1], _check_target(match[2])


def _check_listen(listen: str) -> str:
    try:
        return str(ipaddress.IPv4Address(listen))
    except ValueError as err:
        raise UsageError(f"--listen {listen}: no IPv4 address", hint="give one as 127.0.0.1 or 0.0.0.0") from err
