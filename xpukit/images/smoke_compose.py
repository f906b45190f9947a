"""Starting a container by Compose, as the smoke test tries it where this host has Compose."""

from __future__ import annotations

import json
import secrets
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from xpukit.core.errors import ExternalError
from xpukit.host.docker_daemon import DockerDaemon
from xpukit.host.docker_values import ContainerRequest
from xpukit.host.door import Host
from xpukit.host.interrupt import hold_interrupts

# The exit code (None: still running at the limit) and what was said.
RunComposed = Callable[[ContainerRequest, float], tuple[int | None, str]]
_ASK_S = 20.0
_SERVICE = "smoke"


def find_compose(host: Host) -> tuple[str, ...]:
    """The command of this host: the docker client's plugin, else the older program; () for none."""
    for argv in (("docker", "compose"), ("docker-compose",)):
        if host.which(argv[0]).value and host.run([*argv, "version"], timeout_s=_ASK_S, env=_environment(host)).ok:
            return argv
    return ()


def make_runner(host: Host, daemon: DockerDaemon) -> RunComposed | None:
    """What starts a container by Compose on this daemon; None where the host has no Compose."""
    command = find_compose(host)
    if not command:
        return None

    def run(request: ContainerRequest, limit_s: float) -> tuple[int | None, str]:
        name = f"xpukit-smoke-{secrets.token_hex(4)}"
        with tempfile.TemporaryDirectory(prefix="xpukit-compose-") as place:
            file = Path(place) / "compose.json"
            file.write_text(write_service(request), encoding="utf-8")
            argv = [*command, "-p", name, "-f", str(file), "run", "--rm", "-T", "--name", name, _SERVICE]
            env = {**_environment(host), "DOCKER_HOST": daemon.address}
            try:
                ran = host.run(argv, timeout_s=limit_s, env=env, cwd=place)
            finally:
                # It removes its container itself, unless it was ended.
                with hold_interrupts():
                    daemon.remove_container(name)
        said = f"{ran.err_text}\n{ran.text}"
        if ran.failure == "timeout":
            return None, said
        if ran.failure:
            raise ExternalError(ran.describe_failure(), hint="is docker compose still installed?")
        return ran.rc, said

    return run


def write_service(request: ContainerRequest) -> str:
    """A compose file (JSON is YAML) of one service with all that the request says. A dollar sign is written twice."""
    service: dict[str, Any] = {
        "image": request.image,
        "entrypoint": _escape(request.entrypoint),
        "command": _escape(request.command),
        "environment": {key: value.replace("$", "$$") for key, value in request.env.items()},
        "devices": list(request.devices),
        "group_add": list(request.groups),
        "volumes": [
            *request.binds,
            *({"type": "bind", "source": path, "target": path, "read_only": True} for path in request.mounts),
        ],
        "network_mode": request.network,
        "cap_add": list(request.cap_add),
        "cap_drop": list(request.cap_drop),
        "security_opt": list(request.security_opt),
        "mem_limit": request.memory_bytes,
        "init": request.init,
    }
    return json.dumps(
        {"version": "2.4", "services": {_SERVICE: {key: value for key, value in service.items() if value}}}
    )


def _escape(words: tuple[str, ...] | None) -> list[str]:
    return [word.replace("$", "$$") for word in words or ()]


def _environment(host: Host) -> dict[str, str]:
    """Where the client looks for its plug-ins."""
    found = {name: host.env(name).value for name in ("DOCKER_CONFIG", "HOME")}
    return {name: value for name, value in found.items() if value}
