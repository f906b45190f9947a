"""Runs several xpukit command lines, each in a process of its own that is forked when everything is imported.

python -m tests.live.many_commands < [[ARGUMENT, ...], ...] prints [[exit code, standard output, standard error], ...].
A start of Python for each would take most of the time.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from typing import IO

import xpukit.cli.doctor_tables
import xpukit.cli.serve_run
import xpukit.container.gpu_nodes
import xpukit.host.live
import xpukit.host.redacting
import xpukit.host.replay
import xpukit.probe.machine
import xpukit.serve.planner
import xpukit.sysinfo.opened  # noqa: F401
from xpukit.cli.app import run
from xpukit.doctor.registry import list_checks
from xpukit.probe.registry import list_questions


def run_apart(argv: list[str]) -> tuple[int, str, str]:
    """(exit code, standard output, standard error) of one command line."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if child == 0:
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            code = 70
            try:
                code = run(argv)
                sys.stdout.flush()
                sys.stderr.flush()
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        return os.waitstatus_to_exitcode(status), _read(out), _read(err)


def _read(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode("utf-8", "surrogateescape")


def main() -> None:
    list_checks()
    list_questions()
    json.dump([run_apart(argv) for argv in json.load(sys.stdin)], sys.stdout)


if __name__ == "__main__":
    main()
