"""A long-running program on this terminal: its output passes through, and it ends with us, all its children too."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO

from xpukit.core.errors import ExternalError

_GRACE_S = 30.0
_SHORT_GRACE_S = 5.0
_TICK_S = 0.5
# Lines that wait for a watcher who does something else; the oldest are dropped.
_LINES_KEPT = 20_000
_LINE_LIMIT_BYTES = 1 << 16


def run_foreground(command: Sequence[str], watch: Callable[[Iterator[str | None]], None] | None = None) -> int:
    """Run until it ends; its exit code (128 + N for signal N). Ctrl-C and SIGTERM stop the whole process group.

    The user's environment is passed on: a server needs it. There is no time limit. `watch` gets the lines of its
    output, which still passes through as it comes; None where nothing came for a while. Raises ExternalError when it
    cannot be started, KeyboardInterrupt after a Ctrl-C when everything has ended.
    """
    pipe = subprocess.PIPE if watch is not None else None
    try:
        # A group of its own, so that one signal ends the program and all that it started.
        process = subprocess.Popen(
            list(command), start_new_session=True, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe
        )
    except OSError as err:
        raise ExternalError(f"{command[0]} cannot be started: {err.strerror}", hint="is it installed?") from err
    previous = signal.signal(signal.SIGTERM, _interrupt)
    try:
        if watch is not None:
            _watch_output(process, watch)
        code = process.wait()
    except KeyboardInterrupt:
        print("stopping (once more to kill)", file=sys.stderr, flush=True)
        end_group(process)
        raise
    except BaseException:  # a watcher that fails must not leave a server behind that nobody sees
        end_group(process)
        raise
    finally:
        signal.signal(signal.SIGTERM, previous)
    end_group(process)
    return code if code >= 0 else 128 - code


def _watch_output(process: subprocess.Popen[bytes], watch: Callable[[Iterator[str | None]], None]) -> None:
    """Pass both streams through and hand their lines to the watcher. Returns when the program ended and all is read,
    or when the watcher has had enough: then the rest passes through unwatched."""
    lines: queue.Queue[str] = queue.Queue(_LINES_KEPT)
    pumps = [
        threading.Thread(target=_pump, args=(source, target, lines), daemon=True)
        for source, target in ((process.stdout, sys.stdout.fileno()), (process.stderr, sys.stderr.fileno()))
    ]
    for pump in pumps:
        pump.start()

    def read() -> Iterator[str | None]:
        ended_at = 0.0
        while True:
            try:
                yield lines.get(timeout=_TICK_S)
                continue
            except queue.Empty:
                pass
            if process.poll() is not None:
                ended_at = ended_at or time.monotonic()
                # What the program started may hold the pipe open for ever.
                if not any(pump.is_alive() for pump in pumps) or time.monotonic() - ended_at > 2 * _TICK_S:
                    return
            yield None

    watch(read())
    process.wait()
    for pump in pumps:
        pump.join(timeout=2 * _TICK_S)


def _pump(source: BinaryIO, target: int, lines: queue.Queue[str]) -> None:
    """Bytes through as they come (progress bars have no line ends), lines to the queue."""
    rest = b""
    passing = True
    while chunk := os.read(source.fileno(), 1 << 16):
        if passing:
            try:
                _write_all(target, chunk)
            except OSError:  # nobody reads us any more; the program must not stand still for that
                passing = False
        *whole, rest = (rest + chunk).replace(b"\r", b"\n").split(b"\n")
        for line in whole:
            _offer(lines, line)
        rest = rest[-_LINE_LIMIT_BYTES:]
    _offer(lines, rest)


def _write_all(target: int, data: bytes) -> None:
    while data:
        data = data[os.write(target, data) :]


def _offer(lines: queue.Queue[str], line: bytes) -> None:
    if not line:
        return
    with contextlib.suppress(queue.Empty):
        if lines.full():
            lines.get_nowait()
    with contextlib.suppress(queue.Full):
        lines.put_nowait(line[:_LINE_LIMIT_BYTES].decode("utf-8", errors="replace"))


def _interrupt(number: int, frame: object) -> None:
    del number, frame
    raise KeyboardInterrupt


def end_group(process: subprocess.Popen[bytes]) -> None:
    """Interrupt the group, wait, then terminate and at last kill what is left.

    What a shell started in the background does not hear an interrupt; when the program itself has ended, there is
    nothing to wait for.
    """
    steps = [(signal.SIGTERM, _SHORT_GRACE_S), (signal.SIGKILL, _GRACE_S)]
    if process.poll() is None:
        steps.insert(0, (signal.SIGINT, _GRACE_S))
    for number, seconds in steps:
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
