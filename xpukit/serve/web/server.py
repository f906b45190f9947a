"""The page's server on a loopback port."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable

from xpukit.core.errors import UsageError
from xpukit.serve.web.guard import AsgiApp

ADDRESS = "127.0.0.1"
_BACKLOG = 64
_GRACE_S = 2


def open_socket(port: int) -> socket.socket:
    """A listening socket on loopback; port 0 takes a free one. Raises UsageError for a port that is in use."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((ADDRESS, port))
        listener.listen(_BACKLOG)
    except OSError as err:
        listener.close()
        raise UsageError(
            f"port {port} of {ADDRESS} cannot be had: {err.strerror or err}", hint="another --web-port, or 0 for any"
        ) from err
    return listener


def run_server(app: AsgiApp, listener: socket.socket, *, started: Callable[[], None]) -> None:
    """Serve until Ctrl-C or SIGTERM. Needs uvicorn (extra `web`)."""
    import uvicorn

    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        lifespan="off",
        ws="none",
        server_header=False,
        timeout_graceful_shutdown=_GRACE_S,
    )
    started()
    with contextlib.suppress(KeyboardInterrupt), listener:
        uvicorn.Server(config).run(sockets=[listener])
