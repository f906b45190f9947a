"""Where the Docker daemon listens, and why it cannot be reached."""

from __future__ import annotations

import errno
import json
import os
import socket
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from xpukit.core.json_document import BAD_JSON
from xpukit.host.docker_values import Reach

DEFAULT_ADDRESS = "unix:///var/run/docker.sock"
_SCHEMES = ("unix", "tcp", "http", "https", "ssh")
_START_HINT = "start it: sudo systemctl start docker (installed as docker.io or docker-ce)"


class DockerContext(msgspec.Struct, frozen=True, kw_only=True):
    """The docker client's current context. `tls` is the folder of its certificates, which need not be there."""

    address: str
    tls: Path
    skip_verify: bool = False


def find_address() -> str:
    """The daemon that the docker client of this user would speak to: DOCKER_HOST, its current context, the default."""
    given = os.environ.get("DOCKER_HOST", "")
    if given:
        return given
    context = find_context()
    return context.address if context is not None else DEFAULT_ADDRESS


def find_context() -> DockerContext | None:
    """The docker client's current context, None for its default one or where it names no daemon."""
    folder = Path(os.environ.get("DOCKER_CONFIG", "") or Path.home() / ".docker")
    name = os.environ.get("DOCKER_CONTEXT", "") or str(_read_json(folder / "config.json").get("currentContext", ""))
    if not name or name == "default":
        return None
    digest = sha256(name.encode()).hexdigest()
    endpoints = _read_json(folder / "contexts" / "meta" / digest / "meta.json").get("Endpoints", {})
    endpoint = endpoints.get("docker", {}) if isinstance(endpoints, dict) else {}
    if not isinstance(endpoint, dict) or not endpoint.get("Host"):
        return None
    return DockerContext(
        address=str(endpoint["Host"]),
        tls=folder / "contexts" / "tls" / digest / "docker",
        skip_verify=bool(endpoint.get("SkipTLSVerify")),
    )


def check_address(address: str, *, timeout_s: float = 5.0) -> Reach:
    """Open a connection and close it again: the three usual reasons have errors of their own."""
    parts = urlsplit(address)
    if parts.scheme not in _SCHEMES:
        return Reach(
            address=address,
            kind="bad-address",
            message=f"{address}: not an address of a Docker daemon",
            hint="DOCKER_HOST is unix:///path/of/socket, tcp://host:port or ssh://user@host; unset it for the default",
        )
    try:
        if parts.scheme == "unix":
            _touch_socket(parts.path or parts.netloc, timeout_s)
        elif parts.scheme in ("tcp", "http", "https"):
            if not parts.hostname:
                raise socket.gaierror(socket.EAI_NONAME, "no host is named")
            port = parts.port or (443 if parts.scheme == "https" else 2375)
            socket.create_connection((parts.hostname, port), timeout=timeout_s).close()
    except ValueError as err:  # a port that is no number
        return Reach(address=address, kind="bad-address", message=f"{address}: {err}", hint="correct DOCKER_HOST")
    except socket.gaierror as err:
        return Reach(
            address=address,
            kind="bad-address",
            message=f"{address}: the host is not known ({err.strerror})",
            hint="correct DOCKER_HOST, or unset it to use this machine's daemon",
        )
    except OSError as err:
        return _explain_os_error(address, err)
    return Reach(address=address)


def _touch_socket(path: str, timeout_s: float) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(timeout_s)
        client.connect(path)


def _explain_os_error(address: str, err: OSError) -> Reach:
    reason = err.strerror or str(err) or type(err).__name__
    if err.errno in (errno.EACCES, errno.EPERM):
        return Reach(
            address=address,
            kind="no-permission",
            message=f"this user may not talk to the Docker daemon at {address}",
            hint=_hint_rootless()
            or "join the group docker (sudo usermod -aG docker $USER), log in again; or run with sudo",
        )
    if err.errno == errno.ENOENT:
        message = f"no Docker daemon at {address}: the socket is not there"
        return Reach(address=address, kind="no-daemon", message=message, hint=_hint_start(address))
    if err.errno == errno.ECONNREFUSED:
        message = f"no Docker daemon at {address}: nothing listens there"
        return Reach(address=address, kind="no-daemon", message=message, hint=_hint_start(address))
    if err.errno in (errno.ENOTSOCK, errno.ENOTDIR) or "too long" in reason:
        return Reach(
            address=address, kind="bad-address", message=f"{address}: {reason}", hint="correct DOCKER_HOST, or unset it"
        )
    return Reach(
        address=address,
        kind="no-answer",
        message=f"the Docker daemon at {address} does not answer: {reason}",
        hint="look at the daemon: systemctl status docker, journalctl -u docker",
    )


def _hint_start(address: str) -> str:
    if address == DEFAULT_ADDRESS:
        return _hint_rootless() or _START_HINT
    return f"{_START_HINT}; the address comes from DOCKER_HOST or the docker context: correct or unset it"


def _hint_rootless() -> str:
    """A daemon of this user's own, which the docker client finds only when it is told; "" for none."""
    path = Path(os.environ.get("XDG_RUNTIME_DIR", "") or f"/run/user/{os.getuid()}") / "docker.sock"
    if not path.is_socket():
        return ""
    return f"this user has a rootless daemon: export DOCKER_HOST=unix://{path}"


def _read_json(path: Path) -> dict[str, Any]:
    try:
        parsed = json.loads(path.read_bytes())
    except (OSError, *BAD_JSON):
        return {}
    return parsed if isinstance(parsed, dict) else {}
