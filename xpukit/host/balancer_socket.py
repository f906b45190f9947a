"""HAProxy's control socket: one command, one answer. It is a file; nothing on the network leads to it."""

from __future__ import annotations

import os
import socket
import time

from xpukit.core.errors import ExternalError

# sun_path of Linux, with the zero at its end.
_PATH_LIMIT_BYTES = 107
_ANSWER_LIMIT_BYTES = 4 << 20


def can_reach(path: str) -> bool:
    """Whether this process may open the socket there."""
    return len(os.fsencode(path)) <= _PATH_LIMIT_BYTES and os.access(path, os.R_OK | os.W_OK)


def ask_balancer(path: str, command: str, *, timeout_s: float = 5.0) -> str:
    """Send a command; what HAProxy says to it ("" for most that succeeded).

    Raises ExternalError where nobody answers in time, ValueError for a command of several lines or commands.
    """
    if "\n" in command or ";" in command:
        raise ValueError(f"not one command: {command!r}")
    until = time.monotonic() + timeout_s
    parts: list[bytes] = []
    size = 0
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as one:
            one.settimeout(timeout_s)
            one.connect(path)
            one.sendall(command.encode() + b"\n")
            while piece := one.recv(1 << 16):
                parts.append(piece)
                size += len(piece)
                left = until - time.monotonic()
                if left <= 0 or size > _ANSWER_LIMIT_BYTES:
                    raise TimeoutError("no end of the answer")
                one.settimeout(left)
    except OSError as err:
        raise ExternalError(
            f"HAProxy does not answer at {path}: {err.strerror or err}", hint="does it run? docker logs says more"
        ) from err
    return b"".join(parts).decode("utf-8", errors="replace").strip()
