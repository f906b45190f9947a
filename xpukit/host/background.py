"""A long-running program beside us: its output goes to a file, its lines can be followed, and it ends with us."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from xpukit.core.errors import ExternalError
from xpukit.host.foreground import end_group

_TICK_S = 0.2
_LINE_LIMIT_BYTES = 1 << 16


class BackgroundProgram:
    """A program in a process group of its own, with the user's environment. `log` holds all that it prints."""

    def __init__(self, command: Sequence[str], log: Path, *, environment: Mapping[str, str] | None = None) -> None:
        """Raises ExternalError where it cannot be started."""
        self.log = log
        self._place = 0
        self._rest = b""
        try:
            with log.open("wb") as out:
                self._process = subprocess.Popen(
                    list(command),
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    env={**os.environ, **(environment or {})},
                )
        except OSError as err:
            raise ExternalError(f"{command[0]} cannot be started: {err.strerror}", hint="is it installed?") from err

    @property
    def session_id(self) -> int:
        """Of all processes that it started and that did not leave it."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; 128 + N for signal N."""
        code = self._process.poll()
        return code if code is None or code >= 0 else 128 - code

    def iterate_lines(self) -> Iterator[str | None]:
        """Lines as they come, from where the last caller left; None while nothing comes. Ends with the program."""
        with self.log.open("rb") as file:
            while True:
                ended = self._process.poll() is not None
                file.seek(self._place)
                chunk = file.read(1 << 16)
                self._place += len(chunk)
                *whole, rest = (self._rest + chunk).replace(b"\r", b"\n").split(b"\n")
                # Kept before the lines are handed out: a caller who stops in between loses what it did not take.
                self._rest = rest[-_LINE_LIMIT_BYTES:]
                for line in whole:
                    if line:
                        yield line.decode("utf-8", errors="replace")
                if chunk:
                    continue
                if ended:
                    if self._rest:
                        yield self._rest.decode("utf-8", errors="replace")
                        self._rest = b""
                    return
                yield None
                time.sleep(_TICK_S)

    def stop(self) -> None:
        """End it and all that it started: asked first, killed at last."""
        end_group(self._process)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=5)
