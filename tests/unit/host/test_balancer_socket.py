"""HAProxy's control socket: one command, one answer, and never longer than it may take."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from xpukit.core.errors import ExternalError
from xpukit.host.balancer_socket import ask_balancer, can_reach


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen(1)
        listening.settimeout(10)
        yield path, listening


def test_answer_is_read_to_its_end(server: tuple[str, socket.socket]) -> None:
    path, listening = server
    heard: list[bytes] = []

    def serve() -> None:
        one, _ = listening.accept()
        with one:
            heard.append(one.recv(1000))
            one.sendall(b"# pxname,")
            one.sendall(b"svname\n\n")

    thread = threading.Thread(target=serve)
    thread.start()
    assert ask_balancer(path, "show stat") == "# pxname,svname"
    thread.join()
    assert heard == [b"show stat\n"]


def test_silence_ends(server: tuple[str, socket.socket]) -> None:
    path, _ = server  # takes the connection, says nothing
    with pytest.raises(ExternalError, match="does not answer"):
        ask_balancer(path, "show stat", timeout_s=0.05)


def test_nobody_there(tmp_path: Path) -> None:
    assert not can_reach(str(tmp_path / "none"))
    assert not can_reach("/" + "x" * 120)
    with pytest.raises(ExternalError, match="does not answer"):
        ask_balancer(str(tmp_path / "none"), "show stat")


@pytest.mark.parametrize("command", ["a\nb", "a; b"])
def test_two_commands_are_refused(command: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not one command"):
        ask_balancer(str(tmp_path / "s"), command)
