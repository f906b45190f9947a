"""A bundle for a machine without a network, for real: made with this machine's apt and pip, taken to a Debian tree that is
entered by chroot in an empty network namespace, applied, applied again, taken back; and every way of spoiling it refused.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.live.chroot_machine import REPO, Machine, make_python_base, skip_without_root
from xpukit.host.live import LiveHost
from xpukit.install.bundle.manifest import HEAD_FILES, KEY, MANIFEST, SIGNATURE, hash_file
from xpukit.install.bundle.refusal import RefusedBundleError
from xpukit.install.bundle.signing import Signer, open_signer
from xpukit.install.bundle.verify import make_trust, verify_bundle

pytestmark = [pytest.mark.live, pytest.mark.slow]

STACK = """\
schema = "xpukit.stack/1"
name = "bundle-test"
summary = "small packages of Debian 12"
date = "2026-11-21"
source = "this test"
scope = "container"
distribution = "debian"
releases = ["12"]

[[packages]]
name = "libze1"
purpose = "Level Zero loader"
source = "Debian 12"

[[packages]]
name = "clinfo"
purpose = "shows what OpenCL finds"
source = "Debian 12"

[[packages]]
name = "numactl"
purpose = "binds processes"
source = "Debian 12"

[[packages]]
name = "libze-intel-gpu1"
purpose = "Level Zero driver"
required = false
source = "not in Debian 12"

[[checks]]
argv = ["clinfo", "--version"]
package = "clinfo"
source = "clinfo(1)"
"""
LIMIT_S = 240


@dataclass(frozen=True)
class Made:
    """A bundle, the key that signed it, and the tree that it was resolved for."""

    folder: Path
    bundle: Path
    script: Path
    key_file: Path
    fingerprint: str
    document: dict[str, Any]
    root: Path

    def unpack(self, place: Path) -> Path:
        tree = place / "tree"
        with tarfile.open(self.bundle) as archive:
            archive.extractall(tree)
        return tree


def call(*argv: str | Path, cwd: Path = REPO, check: int | None = 0) -> subprocess.CompletedProcess[str]:
    words = [str(word) for word in argv]
    ran = subprocess.run(words, cwd=cwd, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    if check is not None:
        assert ran.returncode == check, f"{words}: exit {ran.returncode}\n{ran.stdout}\n{ran.stderr}"
    return ran


def xpukit(*words: str | Path, check: int | None = 0) -> subprocess.CompletedProcess[str]:
    return call(sys.executable, "-m", "xpukit", *words, check=check)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    skip_without_root()
    for program in ("gpg", "gpgv"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    root = make_python_base()
    folder = tmp_path_factory.mktemp("made")
    stack = folder / "stack.toml"
    stack.write_text(STACK)
    order = (
        "install", "bundle", "create", "--stack", stack, "--for", root, "-o", folder / "bundle.tar",
        "--signing-key", folder / "key.asc", "--json",
    )  # fmt: skip
    # First a run that fails after the packages came: what came is kept.
    broken = xpukit(*order, "--xpukit-wheel", folder / "none.whl", check=2)
    assert "none.whl" in broken.stderr
    debs = sorted((folder / "bundle.tar.work/tree/debs").iterdir())
    assert len(debs) >= 5
    kept = {path.name: path.stat().st_mtime_ns for path in debs[1:]}
    debs[0].write_bytes(debs[0].read_bytes()[:1000])  # and one of them only in part
    again = subprocess.Popen(
        [sys.executable, "-m", "xpukit", *(str(word) for word in order)],
        cwd=REPO, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    out, err = again.communicate(timeout=LIMIT_S)
    assert again.returncode == 0, err
    assert f"packages: {len(debs)}, to fetch: 1" in err
    document = json.loads(out)
    with tarfile.open(folder / "bundle.tar") as archive:
        names = {Path(name).name for name in archive.getnames()}
    assert set(kept) < names
    assert not (folder / "bundle.tar.work").exists()
    return Made(
        folder=folder,
        bundle=folder / "bundle.tar",
        script=folder / "xpukit-offline-install",
        key_file=folder / "key.asc",
        fingerprint=document["fingerprint"],
        document=document,
        root=root,
    )


@pytest.fixture(scope="module")
def machine(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """One copy for all tests of this file: each leaves it as it was."""
    place = tmp_path_factory.mktemp("machine")
    for name in ("root", "upper", "work"):
        (place / name).mkdir()
    layers = f"lowerdir={made.root},upperdir={place}/upper,workdir={place}/work"
    mounted = call("mount", "-t", "overlay", "overlay", "-o", layers, place / "root", check=None).returncode == 0
    if not mounted:
        call("cp", "-a", "--reflink=auto", f"{made.root}/.", place / "root")
    yield Machine(place / "root")
    if mounted:
        call("umount", place / "root")
    shutil.rmtree(place, ignore_errors=True)


def list_unpacked(machine: Machine) -> list[str]:
    place = machine.root / "var/lib/xpukit/bundles"
    return sorted(os.listdir(place)) if place.exists() else []


def pack(tree: Path, target: Path) -> Path:
    """As the maker packs: the signed head first."""
    names = [name for name in HEAD_FILES if (tree / name).exists()]
    names += sorted(str(path.relative_to(tree)) for path in tree.rglob("*") if not path.is_dir())
    with tarfile.open(target, "w", format=tarfile.GNU_FORMAT) as archive:
        for name in dict.fromkeys(names):
            archive.add(tree / name, arcname=name, recursive=False)
    return target


def sign_again(tree: Path, key_file: Path, *, created: str = "", key: bool = True) -> None:
    """Sign what lies there now, as somebody with that key could."""
    manifest = json.loads((tree / MANIFEST).read_bytes())
    manifest["created"] = created or manifest["created"]

    def write(signer: Signer) -> None:
        (tree / "InRelease").write_bytes(signer.sign_clear((tree / "Release").read_bytes()))
        for file in manifest["files"]:
            file["sha256"], file["size_bytes"] = hash_file(tree / file["path"])
        data = json.dumps(manifest).encode()
        (tree / MANIFEST).write_bytes(data)
        (tree / SIGNATURE).write_bytes(signer.sign_detached(data))
        if key:
            (tree / KEY).write_bytes(signer.public)

    with open_signer(LiveHost(), key_file=key_file) as signer:
        write(signer)


def test_it_says_what_it_is_made_of(made: Made) -> None:
    manifest = made.document["manifest"]
    assert manifest["target"]["release"] == "12"
    assert manifest["target"]["python_version"] == "3.11"
    assert manifest["absent"] == ["libze-intel-gpu1"]
    assert set(manifest["pins"]) == {"libze1", "clinfo", "numactl"}
    kinds = {file["kind"] for file in manifest["files"]}
    assert kinds == {"deb", "index", "wheel", "stack"}
    for file in manifest["files"]:
        assert len(file["sha256"]) == 64
        assert file["size_bytes"] > 0
        if file["kind"] == "deb":
            assert file["name"]
            assert file["version"]
            assert "://" in file["origin"]
            assert file["date"]
    names = {file["name"] for file in manifest["files"] if file["kind"] == "deb"}
    # What the target has already is not packed.
    assert {"libze1", "clinfo", "numactl", "libnuma1", "ocl-icd-libopencl1"} <= names
    assert not names & {"libc6", "python3", "dpkg"}
    text = xpukit("install", "bundle", "verify", made.bundle, "--fingerprint", made.fingerprint, "--files").stdout
    assert "all as signed" in text
    assert "known by     --fingerprint" in text


def test_a_key_that_nobody_vouches_for(made: Made, machine: Machine) -> None:
    ran = xpukit("install", "bundle", "verify", made.bundle)
    assert "nothing vouches for its key" in ran.stderr
    (machine.root / "var/lib/xpukit/install/bundles.json").unlink(missing_ok=True)
    refused = machine.install("apply", "--bundle", str(made.bundle), "--yes", check=1)
    assert "nothing vouches for its key" in refused.stderr
    assert list_unpacked(machine) == []


def test_apply_check_apply_again_undo(made: Made, machine: Machine) -> None:
    before, packages = machine.snapshot(), machine.list_packages()
    words = ("--bundle", str(made.bundle), "--fingerprint", made.fingerprint)
    plan = machine.install_json("plan", *words)
    assert plan["changes"]
    assert machine.snapshot() == before
    first = machine.install_json("apply", *words, "--yes")
    assert first["changes"]
    assert "numactl" in machine.list_packages()
    assert "3.0" in machine.chroot("clinfo", "--version")
    assert "policy:" in machine.chroot("numactl", "--show")
    # The key is known from now on.
    second = machine.install_json("apply", "--bundle", str(made.bundle), "--yes")
    assert second["changes"] == []
    assert machine.install_json("plan", *words)["blocked"] == []
    assert len(list_unpacked(machine)) == 1
    machine.install("undo", "--yes")
    assert machine.list_packages() == packages
    assert machine.snapshot() == before
    assert list_unpacked(machine) == []


def test_the_script_needs_only_python_and_bash(made: Made, machine: Machine) -> None:
    before, packages = machine.snapshot(), machine.list_packages()
    place = machine.root / "opt"
    for file in (made.bundle, made.script):
        shutil.copy2(file, place)

    def run(*words: str, check: int = 0) -> str:
        argv = ("unshare", "-n", "chroot", machine.root, "/opt/xpukit-offline-install", *words)
        ran = call(*argv, check=check)
        return ran.stdout + ran.stderr

    try:
        assert "all as signed" in run("verify")
        assert "numactl" in run("plan")
        assert machine.snapshot() == before
        run("apply", "--yes")
        assert "3.0" in machine.chroot("clinfo", "--version")
        assert "nothing to change" in run("apply", "--yes")
        assert "xpukit " in run("run", "--version")
        run("status")
        run("undo", "--yes")
        assert machine.list_packages() == packages
        assert machine.snapshot() == before
        # Changed behind its head: it does not unpack.
        shutil.rmtree(machine.root / "var/lib/xpukit/offline")
        data = bytearray((place / "xpukit-offline-install").read_bytes())
        data[-5000] ^= 1
        (place / "xpukit-offline-install").write_bytes(data)
        assert "damaged or was changed" in run("verify", check=4)
    finally:
        for name in os.listdir(place):
            (place / name).unlink()


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def edit_index(tree: Path) -> None:
    text = (tree / "Packages").read_text(encoding="utf-8")
    (tree / "Packages").write_text(text.replace("Package: numactl\n", "Package: numactl\nEssential: yes\n"))


def edit_manifest(tree: Path) -> None:
    edit_index(tree)
    manifest = json.loads((tree / MANIFEST).read_bytes())
    for file in manifest["files"]:
        file["sha256"], file["size_bytes"] = hash_file(tree / file["path"])
    (tree / MANIFEST).write_text(json.dumps(manifest))


def replace_by_link(tree: Path) -> None:
    (tree / "Release").unlink()
    (tree / "Release").symlink_to("/etc/passwd")


def find_deb(tree: Path) -> Path:
    return next((tree / "debs").glob("numactl_*.deb"))


SPOILED: dict[str, tuple[Callable[[Path], object], str]] = {
    "changed deb": (lambda tree: flip(find_deb(tree)), "debs/numactl_"),
    "edited index": (edit_index, "Packages: changed"),
    "edited index and manifest": (edit_manifest, "manifest.json.sig: not a signature"),
    "missing Release": (lambda tree: (tree / "Release").unlink(), "Release: missing"),
    "missing InRelease": (lambda tree: (tree / "InRelease").unlink(), "InRelease: missing"),
    "missing file": (lambda tree: find_deb(tree).unlink(), "debs/numactl_"),
    "missing signature": (lambda tree: (tree / SIGNATURE).unlink(), "manifest.json.sig: missing"),
    "extra file": (lambda tree: (tree / "debs/extra_1_amd64.deb").write_bytes(b"x"), "debs/extra_1_amd64.deb: extra"),
    "link instead of file": (replace_by_link, "Release: is no plain file"),
    "changed wheel": (lambda tree: flip(next((tree / "wheels").glob("xpukit-*"))), "wheels/xpukit-"),
}


@pytest.fixture
def applied_before(made: Made, machine: Machine) -> None:
    """The bundle was applied here once and taken back: its key and age are known."""
    if not (machine.root / "var/lib/xpukit/install/bundles.json").exists():
        machine.install("apply", "--bundle", str(made.bundle), "--fingerprint", made.fingerprint, "--yes")
        machine.install("undo", "--yes")


@pytest.fixture
def untouched(machine: Machine) -> Iterator[None]:
    """Whatever is refused leaves nothing behind."""
    before, packages = machine.snapshot(), machine.list_packages()
    yield
    assert machine.list_packages() == packages
    assert machine.snapshot() == before
    assert list_unpacked(machine) == []
    assert not (machine.root / "etc/apt/sources.list.d/xpukit.sources").exists()


@pytest.mark.usefixtures("untouched")
def test_what_was_tampered_with_is_refused_by_name(made: Made, machine: Machine, tmp_path: Path) -> None:
    """All cases on one machine: starting it anew for each would only take longer."""
    whole = made.unpack(tmp_path)
    host = LiveHost()
    trust = make_trust(host, fingerprint=made.fingerprint)
    assert verify_bundle(host, whole, trust).trusted_by == "--fingerprint"
    for case, (spoil, words) in SPOILED.items():
        tree = tmp_path / "spoiled"
        shutil.rmtree(tree, ignore_errors=True)
        shutil.copytree(whole, tree, symlinks=True)
        spoil(tree)
        bundle = pack(tree, tmp_path / "spoiled.tar")
        ran = machine.install("apply", "--bundle", str(bundle), "--fingerprint", made.fingerprint, "--yes", check=None)
        assert ran.returncode == 1, f"{case}: {ran.stdout}{ran.stderr}"
        assert "refused, nothing was installed" in ran.stderr, case
        assert words in ran.stderr, f"{case}: {ran.stderr}"
        # The same for one that lies unpacked on a medium.
        with pytest.raises(RefusedBundleError) as refused:
            verify_bundle(host, tree, trust)
        assert words in str(refused.value), f"{case}: {refused.value}"


@pytest.mark.usefixtures("untouched")
def test_a_truncated_archive(made: Made, machine: Machine, tmp_path: Path) -> None:
    data = made.bundle.read_bytes()
    for size in (len(data) // 2, len(data) - 20480, 700):
        (tmp_path / "cut.tar").write_bytes(data[:size])
        words = ("apply", "--bundle", str(tmp_path / "cut.tar"), "--fingerprint", made.fingerprint, "--yes")
        ran = machine.install(*words, check=1)
        assert "missing" in ran.stderr or "cut short" in ran.stderr


@pytest.mark.usefixtures("applied_before", "untouched")
def test_a_foreign_key(made: Made, machine: Machine, tmp_path: Path) -> None:
    tree = made.unpack(tmp_path)
    sign_again(tree, tmp_path / "foreign.asc")
    words = ("apply", "--bundle", str(pack(tree, tmp_path / "foreign.tar")), "--yes")
    # Given by hand, and known from the apply before.
    for trust in (("--fingerprint", made.fingerprint), ()):
        ran = machine.install(*words, *trust, check=1)
        assert "key.gpg: foreign key" in ran.stderr
    # The right key beside a signature of the foreign one.
    sign_again(tree, tmp_path / "foreign.asc", key=False)
    (tree / KEY).write_bytes(made.unpack(tmp_path / "second").joinpath(KEY).read_bytes())
    bundle = pack(tree, tmp_path / "mixed.tar")
    ran = machine.install("apply", "--bundle", str(bundle), "--fingerprint", made.fingerprint, "--yes", check=1)
    assert "manifest.json.sig: not a signature" in ran.stderr


@pytest.mark.usefixtures("applied_before", "untouched")
def test_a_downgrade(made: Made, machine: Machine, tmp_path: Path) -> None:
    """Rightly signed, but older than what was applied here before (the record outlives an undo)."""
    tree = made.unpack(tmp_path)
    sign_again(tree, made.key_file, created="2020-01-01T00:00:00Z")
    bundle = pack(tree, tmp_path / "old.tar")
    words = ("plan", "--bundle", str(bundle), "--fingerprint", made.fingerprint)
    ran = machine.install(*words, check=1)
    assert "manifest.json: downgrade: made 2020-01-01T00:00:00Z" in ran.stderr
    assert machine.install_json(*words, "--allow-older")["changes"]


def test_apt_itself_checks_too(made: Made, machine: Machine) -> None:
    """Were something changed after it was unpacked, apt would not take it: the key is its own affair as well."""
    before = machine.snapshot()
    machine.install("apply", "--bundle", str(made.bundle), "--fingerprint", made.fingerprint, "--yes")
    (place,) = list_unpacked(machine)
    tree = machine.root / "var/lib/xpukit/bundles" / place
    archive = find_deb(tree)
    whole = archive.read_bytes()
    flip(archive)
    apt = ("unshare", "-n", "chroot", machine.root, "apt-get", "-y")
    refused = call(*apt, "install", "--reinstall", "numactl", check=100)
    assert (
        "Hash Sum mismatch" in refused.stdout + refused.stderr or "unexpected size" in refused.stdout + refused.stderr
    )
    archive.write_bytes(whole)
    edit_index(tree)
    for file in (machine.root / "var/lib/apt/lists").glob("*xpukit*"):
        file.unlink()
    refused = call(*apt, "update", check=None)
    assert "Hash Sum mismatch" in refused.stderr or "unexpected size" in refused.stderr, refused
    machine.install("undo", "--yes")
    assert machine.snapshot() == before


def test_parts_for_small_media(made: Made, tmp_path: Path) -> None:
    from xpukit.install.bundle.archive import write_archive

    tree = made.unpack(tmp_path)
    manifest = json.loads((tree / MANIFEST).read_bytes())
    names = (*HEAD_FILES, *sorted(file["path"] for file in manifest["files"]))
    parts = write_archive(tmp_path / "b.tar", tree, names, part_bytes=4 << 20)
    assert len(parts) == -(-made.bundle.stat().st_size // (4 << 20))
    assert b"".join(part.read_bytes() for part in parts) == made.bundle.read_bytes()
    verify = ("install", "bundle", "verify", "--fingerprint", made.fingerprint)
    xpukit(*verify, tmp_path / "b.tar")
    xpukit(*verify, tmp_path / "b.tar.002")
    parts[1].rename(tmp_path / "elsewhere")
    assert "b.tar.002: this part is missing" in xpukit(*verify, tmp_path / "b.tar", check=1).stderr
    (tmp_path / "elsewhere").rename(parts[1])
    parts[-1].unlink()
    assert parts[-2].name in xpukit(*verify, tmp_path / "b.tar", check=1).stderr


def test_sqv_where_gpgv_is_not(made: Made, tmp_path: Path) -> None:
    """Debian 13's apt brings sqv instead."""
    sqv = shutil.which("sqv")
    if sqv is None:
        pytest.skip("sqv is not installed (Debian: sqv)")
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "sqv").symlink_to(sqv)
    script = textwrap.dedent("""
        import os, sys
        os.environ["PATH"] = sys.argv.pop(1)
        from xpukit.__main__ import main
        main()
    """)
    words = ("install", "bundle", "verify", str(made.bundle), "--fingerprint", made.fingerprint)
    ran = subprocess.run(
        [sys.executable, "-c", script, str(tools), *words],
        cwd=REPO, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert "all as signed" in ran.stdout, ran.stderr
