"""The Ubuntu stacks on a tree that says it is Ubuntu: real apt and dpkg, no network, and stand-ins for the packages.

The tree is Debian's (apt and dpkg are the same programs) with Ubuntu's os-release. The packages have the names and the
versions of the stacks and nothing in them: what is tested is that plan, apply, status, export and undo of these stacks
work, from a signed archive (as Intel's is) and from an unpacked offline installer. No GPU driver ran here.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from tests.live.chroot_machine import (
    REPO,
    Machine,
    TinyPackage,
    build_package,
    make_base,
    open_machine,
    skip_without_root,
)
from xpukit.facts.stacks import StackFacts, get_stack
from xpukit.host.live import LiveHost
from xpukit.install.bundle.repository import render_release
from xpukit.install.bundle.signing import open_signer

pytestmark = [pytest.mark.live, pytest.mark.slow]

KERNEL = "linux-image-6.14.0-37-generic"
# What a stand-in brings, where a stack looks for it.
PROGRAMS = {
    "clinfo": {"/usr/bin/clinfo": "#!/bin/sh\necho clinfo stand-in\n"},
    "gemm-tools": {"/usr/bin/matrix_mul_mkl": "#!/bin/sh\necho matrix stand-in\n"},
    "ccl-benchmark": {"/usr/bin/1ccl_benchmark": "#!/bin/sh\necho 1ccl stand-in\n"},
}
# Ubuntu's own packages: the stacks name no version of them.
VERSION = "1.0-1ubuntu1"
# The folders of the offline installer (intel/llm-scaler, platform/installer.sh).
FOLDERS = {"docker.io": "base/docker", "docker-compose-v2": "base/docker", "xpu-smi": "tools/xpu-smi"}
# The makers' names for these are not known: others than the stack's words.
NAMES = {"gemm-tools": ("tools/gemm", "gemm-stand-in"), "ccl-benchmark": ("tools/1ccl", "1ccl-stand-in")}


@pytest.fixture(scope="module", autouse=True)
def base() -> Path:
    skip_without_root()
    return make_base()


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with open_machine(tmp_path) as made:
        yield made


def call_ubuntu(machine: Machine, release: str) -> None:
    path = machine.root / "etc/os-release"
    path.unlink()
    path.write_text(f'ID=ubuntu\nVERSION_ID="{release}"\nPRETTY_NAME="Ubuntu {release}"\n')


def list_stand_ins(stack: StackFacts) -> list[TinyPackage]:
    """One for each package of the stack, at the version that it names as tested; no driver needs its loader here."""
    versions = {row.name: next(iter(row.tested), VERSION) for row in stack.packages}
    made = [TinyPackage(name, version, files=PROGRAMS.get(name)) for name, version in versions.items()]
    kernel = stack.kernel
    assert kernel is not None
    if kernel.package not in versions:
        made.append(TinyPackage(kernel.package, "6.14.0-37.37~24.04.1", depends=KERNEL))
        made.append(TinyPackage(KERNEL, "6.14.0-37.37~24.04.1"))
    return made


def sign_repository(machine: Machine, place: Path, *, late_days: int = 0) -> Path:
    """`InRelease` of the machine's repository, and the key beside it."""
    folder = machine.repository
    at = datetime.now(timezone.utc) - timedelta(days=late_days)
    release = render_release((folder / "Packages").read_bytes(), architecture="amd64", at=at)
    until = at + timedelta(days=1)
    release += f"Valid-Until: {until:%a, %d %b %Y %H:%M:%S} UTC\n".encode() if late_days > 0 else b""
    with open_signer(LiveHost(), key_file=place / "key.asc") as signer:
        (folder / "InRelease").write_bytes(signer.sign_clear(release))
        (machine.root / "opt/key.gpg").write_bytes(signer.public)
    return machine.root / "opt/key.gpg"


@pytest.mark.parametrize("late_days", [-3, 30])
def test_a_clock_that_is_wrong(machine: Machine, tmp_path: Path, late_days: int) -> None:
    """An archive brought by hand whose date is to come, or whose index has expired: its signature is what counts."""
    machine.add_packages((TinyPackage("xpk-good"),))
    key = sign_repository(machine, tmp_path, late_days=late_days)
    stack = machine.write_stack('[[packages]]\nname = "xpk-good"\npurpose = "p"\nsource = "s"\n')
    words = ("--stack", str(stack), "--source", "/opt/repository", "--source-key", "/opt/key.gpg")
    assert machine.install_json("plan", *words)["changes"] == 4
    assert len(machine.install_json("apply", *words, "--yes")["changes"]) == 4
    machine.install("undo", "--yes")
    with open_signer(LiveHost(), key_file=tmp_path / "other.asc") as other:
        key.write_bytes(other.public)
    assert "is not signed" in " ".join(machine.install_json("plan", *words, check=1)["blocked"])


def test_from_a_signed_archive(machine: Machine, tmp_path: Path) -> None:
    call_ubuntu(machine, "24.04")
    stack = get_stack("ubuntu-24.04")
    # As it is out of the box: no source has it, and the plan says what to do.
    bare = machine.install_json("plan", check=1)
    assert any("add-apt-repository" in word for finding in bare["findings"] for word in finding["remedy"])
    assert "libze-intel-gpu1" in " ".join(bare["blocked"])
    machine.add_packages(list_stand_ins(stack))
    sign_repository(machine, tmp_path)
    source = ("--source", "/opt/repository", "--source-key", "/opt/key.gpg", "--only-source")
    options = ("docker", "oneapi", "hold-stack", "kernel")
    words = (*source, "--user", "worker", *(word for name in options for word in ("--with", name)))
    before, packages = machine.snapshot(), machine.list_packages()
    plan = machine.install_json("plan", *words)
    assert machine.snapshot() == before
    assert plan["stack"] == "ubuntu-24.04"
    assert plan["blocked"] == []
    assert KERNEL in " ".join(plan["reboot"])
    coming = {
        package["name"]: package["after"]
        for step in plan["steps"]
        for change in step["changes"]
        for package in change["packages"]
    }
    wanted = {row.name for row in stack.packages if row.option in ("", "docker", "oneapi")}
    assert wanted | {"linux-generic-hwe-24.04", KERNEL} == coming.keys()
    for row in stack.packages:
        if row.name in coming and row.tested:
            assert coming[row.name] in row.tested
    done = machine.install_json("apply", *words, "--yes")
    assert len(done["changes"]) == plan["changes"]
    assert done["problems"] == []
    assert "clinfo stand-in" in machine.chroot("clinfo", "--version")
    assert set(machine.chroot("apt-mark", "showhold").split()) == {"libze-intel-gpu1", "intel-opencl-icd"}
    assert {"render", "video"} <= set(machine.chroot("id", "-nG", "worker").split())
    applied = machine.snapshot()
    assert machine.install_json("apply", *words, "--yes")["changes"] == []
    assert machine.snapshot() == applied
    status = machine.install_json("status")
    assert status["stack"] == "ubuntu-24.04"
    assert status["drift"] == 0
    exported = tmp_path / "set.json"
    machine.install("export", "--with", "docker", "-o", str(exported))
    assert json.loads(exported.read_text(encoding="utf-8"))["packages"]["libze1"] == "1.24.3-1~24.04~ppa1"
    machine.install("undo", "--yes")
    assert machine.list_packages() == packages
    assert machine.snapshot() == before
    # The exported set on the same machine, whose archive has got something newer.
    machine.add_packages((TinyPackage("libze1", "1.32.0-1~24.04~ppa1"),))
    sign_repository(machine, tmp_path)
    machine.install("apply", "--set", str(exported), *source, "--yes")
    assert machine.list_packages()["libze1"] == "1.24.3-1~24.04~ppa1 ii "
    machine.install("undo", "--yes")
    # An archive that another key signed is not taken.
    (tmp_path / "key.asc").unlink()
    foreign = (machine.root / "opt/key.gpg").read_bytes()
    sign_repository(machine, tmp_path)
    (machine.root / "opt/key.gpg").write_bytes(foreign)
    refused = machine.install_json("plan", *source, check=1)
    assert "the source cannot be read" in " ".join(refused["blocked"])


def make_installer(place: Path, stack: StackFacts) -> None:
    """An unpacked offline installer: archives in folders, no index, and tools without a package."""
    for package in list_stand_ins(stack):
        folder, name = NAMES.get(package.name, (FOLDERS.get(package.name, "gfxdrv/gpgpu"), package.name))
        (place / folder).mkdir(parents=True, exist_ok=True)
        build_package(TinyPackage(name, package.version, package.depends, package.files), place / folder)
    tools = place / "tools/level-zero-tests"
    tools.mkdir()
    (tools / "ze_peak").write_text("#!/bin/sh\necho ze_peak stand-in\n")
    (tools / "ze_global_bw.spv").write_bytes(b"\x03\x02\x23\x07")


def test_from_an_offline_installer_and_from_a_bundle_of_it(machine: Machine, tmp_path: Path) -> None:
    call_ubuntu(machine, "25.04")
    installer = machine.root / "opt/installer"
    make_installer(installer, get_stack("ubuntu-25.04"))
    unindexed = machine.install_json("plan", "--source", "/opt/installer", "--trust-source", check=1)
    assert "xpukit install index /opt/installer" in " ".join(unindexed["blocked"])
    (installer / "base/broken.deb").write_text("no archive\n")
    document = machine.install_json("index", "/opt/installer", check=1)
    assert "base/broken.deb: is no Debian package" in document["damaged"][0]
    (installer / "base/broken.deb").unlink()
    machine.install("index", "/opt/installer")
    options = [w for name in ("level-zero-tests", "gemm-tools", "ccl-benchmark", "docker") for w in ("--with", name)]
    words = ("--source", "/opt/installer", "--trust-source", "--only-source", *options)
    before, packages = machine.snapshot(), machine.list_packages()
    done = machine.install_json("apply", *words, "--yes")
    assert done["problems"] == []

    def look() -> None:
        for path in ("/opt/intel/multi-arc/tools/level-zero-tests/ze_peak", "matrix_mul_mkl", "1ccl_benchmark"):
            assert "stand-in" in machine.chroot(path)
        assert {"gemm-stand-in", "1ccl-stand-in", "docker.io"} <= machine.list_packages().keys()

    look()
    assert machine.install_json("apply", *words, "--yes")["changes"] == []
    # Also without the source: what is there is seen by what it brought.
    assert machine.install_json("plan", *options)["changes"] == 0
    machine.install("undo", "--yes")
    assert machine.list_packages() == packages
    assert machine.snapshot() == before
    assert not (machine.root / "opt/intel").exists()
    # The same packed into a bundle elsewhere, and the installer gone.
    sources = tmp_path / "installer.sources"
    sources.write_text(f"Types: deb\nURIs: file:{installer}\nSuites: ./\nTrusted: yes\n")
    made = subprocess.run(
        [sys.executable, "-m", "xpukit", "install", "bundle", "create", "--stack", "ubuntu-25.04",
         "--for", str(machine.root), "--source", str(sources), "--no-own-sources", "--no-wheels", *options,
         "--tools", str(installer), "-o", str(tmp_path / "site.tar"), "--signing-key", str(tmp_path / "key.asc"), "--json"],
        cwd=REPO, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    created = json.loads(made.stdout)
    kinds = [file["kind"] for file in created["manifest"]["files"]]
    assert kinds.count("tool") == 2
    installer.rename(machine.root / "opt/gone")
    trust = ("--bundle", str(tmp_path / "site.tar"), "--fingerprint", created["fingerprint"])
    plan = machine.install_json("plan", *trust)
    assert [f["summary"] for f in plan["findings"] if f["id"] == "XPK-INSTALL-PACKAGE-MISSING"] == []
    machine.install("apply", *trust, "--yes")
    look()
    machine.install("undo", "--yes")
    assert machine.list_packages() == packages
    assert machine.snapshot() == before
