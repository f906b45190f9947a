"""A folder of this machine over HTTP, on loopback only: for builders that cannot mount one."""

from __future__ import annotations

import contextlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from xpukit.core.errors import ExternalError

LOOPBACK = "127.0.0.1"


@contextlib.contextmanager
def serve_folder(folder: Path, *, prefix: str, port: int) -> Iterator[int]:
    """Serve the files of `folder` under `/prefix/` until the block ends; gives the port (0: any free one).

    Folders are not listed. Raises ExternalError where the port is taken.
    """

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(folder))

        def send_head(self) -> Any:
            lead = f"/{prefix}/"
            if self.path.startswith(lead):
                self.path = self.path[len(lead) - 1 :]
                if Path(self.translate_path(self.path)).is_file():
                    return super().send_head()
            self.send_error(404)
            return None

        def log_message(self, format: str, *args: object) -> None:
            """Requests are in the log of the build."""

    try:
        server = http.server.ThreadingHTTPServer((LOOPBACK, port), Handler)
    except OSError as err:
        raise ExternalError(
            f"{folder} cannot be served on {LOOPBACK}:{port}: {err.strerror or err}",
            hint="end what uses that port, or build with BuildKit, which mounts the folder",
        ) from err
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=10)
