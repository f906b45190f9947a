"""Quadlet and Compose v2 from a later Debian, run through that Debian's own ld.so: this one has neither."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.native.build import name_cache
from tests.native.newer_loader import KEYRING, find_mirror

SUITE = "trixie"
PACKAGES = ("podman", "docker-compose", "libc6")
QUADLET = "usr/libexec/podman/quadlet"
COMPOSE = "usr/libexec/docker/cli-plugins/docker-compose"
_LIBRARIES = "usr/lib/x86_64-linux-gnu"


def find_newer(tool: str) -> list[str]:
    """The words that start the tool; skips the test where it cannot be had."""
    root = name_cache() / f"tools-{SUITE}"
    if not (root / "complete").exists():
        _fetch(root)
    loader = root / _LIBRARIES / "ld-linux-x86-64.so.2"
    return [str(loader), "--library-path", f"{root / _LIBRARIES}:/{_LIBRARIES}", str(root / tool)]


def _fetch(root: Path) -> None:
    mirror = find_mirror()
    if not KEYRING.exists() or not mirror:
        pytest.skip("apt names no Debian mirror here, or its keys are not there")
    state = root / "apt"
    for part in ("lists/partial", "cache/archives/partial", "debs"):
        (state / part).mkdir(parents=True, exist_ok=True)
    (state / "status").touch()
    (state / "sources.list").write_text(f"deb [arch=amd64 signed-by={KEYRING}] {mirror} {SUITE} main\n")
    options = {
        "Dir::Etc::SourceList": state / "sources.list",
        "Dir::Etc::SourceParts": "-",
        "Dir::State::Lists": state / "lists",
        "Dir::State::Status": state / "status",
        "Dir::Cache": state / "cache",
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
    }
    apt = ["apt-get", "-q", *(part for key, value in options.items() for part in ("-o", f"{key}={value}"))]
    _run([*apt, "update"], state)
    _run([*apt, "download", *PACKAGES], state / "debs")
    for deb in sorted((state / "debs").glob("*.deb")):
        _run(["dpkg-deb", "-x", str(deb), str(root)], state)
    (root / "complete").touch()


def _run(argv: Sequence[str], folder: Path) -> None:
    ran = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=200, check=False)
    if ran.returncode:
        pytest.skip(f"{argv[0]} {argv[-1]}: {ran.stderr.strip()[-200:]}")
