"""What files of tests share: daemons and builds that cost many seconds each, and that nothing here breaks."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.live.docker_engine import DockerEngine, import_debian, import_tiny, start_engine
from tests.live.smoke_base import build_smoke, import_base


@pytest.fixture(scope="session")
def closed_engine() -> Iterator[DockerEngine]:
    """A daemon without a way out, with the tiny image and the base of the smoke recipe."""
    with start_engine() as started:
        import_tiny(started)
        import_base(started)
        yield started


@pytest.fixture(scope="session")
def open_engine() -> Iterator[DockerEngine]:
    """A daemon in this machine's network, with the tiny image and both of Debian: its builds may fetch packages, and its
    containers listen on loopback. The bridge is its own: with the default one it would take away that of a daemon which
    runs here.
    """
    if os.geteuid() != 0 or not shutil.which("ip"):
        pytest.skip("needs root and ip (Debian: iproute2)")
    name = f"xpk{os.getpid() % 100000}"
    address = f"169.254.{os.getpid() % 250 + 1}.1/24"
    for argv in (["link", "add", name, "type", "bridge"], ["addr", "add", address, "dev", name]):
        if subprocess.run(["ip", *argv], capture_output=True, timeout=20, check=False).returncode:
            subprocess.run(["ip", "link", "del", name], capture_output=True, timeout=20, check=False)
            pytest.skip("no bridge can be made here")
    try:
        with start_engine(isolated=False, options=(f"--bridge={name}", "--iptables=false")) as started:
            import_tiny(started)
            import_debian(started)
            import_base(started)
            yield started
    finally:
        subprocess.run(["ip", "link", "del", name], capture_output=True, timeout=20, check=False)


@pytest.fixture(scope="session")
def smoke_builds(closed_engine: DockerEngine, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The smoke recipe as `build-image` builds it with each builder: the documents of --json, and `state` beside."""
    return build_smoke(closed_engine, tmp_path_factory.mktemp("state"))
