"""Runs the docker client (or Compose): its whole output in order, ended with everything it started."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from xpukit.host.answers import Ran
from xpukit.host.runner import run_process

# What the client itself reads: registries, credentials, contexts, TLS, builders, a daemon over ssh.
_PREFIXES = ("DOCKER_", "BUILDX_", "BUILDKIT_")
_NAMES = ("SSH_AUTH_SOCK", "XDG_CONFIG_HOME", "SSL_CERT_DIR")
PROXY_NAMES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")


def run_client(
    argv: Sequence[str],
    *,
    timeout_s: float,
    env: Mapping[str, str],
    log: Path | None,
    on_line: Callable[[str], None],
) -> Ran:
    """Run the client; both its streams go to `on_line` and to `log` (None: nowhere) in the order written.

    Ctrl-C and the time-out end its process group with SIGTERM first, on which the client cancels the build.
    """
    return run_process(
        argv,
        timeout_s=timeout_s,
        env={**_collect_environment(), **env},
        log=log,
        on_line=on_line,
        merge_streams=True,
    )


def _collect_environment() -> dict[str, str]:
    wanted = {*_NAMES, *PROXY_NAMES, *(name.lower() for name in PROXY_NAMES)}
    return {name: value for name, value in os.environ.items() if name.startswith(_PREFIXES) or name in wanted}
