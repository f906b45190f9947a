"""The one place that starts processes: own process group, time-out, output caps, nothing left behind."""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from xpukit.host.answers import Ran
from xpukit.host.head_tail import HeadTail

RUN_LIMIT_BYTES = 8 << 20
_GRACE_S = 2.0
# Commands of this moment, so that those started in other threads can be ended too.
_RUNNING: set[subprocess.Popen[bytes]] = set()
# Pipes can outlive the command in a grandchild that went into the background; wait no longer than this for them.
_DRAIN_S = 0.5

_KEPT_NAMES = (
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "XDG_RUNTIME_DIR",
    "XDG_CACHE_HOME",
    "VIRTUAL_ENV",
    "DOCKER_HOST",
    "SSL_CERT_FILE",
)
# Variables by which a user steers drivers and compute libraries: dropping them would measure another machine.
_KEPT_PREFIXES = (
    "ZE_", "ZES_", "ZEL_", "ZET_", "NEO", "ONEAPI_", "SYCL_", "UR_", "OCL_", "OPENCL_", "CCL_", "I_MPI_",
    "FI_", "DNNL_", "ONEDNN_", "OMP_", "KMP_", "TBB_", "MKL_", "UMOCKDEV", "XPUKIT_",
)  # fmt: skip


def build_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The small fixed environment of every child: C.UTF-8, PATH and what steers drivers, then `extra`."""
    env = {name: value for name, value in os.environ.items() if name in _KEPT_NAMES or name.startswith(_KEPT_PREFIXES)}
    env.setdefault("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    env["LC_ALL"] = "C.UTF-8"
    env["LANG"] = "C.UTF-8"
    if extra:
        env.update(extra)
    return env


def run_process(
    argv: Sequence[str],
    *,
    timeout_s: float,
    input: bytes = b"",
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    limit_bytes: int = RUN_LIMIT_BYTES,
    log: Path | None = None,
    on_line: Callable[[str], None] | None = None,
    merge_streams: bool = False,
) -> Ran:
    """Run `argv` to its end or to `timeout_s`; the whole process group ends with it, also on Ctrl-C.

    Output beyond `limit_bytes` keeps head and tail (`dropped_bytes` says how much went); `log` gets all of it.
    With `merge_streams` standard error goes where standard output goes, in the order it was written.
    """
    command = tuple(argv)
    started = time.monotonic()
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE if input else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if merge_streams else subprocess.PIPE,
            env=build_environment(env),
            cwd=cwd,
            start_new_session=True,
            close_fds=True,
        )
    except (OSError, ValueError) as err:
        return _answer_unstarted(command, err)
    out, errors = HeadTail(limit_bytes), HeadTail(limit_bytes)
    lines = _LineSplitter(on_line)
    timed_out = False
    with contextlib.ExitStack() as stack:
        # A second Ctrl-C while we clean up must not leave the group alive.
        stack.callback(_end_group, process)
        _RUNNING.add(process)
        stack.callback(_RUNNING.discard, process)
        log_file = stack.enter_context(log.open("ab")) if log else None
        timed_out = _pump(process, input, started + timeout_s, out, errors, lines, log_file)
        if timed_out:
            _end_group(process)
        try:
            process.wait(timeout=_GRACE_S if timed_out else max(0.1, started + timeout_s - time.monotonic()))
        except subprocess.TimeoutExpired:
            timed_out = True
            _end_group(process)
    lines.finish()
    rc = process.returncode
    failure = "timeout" if timed_out else f"signal:{-rc}" if rc < 0 else ""
    return Ran(
        argv=command,
        rc=rc,
        out=out.content(),
        err=errors.content(),
        seconds=round(time.monotonic() - started, 3),
        failure=failure,
        dropped_bytes=out.dropped + errors.dropped,
    )


def end_running() -> int:
    """End the commands that run in any thread (Ctrl-C reaches only the main one); how many there were."""
    running = list(_RUNNING)
    for process in running:
        _end_processes(process)  # its pipes belong to the thread that reads them
    return len(running)


def _answer_unstarted(command: tuple[str, ...], err: OSError | ValueError) -> Ran:
    if isinstance(err, FileNotFoundError):
        return Ran(argv=command, rc=127, failure="not-found", err=str(err).encode())
    if isinstance(err, PermissionError) and _is_on_path(command[0]):
        return Ran(argv=command, rc=126, failure="denied", err=str(err).encode())
    if isinstance(err, PermissionError):
        return Ran(argv=command, rc=127, failure="not-found", err=str(err).encode())
    name = errno.errorcode.get(err.errno or 0, "EINVAL") if isinstance(err, OSError) else "EINVAL"
    return Ran(argv=command, rc=126, failure=name, err=str(err).encode())


def _is_on_path(program: str) -> bool:
    """Whether there is such a file at all: a directory of PATH that may not be searched gives the same error."""
    if "/" in program:
        return True
    directories = build_environment()["PATH"].split(os.pathsep)
    return any(os.path.lexists(os.path.join(directory, program)) for directory in directories)


class _LineSplitter:
    """Cuts a stream of bytes into lines for a callback."""

    def __init__(self, on_line: Callable[[str], None] | None) -> None:
        self._on_line = on_line
        self._rest = b""

    def feed(self, chunk: bytes) -> None:
        if self._on_line is None:
            return
        *whole, self._rest = (self._rest + chunk).split(b"\n")
        for line in whole:
            self._on_line(line.decode("utf-8", errors="replace"))

    def finish(self) -> None:
        if self._on_line is not None and self._rest:
            self._on_line(self._rest.decode("utf-8", errors="replace"))
            self._rest = b""


def _pump(
    process: subprocess.Popen[bytes],
    input: bytes,
    deadline: float,
    out: HeadTail,
    errors: HeadTail,
    lines: _LineSplitter,
    log_file: IO[bytes] | None,
) -> bool:
    """Move bytes until both pipes close; True when the deadline came first."""
    pending = memoryview(input)
    exited_at: float | None = None
    with selectors.DefaultSelector() as selector:
        for stream, sink in ((process.stdout, out), (process.stderr, errors)):
            if stream is None:  # standard error, merged into standard output
                continue
            os.set_blocking(stream.fileno(), False)
            selector.register(stream, selectors.EVENT_READ, sink)
        if process.stdin is not None:
            os.set_blocking(process.stdin.fileno(), False)
            selector.register(process.stdin, selectors.EVENT_WRITE, None)
        while selector.get_map():
            now = time.monotonic()
            if now >= deadline:
                return True
            if exited_at is None and process.poll() is not None:
                exited_at = now
            if exited_at is not None and now - exited_at > _DRAIN_S:
                return False
            for key, _ in selector.select(timeout=min(0.2, deadline - now)):
                if key.data is None:
                    pending = _feed_input(process, pending, selector)
                    continue
                try:
                    chunk = os.read(key.fd, 1 << 16)
                except BlockingIOError:
                    continue
                if not chunk:
                    selector.unregister(key.fileobj)
                    continue
                key.data.write(chunk)
                if key.data is out:
                    lines.feed(chunk)
                if log_file is not None:
                    log_file.write(chunk)
                    log_file.flush()
    return False


def _feed_input(process: subprocess.Popen[bytes], pending: memoryview, selector: selectors.BaseSelector) -> memoryview:
    stdin = process.stdin
    assert stdin is not None
    try:
        pending = pending[os.write(stdin.fileno(), pending[: 1 << 16]) :]
    except BlockingIOError:
        return pending
    except OSError:  # the child closed its input: its own affair
        pending = pending[len(pending) :]
    if not pending:
        selector.unregister(stdin)
        with contextlib.suppress(OSError):
            stdin.close()
    return pending


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End the command and all it started, and close its pipes; for the thread that reads them only."""
    _end_processes(process)
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()


def _end_processes(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, then SIGKILL, to the command's group and to descendants that left it (MPI launchers do)."""
    descendants = _list_descendants(process.pid) if process.poll() is None else []
    _signal_all(process.pid, descendants, signal.SIGTERM)
    deadline = time.monotonic() + _GRACE_S
    while time.monotonic() < deadline and (process.poll() is None or _group_alive(process.pid)):
        time.sleep(0.02)
    _signal_all(process.pid, descendants, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=_GRACE_S)


def _list_descendants(pid: int) -> list[tuple[int, float]]:
    """(pid, start time) of all descendants: the start time guards against a pid used again."""
    import psutil

    found: list[tuple[int, float]] = []
    with contextlib.suppress(psutil.Error, OSError):
        for child in psutil.Process(pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                found.append((child.pid, child.create_time()))
    return found


def _signal_all(group: int, descendants: list[tuple[int, float]], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
    if not descendants:
        return
    import psutil

    for pid, created in descendants:
        with contextlib.suppress(psutil.Error, ProcessLookupError, PermissionError):
            if psutil.Process(pid).create_time() == created:
                os.kill(pid, number)


def _group_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True
