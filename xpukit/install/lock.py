"""One install at a time on a machine; it ends with its holder, however that ends."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from xpukit.core.errors import ExternalError
from xpukit.core.json_document import now_utc
from xpukit.install.backups import make_directories
from xpukit.install.site import STATE_DIR, Site
from xpukit.install.work import fail_errno

LOCK = f"{STATE_DIR}/lock"
_LOOK_S = 0.25


@contextlib.contextmanager
def hold_lock(site: Site, about: str, *, wait_s: float, pid: int, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock of a machine. Waits up to `wait_s` with a message; then raises ExternalError with the holder."""
    make_directories(site, STATE_DIR)
    lock = site.changer.make_lock(site.locate(LOCK))
    mine = f"process {pid}, {about}, since {now_utc()}"
    deadline = time.monotonic() + wait_s
    said = False
    while error := lock.take(mine):
        holder = lock.read_holder() or "another xpukit"
        if error != "EAGAIN":
            raise fail_errno(f"{LOCK}: cannot be taken", error)
        if time.monotonic() >= deadline:
            raise ExternalError(
                f"another xpukit install is at work: {holder}",
                hint="wait for it, or end that process; --lock-wait SECONDS waits longer",
            )
        if not said:
            say(f"waiting for another xpukit install: {holder}")
            said = True
        time.sleep(_LOOK_S)
    try:
        yield
    finally:
        lock.release()
