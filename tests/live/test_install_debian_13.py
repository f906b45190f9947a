"""The stacks debian-13 and container for real, from Debian's own archive: minutes, so only where they are asked for.

XPUKIT_TEST_DEBIAN_13=1 asks. What came is in docs/hardware-status.md.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.live.chroot_machine import REPO, Machine, make_base, open_machine, skip_without_root

pytestmark = [
    pytest.mark.live,
    pytest.mark.slow,
    pytest.mark.skipif(not os.environ.get("XPUKIT_TEST_DEBIAN_13"), reason="minutes: XPUKIT_TEST_DEBIAN_13=1 asks"),
]

SOURCES = """\
Types: deb
URIs: {mirror}
Suites: trixie
Components: main non-free-firmware
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
"""


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    skip_without_root()
    with open_machine(tmp_path, make_base("trixie")) as made:
        yield made


def find_mirror() -> str:
    """Where this machine's own apt gets Debian from."""
    asked = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]
    out = subprocess.run(asked, check=True, capture_output=True, text=True, timeout=30).stdout
    found = [line for line in out.split() if line.rstrip("/").endswith("/debian")]
    if not found:
        pytest.skip("apt here has no archive of Debian")
    return found[0]


def install(machine: Machine, *words: str, offline: bool = False) -> dict[str, Any]:
    argv = [sys.executable, "-m", "xpukit", *machine.words(*words), "--json"]
    ran = subprocess.run(
        [*(("unshare", "-n") if offline else ()), *argv],
        cwd=REPO, capture_output=True, text=True, timeout=500, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    document: dict[str, Any] = json.loads(ran.stdout)
    return document


def there_and_back(machine: Machine, *words: str, offline: bool = False) -> None:
    """Plan, apply, again, undo: each as it must be."""
    before, packages = machine.snapshot(), machine.list_packages()
    plan = install(machine, "plan", *words, offline=offline)
    assert machine.snapshot() == before
    done = install(machine, "apply", *words, "--yes", offline=offline)
    assert len(done["changes"]) == plan["changes"]
    assert done["problems"] == []
    assert "clinfo" in machine.chroot("clinfo", "--version")
    applied = machine.snapshot()
    assert install(machine, "apply", *words, "--yes", offline=offline)["changes"] == []
    assert machine.snapshot() == applied
    install(machine, "undo", "--yes", offline=offline)
    assert machine.list_packages() == packages
    assert machine.snapshot() == before


@pytest.mark.parametrize(
    "words",
    [
        ("--stack", "container"),
        ("--with", "docker", "--with", "governor", "--with", "hold-updates", "--with", "hold-stack"),
    ],
    ids=["container", "machine"],
)
def test_from_the_archive(machine: Machine, words: tuple[str, ...]) -> None:
    (machine.root / "etc/apt/sources.list.d/debian.sources").write_text(SOURCES.format(mirror=find_mirror()))
    fresh = subprocess.run(
        [sys.executable, "-m", "xpukit", *machine.words("plan", *words), "--json"],
        cwd=REPO, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert [finding["id"] for finding in json.loads(fresh.stdout)["findings"]] == ["XPK-INSTALL-APT-LISTS"]
    machine.chroot("apt-get", "-q", "update")
    if "docker" in words:
        machine.chroot("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qy", "install", "systemd-sysv")
    there_and_back(machine, *words)


def test_a_bundle_made_on_another_release(machine: Machine, tmp_path: Path) -> None:
    sources = tmp_path / "trixie.sources"
    sources.write_text(SOURCES.format(mirror=find_mirror()))
    create = (
        "install", "bundle", "create", "--for", str(machine.root), "--source", str(sources), "--no-own-sources",
        "--no-wheels", "-o", str(tmp_path / "site.tar"), "--signing-key", str(tmp_path / "key.asc"),
    )  # fmt: skip
    ran = subprocess.run(
        [sys.executable, "-m", "xpukit", *create], cwd=REPO, capture_output=True, text=True, timeout=500, check=False
    )
    assert ran.returncode == 0, ran.stderr
    fingerprint = re.search(r"[0-9A-F]{4}(?: {1,2}[0-9A-F]{4}){9}", ran.stdout)
    assert fingerprint is not None
    there_and_back(
        machine, "--bundle", str(tmp_path / "site.tar"), "--fingerprint", fingerprint[0], offline=True
    )  # fmt: skip
