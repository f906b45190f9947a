"""A machine whose first process is systemd: namespaces of its own around a tree, no virtual machine.

Only the unified cgroup hierarchy is given to it, and no devices but the usual ones. xpukit runs inside as on any
machine: the checkout and this environment's packages are mounted at their own places.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.chroot_machine import REPO, Machine

_UNIFIED = ("/sys/fs/cgroup/unified", "/sys/fs/cgroup")
START_LIMIT_S = 60.0
RUN_LIMIT_S = 120
# $1: the tree, $2…: directories of this machine that shall be there too.
_START = r"""
root=$1; shift
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t tmpfs tmpfs "$root/sys/fs/cgroup" && mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
for place in run tmp dev; do mount -t tmpfs tmpfs "$root/$place"; done
# They may lie below /tmp.
for place do
  mkdir -p "$root$place" && mount --bind -o ro "$place" "$root$place"
done
mknod -m 666 "$root/dev/null" c 1 3; mknod -m 666 "$root/dev/zero" c 1 5; mknod -m 666 "$root/dev/urandom" c 1 9
mknod -m 666 "$root/dev/random" c 1 8; ln -s /proc/self/fd "$root/dev/fd"
exec chroot "$root" env -i container=xpukit-test PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system
"""


class SystemdMachine:
    """A tree in which systemd runs; commands enter its namespaces."""

    def __init__(self, machine: Machine, pid: int) -> None:
        self.machine = machine
        self.root = machine.root
        self._pid = pid

    def run(self, *argv: str, check: int | None = 0) -> subprocess.CompletedProcess[str]:
        """A command inside."""
        words = ["nsenter", "-t", str(self._pid), "-m", "-p", "-n", "-u", "-i", "-r", "-w", *argv]
        ran = subprocess.run(words, capture_output=True, text=True, timeout=RUN_LIMIT_S, check=False)
        if check is not None:
            assert ran.returncode == check, f"{argv}: exit {ran.returncode}\n{ran.stdout}\n{ran.stderr}"
        return ran

    def install(self, *words: str, check: int | None = 0) -> subprocess.CompletedProcess[str]:
        """`xpukit install …` inside, about the machine itself."""
        paths = f"PYTHONPATH={REPO}:{sysconfig.get_path('purelib')}"
        return self.run(
            "env", paths, "PYTHONDONTWRITEBYTECODE=1", "python3", "-m", "xpukit", "install", *words, check=check
        )

    def ask_unit(self, unit: str) -> tuple[str, str]:
        """How a unit stands: enabled or not, active or not."""
        return tuple(
            self.run("systemctl", verb, unit, check=None).stdout.strip() for verb in ("is-enabled", "is-active")
        )  # type: ignore[return-value]


@contextlib.contextmanager
def start_systemd(machine: Machine) -> Iterator[SystemdMachine]:
    """Start it, wait until it is up, stop it. Skips where that cannot be."""
    python = next((machine.root / "usr/bin").glob("python3.[0-9]*"), Path("none"))
    if python.name != f"python{sys.version_info[0]}.{sys.version_info[1]}":
        pytest.skip(f"the tree has {python.name}: packages for this Python do not load there")
    hierarchy = next((Path(place) for place in _UNIFIED if (Path(place) / "cgroup.procs").exists()), None)
    if hierarchy is None or not all(shutil.which(name) for name in ("unshare", "nsenter")):
        pytest.skip("no unified cgroup hierarchy here, or no unshare and nsenter")
    group = hierarchy / f"xpukit-test-{os.getpid()}"
    group.mkdir()
    shared = [str(REPO), sysconfig.get_path("purelib")]
    apart = (
        "--fork",
        "--pid",
        "--kill-child",
        "--mount",
        "--propagation",
        "private",
        "--uts",
        "--ipc",
        "--net",
        "--cgroup",
    )
    enter = f'echo $$ > {group}/cgroup.procs && exec unshare {" ".join(apart)} sh -c "$0" sh "$@"'
    process = subprocess.Popen(
        ["sh", "-c", enter, _START, str(machine.root), *shared], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )  # fmt: skip
    try:
        yield SystemdMachine(machine, _await_systemd(machine, process))
    finally:
        process.kill()
        process.wait(timeout=30)
        _remove_group(group)


def _await_systemd(machine: Machine, process: subprocess.Popen[str]) -> int:
    """The process id of systemd once it answers and has started what it starts."""
    import psutil

    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            pytest.skip(f"systemd does not start here: {process.stderr.read() if process.stderr else ''}")
        children = psutil.Process(process.pid).children()
        if children and children[0].name() == "systemd":
            started = SystemdMachine(machine, children[0].pid)
            state = started.run("systemctl", "is-system-running", check=None).stdout.strip()
            if state in ("running", "degraded"):
                return children[0].pid
        time.sleep(0.1)
    raise AssertionError("systemd does not come up")


def _remove_group(group: Path) -> None:
    deadline = time.monotonic() + 20
    while group.exists() and time.monotonic() < deadline:
        for folder in sorted((path for path in group.rglob("*") if path.is_dir()), reverse=True):
            with contextlib.suppress(OSError):
                folder.rmdir()
        with contextlib.suppress(OSError):
            group.rmdir()
        time.sleep(0.05)
