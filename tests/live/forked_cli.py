"""The command line in processes forked from one that has imported it: a third of a second less for each run.

Each run is a process of its own, in a session and (as asked) an empty network namespace of its own, and can be killed
as any other. What users type, `python -m xpukit`, is run by the tests of bundles and of the script.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

_CLONE_NEWNET = 0x40000000
_PRELOAD = ["tests.live.forked_warm"]


def _run(words: Sequence[str], out: str, err: str) -> None:
    """In the forked process: nothing of the tests' own output is shared."""
    os.setsid()
    ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET)
    for number, (path, flags) in enumerate(((os.devnull, os.O_RDONLY), (out, os.O_WRONLY), (err, os.O_WRONLY))):
        place = os.open(path, flags)
        os.dup2(place, number)
        os.close(place)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115
    sys.argv = ["xpukit", *words]
    from xpukit.cli.app import run

    code = run(list(words))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


class Started:
    """A run that was started."""

    def __init__(self, words: Sequence[str]) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(_PRELOAD)
        self.words = list(words)
        self._place = tempfile.TemporaryDirectory(prefix="forked-cli-")
        self._out, self._err = (Path(self._place.name, name) for name in ("out", "err"))
        for path in (self._out, self._err):
            path.touch()
        self._process: BaseProcess = context.Process(target=_run, args=(self.words, str(self._out), str(self._err)))
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.is_alive()

    def wait(self, limit_s: float) -> subprocess.CompletedProcess[str]:
        """Its end, with what it said. Raises AssertionError when it does not come."""
        self._process.join(limit_s)
        if self._process.is_alive():
            os.kill(self.pid, 9)
            raise AssertionError(f"{self.words}: still running after {limit_s:.0f} s: {self._err.read_text()}")
        code = self._process.exitcode
        assert code is not None
        done = subprocess.CompletedProcess(
            self.words, code, self._out.read_text(encoding="utf-8"), self._err.read_text(encoding="utf-8")
        )
        self._place.cleanup()
        return done
