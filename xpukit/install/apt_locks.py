"""Waiting for dpkg and apt to be free, and saying who holds them."""

from __future__ import annotations

import time

from xpukit.core.errors import ExternalError
from xpukit.install.work import Work

LOCKS = (
    "/var/lib/dpkg/lock-frontend",
    "/var/lib/dpkg/lock",
    "/var/lib/apt/lists/lock",
    "/var/cache/apt/archives/lock",
)
_LOOK_S = 0.5


def wait_for_apt(work: Work) -> None:
    """Return when nobody holds dpkg's and apt's locks. Raises ExternalError with the holder after `lock_wait_s`."""
    deadline = time.monotonic() + work.lock_wait_s
    said = ""
    while True:
        holder, path = _find_holder(work)
        if not holder:
            return
        if time.monotonic() >= deadline:
            raise ExternalError(
                f"{path}: held by {holder} for longer than {work.lock_wait_s:.0f} s",
                hint="wait until it is done (an automatic upgrade?), then run again; --lock-wait waits longer",
            )
        if said != holder:
            work.say(f"waiting for {path}: held by {holder}")
            said = holder
        time.sleep(_LOOK_S)


def _find_holder(work: Work) -> tuple[str, str]:
    for path in LOCKS:
        holder = work.site.changer.find_record_lock(work.site.locate(path))
        if holder.pid:
            return holder.text, path
    return "", ""
