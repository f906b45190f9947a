"""A machine of its own for install tests: a Debian tree made by debootstrap, entered by chroot, without a network.

The tree is made once and kept; each test gets a copy. Packages come from a flat repository made here, of Debian's own
archives and of small ones written by the tests.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.live.forked_cli import Started

REPO = Path(__file__).resolve().parent.parent.parent
CACHE = Path(os.environ.get("XPUKIT_TEST_CACHE", "/var/tmp/xpukit-test-cache"))
SUITE = "bookworm"
# Real packages of the stack that are small, with what they need on a minimal tree.
REAL_PACKAGES = ("libze1", "clinfo", "ocl-icd-libopencl1", "numactl", "libnuma1")
DEBOOTSTRAP_LIMIT_S = 280
RUN_LIMIT_S = 120
# What an install and its undo may leave: our journal, logs, caches, and the backups that dpkg and shadow keep of theirs.
_OWN = (
    "var/lib/xpukit", "var/log", "var/cache", "var/lib/dpkg/status-old", "var/lib/dpkg/available", "var/lib/apt/extended_states",
    "var/lib/dpkg/lock", "var/lib/apt/lists/lock", "var/lib/apt/lists/partial", "etc/group-", "etc/gshadow-", "etc/ld.so.cache", "tmp", "run/",
    "var/lib/dpkg/diversions-old", "var/lib/dpkg/triggers/Lock", "var/lib/dpkg/info/format",
)  # fmt: skip


def skip_without_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("a chroot needs root")
    for program in ("debootstrap", "dpkg-deb", "chroot", "unshare"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    tried = subprocess.run(["unshare", "-n", "true"], capture_output=True, timeout=10, check=False)
    if tried.returncode:
        pytest.skip("a network namespace cannot be made here")


def make_base(suite: str = SUITE) -> Path:
    """The tree that machines are copied from; made once."""
    base = CACHE / f"install-base-{suite}"
    if (base / "ready").exists():
        return base / "tree"
    CACHE.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=".install-base-", dir=CACHE))
    made = subprocess.run(
        ["debootstrap", "--variant=minbase", suite, str(part / "tree")],
        capture_output=True, text=True, timeout=DEBOOTSTRAP_LIMIT_S, check=False,
    )  # fmt: skip
    if made.returncode:
        shutil.rmtree(part)
        pytest.skip(f"debootstrap fails here: {made.stdout.splitlines()[-1:]}")
    tree = part / "tree"
    (tree / "etc/apt/sources.list").write_text("")
    for archive in (tree / "var/cache/apt/archives").glob("*.deb"):
        archive.unlink()
    for listing in (tree / "var/lib/apt/lists").glob("*_*"):
        listing.unlink()
    with (tree / "etc/passwd").open("a") as file:
        file.write("worker:x:1000:1000::/home/worker:/bin/bash\n")
    with (tree / "etc/group").open("a") as file:
        file.write("worker:x:1000:\n")
    (part / "ready").write_text("")
    shutil.rmtree(base, ignore_errors=True)
    part.rename(base)
    return base / "tree"


def make_python_base() -> Path:
    """A tree with Python 3 and systemd, and nothing of the stack; made once."""
    base = CACHE / f"install-base-{SUITE}-python-systemd"
    if not (base / "ready").exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=".install-python-", dir=CACHE))
        made = subprocess.run(
            ["debootstrap", "--variant=minbase", "--include=python3,systemd-sysv,dbus", SUITE, str(part / "tree")],
            capture_output=True, text=True, timeout=DEBOOTSTRAP_LIMIT_S, check=False,
        )  # fmt: skip
        if made.returncode:
            shutil.rmtree(part)
            pytest.skip(f"debootstrap fails here: {made.stdout.splitlines()[-1:]}")
        (part / "tree/etc/apt/sources.list").write_text("")
        for pattern in ("var/cache/apt/archives/*.deb", "var/lib/apt/lists/*_*"):
            for file in (part / "tree").glob(pattern):
                file.unlink()
        (part / "ready").write_text("")
        shutil.rmtree(base, ignore_errors=True)
        part.rename(base)
    return base / "tree"


def fetch_real_packages() -> Path:
    """Debian's own archives of the stack's small packages, from apt; fetched once."""
    folder = CACHE / "install-debs"
    if all(any(folder.glob(f"{name}_*.deb")) for name in REAL_PACKAGES):
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    ran = subprocess.run(
        ["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", *REAL_PACKAGES],
        cwd=folder, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    if ran.returncode:
        pytest.skip(f"packages cannot be fetched: {ran.stderr.splitlines()[-1:]}")
    return folder


@dataclass(frozen=True)
class TinyPackage:
    """An archive written for a test."""

    name: str
    version: str = "1.0"
    depends: str = ""
    files: Mapping[str, str] | None = None
    postinst: str = ""
    conffile: str = ""


def build_package(package: TinyPackage, folder: Path) -> Path:
    """Build it with dpkg-deb."""
    with tempfile.TemporaryDirectory(prefix="tiny-deb-") as made:
        tree = Path(made)
        control = tree / "DEBIAN" / "control"
        control.parent.mkdir()
        depends = f"Depends: {package.depends}\n" if package.depends else ""
        control.write_text(
            f"Package: {package.name}\nVersion: {package.version}\nArchitecture: amd64\n{depends}"
            "Maintainer: xpukit tests <tests@example.org>\nDescription: made for a test\n"
        )
        for path, content in (package.files or {f"/usr/share/doc/{package.name}/README": "made for a test\n"}).items():
            target = tree / path.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(content)
            target.chmod(0o755 if "/bin/" in path else 0o644)
        if package.conffile:
            (tree / "DEBIAN" / "conffiles").write_text(package.conffile + "\n")
        if package.postinst:
            script = tree / "DEBIAN" / "postinst"
            script.write_text(f"#!/bin/sh\nset -e\n{textwrap.dedent(package.postinst)}\n")
            script.chmod(0o755)
        os.chmod(tree, 0o755)
        file = folder / f"{package.name}_{package.version.replace(':', '%3a')}_amd64.deb"
        subprocess.run(
            ["dpkg-deb", "--root-owner-group", "-Zgzip", "--build", made, str(file)],
            check=True, capture_output=True, timeout=60,
        )  # fmt: skip
    return file


def write_index(folder: Path) -> None:
    """`Packages` of a flat repository."""
    paragraphs = []
    for archive in sorted(folder.glob("*.deb")):
        control = subprocess.run(
            ["dpkg-deb", "-f", str(archive)], check=True, capture_output=True, text=True, timeout=60
        ).stdout.strip()
        data = archive.read_bytes()
        paragraphs.append(
            f"{control}\nFilename: ./{archive.name}\nSize: {len(data)}\nSHA256: {hashlib.sha256(data).hexdigest()}\n"
        )
    (folder / "Packages").write_text("\n".join(paragraphs))


class Machine:
    """One copy of the tree."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def repository(self) -> Path:
        return self.root / "opt/repository"

    def add_packages(self, packages: Sequence[TinyPackage], *, real: bool = False) -> None:
        """Put archives into the machine's repository and index it."""
        self.repository.mkdir(parents=True, exist_ok=True)
        if real:
            for archive in fetch_real_packages().glob("*.deb"):
                shutil.copy2(archive, self.repository)
        for package in packages:
            build_package(package, self.repository)
        write_index(self.repository)

    def write_stack(self, body: str) -> Path:
        """A stack file for this machine, outside its root."""
        path = self.root.parent / "stack.toml"
        path.write_text(
            'schema = "xpukit.stack/1"\nname = "test"\nsummary = "made for a test"\ndate = "2026-11-21"\n'
            'source = "this test"\ndistribution = "debian"\nreleases = ["12"]\n' + textwrap.dedent(body)
        )
        return path

    def words(self, *words: str) -> list[str]:
        return ["install", *words, "--root", str(self.root)]

    def install(self, *words: str, check: int | None = 0) -> subprocess.CompletedProcess[str]:
        """`xpukit install …` on this machine, without a network."""
        ran = Started(self.words(*words)).wait(RUN_LIMIT_S)
        if check is not None:
            assert ran.returncode == check, f"{words}: exit {ran.returncode}\n{ran.stdout}\n{ran.stderr}"
        return ran

    def install_json(self, *words: str, check: int | None = 0) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.install(*words, "--json", check=check).stdout)
        return document

    def kill_at_line(self, words: Sequence[str], journal: Path, number: int, *, delay_s: float, children: bool) -> bool:
        """Start it and SIGKILL it (with or without what it started) once the journal grew by `number` lines."""
        start = _count_lines(journal)
        process = Started(self.words(*words))
        while process.running and _count_lines(journal) < start + number:
            time.sleep(0.002)
        time.sleep(delay_s)
        alive = process.running
        for pid in [*(_list_descendants(process.pid) if children else ()), process.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait(10)
        return alive

    def chroot(self, *argv: str) -> str:
        ran = subprocess.run(
            ["chroot", str(self.root), *argv], check=True, capture_output=True, text=True, timeout=RUN_LIMIT_S
        )
        return ran.stdout

    def list_packages(self) -> dict[str, str]:
        """Every package with version and state."""
        out = self.chroot("dpkg-query", "-W", "-f", "${binary:Package}\t${Version} ${db:Status-Abbrev}\n")
        return dict(line.split("\t") for line in out.splitlines())

    def snapshot(self) -> dict[str, tuple[str, int, int, str]]:
        """Every file, link and directory with kind, mode, owner and content, but for what may differ."""
        found = {}
        for directory, names, files in os.walk(self.root):
            relative = os.path.relpath(directory, self.root)
            relative = "" if relative == "." else relative + "/"
            names[:] = [name for name in names if not (relative + name).startswith(_OWN) and relative + name != "opt"]
            for name in [*names, *files]:
                path = relative + name
                if path.startswith(_OWN):
                    continue
                full = os.path.join(directory, name)
                stat = os.lstat(full)
                content = ""
                if os.path.islink(full):
                    content = os.readlink(full)
                elif os.path.isfile(full):
                    content = _hash_once(full, stat)
                found[path] = (oct(stat.st_mode), stat.st_uid, stat.st_gid, content)
        # dpkg writes its list of packages in an order of its own.
        status = (self.root / "var/lib/dpkg/status").read_text(encoding="utf-8")
        text = "\n\n".join(sorted(status.strip().split("\n\n")))
        found["var/lib/dpkg/status"] = ("", 0, 0, hashlib.sha256(text.encode()).hexdigest())
        return found


_HASHES: dict[tuple[int, ...], str] = {}


def _hash_once(path: str, stat: os.stat_result) -> str:
    """A file's hash; one whose inode, size and times (the change time cannot be set) are known is not read again."""
    key = (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
    if key not in _HASHES:
        _HASHES[key] = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    return _HASHES[key]


def _count_lines(journal: Path) -> int:
    return journal.read_bytes().count(b"\n") if journal.exists() else 0


def _list_descendants(pid: int) -> list[int]:
    import psutil

    try:
        return [child.pid for child in psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


@contextlib.contextmanager
def open_machine(folder: Path, base: Path | None = None) -> Iterator[Machine]:
    """A fresh tree: an overlay over the base where that can be mounted, else a copy."""
    root = folder / "root"
    base = base or make_base()
    for name in ("root", "upper", "work"):
        (folder / name).mkdir()
    options = f"lowerdir={base},upperdir={folder}/upper,workdir={folder}/work"
    argv = ["mount", "-t", "overlay", "overlay", "-o", options, str(root)]
    mounted = not subprocess.run(argv, capture_output=True, timeout=30, check=False).returncode
    if not mounted:
        root.rmdir()
        subprocess.run(["cp", "-a", "--reflink=auto", str(base), str(root)], check=True, timeout=120)
    # dpkg waits for the disk after each file: what is tested is that processes are killed, not that power fails.
    settings = root / "etc/dpkg/dpkg.cfg.d/tests"
    settings.parent.mkdir(exist_ok=True)
    settings.write_text("force-unsafe-io\n")
    try:
        yield Machine(root)
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(root)], check=True, capture_output=True, timeout=30)


def wait_until(true: Any, limit_s: float = 30.0) -> None:
    """Wait for a condition; fail when it does not come."""
    deadline = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.05)
