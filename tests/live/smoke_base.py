"""A Debian base that already has what the smoke recipe installs, so that it builds in a daemon without a network."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.live.docker_engine import DEBOOTSTRAP_LIMIT_S, DockerEngine, find_missing

BASE = "xpukit-test/debian-python:12"
PACKAGES = "ca-certificates,numactl,python3,python3-venv"


def import_base(engine: DockerEngine) -> str:
    """The image; its tag. The tar is made once and kept."""
    engine.docker("import", "-c", 'CMD ["bash"]', str(_make_tar()), BASE)
    return BASE


def _make_tar() -> Path:
    cache = Path(os.environ.get("XPUKIT_TEST_CACHE", "/var/tmp/xpukit-test-cache"))
    kept = cache / "debian-12-python.tar"
    if kept.exists():
        return kept
    if reason := find_missing("debootstrap"):
        pytest.skip(reason)
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="xpk-root", dir=cache) as root:
        made = subprocess.run(
            ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", root],
            capture_output=True, text=True, timeout=DEBOOTSTRAP_LIMIT_S, check=False,
        )  # fmt: skip
        if made.returncode:
            pytest.skip(f"debootstrap fails here: {made.stdout.splitlines()[-1:]}")
        # Without sources `apt-get update` has nothing to fetch and `install` finds all there.
        (Path(root) / "etc/apt/sources.list").write_text("")
        part = cache / f".{kept.name}.{os.getpid()}"
        subprocess.run(
            ["tar", "--numeric-owner", "--exclude=./proc/*", "--exclude=./sys/*", "--exclude=./dev/*",
             "--exclude=./var/cache/apt/archives/*.deb", "-C", root, "-cf", str(part), "."],
            check=True, capture_output=True, timeout=120,
        )  # fmt: skip
        part.replace(kept)
    return kept
