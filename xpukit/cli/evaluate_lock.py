"""One evaluation at a time writes into a run directory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from xpukit.core.errors import OutputError, UsageError

LOCK = "run.lock"


@contextmanager
def hold_run(path: Path) -> Iterator[None]:
    """Hold the run directory while the block runs; the lock ends with this process, however it ends.

    Raises UsageError when another process holds it, OutputError when it cannot be written.
    """
    from xpukit.host.file_lock import FileLock

    lock = FileLock(str(path / LOCK))
    refused = lock.take(f"process {os.getpid()}")
    if refused == "EAGAIN":
        holder = lock.read_holder() or "another process"
        raise UsageError(f"{path}: {holder} measures into it now", hint="wait until it ends, or start a run of its own")
    if refused:
        raise OutputError(f"{path}: cannot be written ({refused})", hint="check its permissions and free space")
    try:
        yield
    finally:
        lock.release()
