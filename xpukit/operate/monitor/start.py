"""Writes the stack's directory and starts it with docker compose."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from pathlib import Path

from xpukit.core.atomic import write_atomic
from xpukit.core.errors import ExternalError, OutputError
from xpukit.host.answers import Ran
from xpukit.host.door import Host
from xpukit.operate.monitor.compose import PASSWORD_FILE
from xpukit.operate.monitor.render import render_files
from xpukit.operate.monitor.settings import MonitorSettings

_ASK_S = 30.0
_PULL_S = 900.0
_START_S = 300.0
# Where the docker client finds its daemon and what it may pull with.
_CLIENT_VARIABLES = ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "HOME")


def write_stack(directory: Path, settings: MonitorSettings) -> Path:
    """Write all files; the password's file. A password that is there is kept. Raises OutputError."""
    files = render_files(settings)
    below = {"data/prometheus", "data/grafana", *(str(Path(file.path).parent) for file in files)}
    try:
        for name in sorted(below):
            (directory / name).mkdir(parents=True, exist_ok=True)
        (directory / PASSWORD_FILE).parent.mkdir(mode=0o700, exist_ok=True)
    except OSError as err:
        raise OutputError(
            f"{err.filename}: cannot be made: {err.strerror}", hint="choose another directory with --dir"
        ) from err
    for file in files:
        write_atomic(directory / file.path, file.text.encode(), mode=file.mode)
    password = directory / PASSWORD_FILE
    if not password.exists():
        write_atomic(password, secrets.token_urlsafe(24).encode(), mode=0o600)
    return password


def start_stack(host: Host, directory: Path, settings: MonitorSettings, say: Callable[[str], None]) -> None:
    """Get the images that are not there, then `up -d`. Raises ExternalError with what docker said."""
    compose = find_compose(host)
    daemon = _docker(host, ("docker", "version", "--format", "{{.Server.Version}}"), _ASK_S)
    if not daemon.ok:
        hint = "start it (systemctl start docker), or join the group docker and log in again"
        raise ExternalError(f"docker's daemon does not answer: {daemon.describe_failure()}", hint=hint)
    for image in (settings.prometheus_image, settings.grafana_image, settings.exporter_image):
        if image and not _docker(host, ("docker", "image", "inspect", "--format", "{{.Id}}", image), _ASK_S).ok:
            say(f"getting {image}")
            pulled = _docker(host, ("docker", "pull", "--quiet", image), _PULL_S)
            if not pulled.ok:
                hint = (
                    "bring it from another host (docker save, docker load), or name one that is here: "
                    "--prometheus-image, --grafana-image, --exporter-image"
                )
                raise ExternalError(f"{image} is not here: {pulled.describe_failure()}", hint=hint)
    started = _docker(host, (*compose, "-f", str(directory / "compose.yaml"), "up", "-d"), _START_S)
    if not started.ok:
        raise ExternalError(_explain(started), hint=f"look at it: {' '.join(compose)} logs, in {directory}")


def find_compose(host: Host) -> tuple[str, ...]:
    """`docker compose` where it is, else `docker-compose`. Raises ExternalError."""
    if host.which("docker").value is None:
        raise ExternalError(
            "docker is not installed",
            hint="xpukit monitor print --dir DIR writes all files; Prometheus and Grafana can read them without docker",
        )
    if _docker(host, ("docker", "compose", "version"), _ASK_S).ok:
        return ("docker", "compose")
    if host.which("docker-compose").value is not None:
        return ("docker-compose",)
    raise ExternalError("docker has no compose", hint="install docker-compose-v2 (Ubuntu) or docker-compose (Debian)")


def _docker(host: Host, argv: tuple[str, ...], timeout_s: float) -> Ran:
    known = {name: host.env(name).value for name in _CLIENT_VARIABLES}
    return host.run(argv, timeout_s=timeout_s, env={name: value for name, value in known.items() if value is not None})


def _explain(ran: Ran) -> str:
    """What compose said of errors: its last line alone only says that there were some."""
    said = [line.strip() for line in ran.err_text.splitlines() if re.search(r"error", line, re.IGNORECASE)]
    return "\n  ".join([ran.describe_failure(), *dict.fromkeys(line[:300] for line in said[:5])])
