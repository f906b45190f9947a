"""A long-running program on this terminal: its output passes through, and it ends with us, all its children too."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence

from xpukit.core.errors import ExternalError

_GRACE_S = 30.0


def run_foreground(command: Sequence[str]) -> int:
    """Run until it ends; its exit code (128 + N for signal N). Ctrl-C and SIGTERM stop the whole process group.

    The user's environment is passed on: a server needs it. There is no time limit. Raises ExternalError when it cannot
    be started, KeyboardInterrupt after a Ctrl-C when everything has ended.
    """
    try:
        # A group of its own, so that one signal ends the program and all that it started.
        process = subprocess.Popen(list(command), start_new_session=True, stdin=subprocess.DEVNULL)
    except OSError as err:
        raise ExternalError(f"{command[0]} cannot be started: {err.strerror}", hint="is it installed?") from err
    previous = signal.signal(signal.SIGTERM, _interrupt)
    try:
        code = process.wait()
    except KeyboardInterrupt:
        print("stopping (once more to kill)", file=sys.stderr, flush=True)
        _end_group(process)
        raise
    finally:
        signal.signal(signal.SIGTERM, previous)
    _end_group(process)
    return code if code >= 0 else 128 - code


def _interrupt(number: int, frame: object) -> None:
    del number, frame
    raise KeyboardInterrupt


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """Interrupt the group, wait, then kill what is left."""
    for number, seconds in ((signal.SIGINT, _GRACE_S), (signal.SIGKILL, _GRACE_S)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        until = time.monotonic() + seconds
        try:
            while time.monotonic() < until:
                process.poll()
                if not _is_group_alive(process.pid):
                    return
                time.sleep(0.05)
        except KeyboardInterrupt:
            continue


def _is_group_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def is_port_free(port: int) -> bool:
    """Whether nothing listens on this TCP port of the machine."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind(("0.0.0.0", port))
        except OSError:
            return False
    return True
