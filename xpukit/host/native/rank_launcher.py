"""`python -m xpukit.host.native.rank_launcher N PROGRAM...`: N copies of a program on this host, as torchrun would.

Each gets the whole standard input and RANK, LOCAL_RANK, WORLD_SIZE, LOCAL_WORLD_SIZE; they meet through a file, so no
port or host name is needed. When one ends badly the others are ended, and it is said which one it was. All stay in
this process's group, so that ending the group ends them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xpukit.host.native.mpi import RANK_MESSAGE

STORE_VARIABLE = "XPUKIT_RANK_STORE"
_POLL_S = 0.02
_GRACE_S = 2.0


def build_launcher(ranks: int) -> tuple[str, ...]:
    """argv prefix that starts `ranks` copies of a program."""
    return (sys.executable, "-m", "xpukit.host.native.rank_launcher", str(ranks))


def build_rank_environment(rank: int, ranks: int, store: str) -> dict[str, str]:
    """What a rank needs to find the others. Gloo and NCCL talk over the loopback interface where they use sockets."""
    return {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(ranks),
        "LOCAL_WORLD_SIZE": str(ranks),
        "MASTER_ADDR": "127.0.0.1",
        "GLOO_SOCKET_IFNAME": "lo",
        "NCCL_SOCKET_IFNAME": "lo",
        STORE_VARIABLE: store,
    }


def launch(ranks: int, argv: Sequence[str], request: bytes) -> int:
    """Run all ranks to their end; 0 when all ended well."""
    folder = Path(tempfile.mkdtemp(prefix="xpukit-ranks-"))
    running: list[subprocess.Popen[bytes]] = []
    try:
        (folder / "request").write_bytes(request)
        for rank in range(ranks):
            env = {**os.environ, **build_rank_environment(rank, ranks, str(folder / "store"))}
            with (folder / "request").open("rb") as given:
                running.append(subprocess.Popen(argv, stdin=given, env=env))
        return _wait(running)
    finally:
        _end(running)
        shutil.rmtree(folder, ignore_errors=True)


def _wait(running: Sequence[subprocess.Popen[bytes]]) -> int:
    while True:
        codes = [process.poll() for process in running]
        for rank, code in enumerate(codes):
            if code:
                how = f"killed by signal {-code}" if code < 0 else f"ended with status {code}"
                # A rank that could speak has said why by itself.
                if code != 1:
                    print(f"{RANK_MESSAGE}{rank}: {how}", file=sys.stderr, flush=True)
                return 1
        if all(code == 0 for code in codes):
            return 0
        time.sleep(_POLL_S)


def _end(running: Sequence[subprocess.Popen[bytes]]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        for process in running:
            if process.poll() is None:
                process.send_signal(number)
        deadline = time.monotonic() + _GRACE_S
        for process in running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=max(0.0, deadline - time.monotonic()))


def _leave(number: int, frame: Any) -> None:
    raise SystemExit(128 + number)


def main() -> int:
    """Serve the command line."""
    signal.signal(signal.SIGTERM, _leave)
    return launch(int(sys.argv[1]), sys.argv[2:], sys.stdin.buffer.read())


if __name__ == "__main__":
    sys.exit(main())
