"""A Debian base that already has what the smoke recipe installs, so that it builds in a daemon without a network; and
the builds of that recipe, as a user makes them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.live.docker_engine import DEBOOTSTRAP_LIMIT_S, DockerEngine, make_debian_tar, pack_root
from xpukit.host.live import LiveHost
from xpukit.images.builders.choose import list_builders

REPO = Path(__file__).resolve().parents[2]
LIMIT_S = 300.0
BASE = "xpukit-test/debian-python:12"
PACKAGES = ("ca-certificates", "numactl", "python3", "python3-venv")


def import_base(engine: DockerEngine) -> str:
    """The image; its tag. The tar is made once and kept."""
    engine.docker("import", "-c", 'CMD ["bash"]', str(_make_tar()), BASE)
    return BASE


def _make_tar() -> Path:
    """The minimal root and these packages: a second debootstrap would take three times as long."""
    minimal = make_debian_tar()
    kept = minimal.with_name("debian-12-python-1.tar")
    if kept.exists():
        return kept
    with tempfile.TemporaryDirectory(prefix="xpk-root", dir=minimal.parent) as root:
        subprocess.run(["tar", "--numeric-owner", "-C", root, "-xf", str(minimal)], check=True, timeout=120)
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
        proxies = {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")}
        for argv in (["update", "-q"], ["install", "-qy", "--no-install-recommends", *PACKAGES], ["clean"]):
            ran = subprocess.run(
                ["chroot", root, "apt-get", *argv], env={**environment, **proxies},
                capture_output=True, text=True, timeout=DEBOOTSTRAP_LIMIT_S, check=False,
            )  # fmt: skip
            if ran.returncode:
                pytest.skip(f"apt-get {argv[0]} fails in the base: {ran.stderr.splitlines()[-1:]}")
        # Without sources `apt-get update` has nothing to fetch and `install` finds all there.
        (Path(root) / "etc/apt/sources.list").write_text("")
        pack_root(Path(root), kept)
    return kept


def make_environment(address: str, state: Path, **more: str) -> dict[str, str]:
    """Of a user who has nothing set but where the daemon is."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "DOCKER_CONFIG") if name in os.environ}
    return {**kept, "DOCKER_HOST": address, "XDG_STATE_HOME": str(state), "PYTHONPATH": str(REPO), **more}


def make_command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "xpukit", "build-image", *arguments]


def run_build(environment: dict[str, str], *arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        make_command(*arguments), env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False, **more
    )


def build_smoke(engine: DockerEngine, state: Path) -> dict[str, dict[str, Any]]:
    """By each builder that is there: the document of --json, and where its state lies."""
    found = {}
    there = {offer.kind for offer in list_builders(LiveHost()) if offer.builder is not None}
    for kind in sorted(there, key=("buildkit", "buildx", "classic").index):
        ran = run_build(
            make_environment(engine.address, state), "smoke", "--base-image", BASE, "--builder", kind, "--json",
            "--tag", f"own/smoke-{kind}:1", "--no-smoke",
        )  # fmt: skip
        assert ran.returncode == 0, ran.stdout + ran.stderr
        found[kind] = {**json.loads(ran.stdout), "state": state}
    return found
