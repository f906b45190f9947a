"""udev reads its rules anew and applies them to the GPUs that are there."""

from __future__ import annotations

from xpukit.install.site import Site
from xpukit.install.step import Refresh
from xpukit.install.work import Work


def has_udev(site: Site) -> bool:
    """Only on the machine itself: a root directory has no running udev."""
    return site.is_whole and site.has_program("udevadm") and site.exists("/run/udev/control")


def run_udev(work: Work) -> None:
    work.must(("udevadm", "control", "--reload"), timeout_s=60)
    work.must(("udevadm", "trigger", "--subsystem-match=drm", "--action=change"), timeout_s=60)
    work.must(("udevadm", "settle", "--timeout=30"), timeout_s=60)


def check_udev(site: Site) -> tuple[str, ...]:
    """udevadm says when it could not do it; the nodes are looked at by the groups step."""
    return ()


REFRESH = Refresh(
    name="udev",
    summary="udev's rules read anew",
    order=20,
    applies=has_udev,
    run=run_udev,
    check=check_udev,
)
