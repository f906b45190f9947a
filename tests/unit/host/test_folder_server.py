"""A folder over HTTP: what is served, and what is not."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from xpukit.core.errors import ExternalError
from xpukit.host.folder_server import serve_folder


def ask(port: int, path: str) -> tuple[int, bytes]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as err:
        return err.code, b""


def test_files_under_the_prefix_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "debs"
    (folder / "sub").mkdir(parents=True)
    (folder / "a~1 b.deb").write_bytes(b"deb")
    (tmp_path / "secret").write_text("s")
    with serve_folder(folder, prefix="abc", port=0) as port:
        assert ask(port, "/abc/a~1%20b.deb") == (200, b"deb")
        for path in ("/a~1%20b.deb", "/abc", "/abc/", "/abc/sub/", "/abc/../secret", "/abc/%2e%2e/secret", "/abc/no"):
            assert ask(port, path)[0] == 404, path
    with pytest.raises(OSError, match="refused"), socket.create_connection(("127.0.0.1", port), timeout=5):
        pass


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ExternalError, match=f"127.0.0.1:{port}"), serve_folder(tmp_path, prefix="x", port=port):
            pass
