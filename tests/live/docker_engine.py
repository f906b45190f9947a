"""Real Docker daemons for tests: each with directories, a socket and, where asked, a network namespace of its own.

Two images to build on: `tiny` is made of a few programs of this machine (seconds, no network), `debian` by debootstrap
(half a minute, once: it is kept under XPUKIT_TEST_CACHE, by default /var/tmp/xpukit-test-cache). What only builds and
looks shares the daemons of conftest.py; a test that breaks its daemon starts one of its own.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import re
import shutil
import signal
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil
import pytest

TINY = "xpukit-test/tiny:1"
DEBIAN = "xpukit-test/debian:12"
TINY_PROGRAMS = ("bash", "sh", "sleep", "cat", "ls", "dd", "true", "kill", "mkdir", "env", "id", "stat")
START_LIMIT_S = 60.0
DEBOOTSTRAP_LIMIT_S = 300.0


def list_kinds() -> tuple[str, ...]:
    """The kinds of builders to test: buildx where its plug-in is installed (no package of Debian 12 brings it)."""
    folders = (
        Path.home() / ".docker",
        Path("/usr/libexec/docker"),
        Path("/usr/lib/docker"),
        Path("/usr/local/lib/docker"),
    )
    plugin = any((folder / "cli-plugins" / "docker-buildx").exists() for folder in folders)
    return ("buildx", "buildkit", "classic") if plugin else ("buildkit", "classic")


class DockerEngine(msgspec.Struct, frozen=True, kw_only=True):
    """A running daemon. `client` is a docker client that speaks BuildKit by itself, "" where there is none."""

    address: str
    place: Path
    pid: int

    def docker(self, *arguments: str, stdin: bytes = b"") -> str:
        """Run the docker client against this daemon; its standard output."""
        ran = subprocess.run(
            ["docker", "--host", self.address, *arguments], input=stdin, capture_output=True, timeout=120, check=False
        )
        assert ran.returncode == 0, ran.stderr.decode()
        return ran.stdout.decode().strip()

    def list_left(self) -> list[str]:
        """Containers, running or not: what a build that ended must not leave."""
        return self.docker("ps", "-aq", "--no-trunc").split()


def find_missing(*programs: str) -> str:
    """Why no daemon can be started here, "" when one can."""
    if os.geteuid() != 0:
        return "needs root for a daemon of its own"
    absent = [name for name in ("dockerd", "docker", "setpriv", *programs) if not shutil.which(name)]
    return f"not installed: {', '.join(absent)} (Debian: docker.io, debootstrap)" if absent else ""


@contextlib.contextmanager
def start_engine(
    *,
    programs: tuple[str, ...] = (),
    data_mb: int | None = None,
    isolated: bool = True,
    options: tuple[str, ...] = (),
    network_of: int = 0,
    images_of: DockerEngine | None = None,
) -> Iterator[DockerEngine]:
    """Start a daemon and stop it with all it started. Skips the test, with the reason, where that cannot be.

    `data_mb` makes its disk that small. `isolated` gives it a network namespace without a way out: daemons that share
    one take each other's bridge away. `network_of`: the process whose network and host name it gets instead.
    `images_of`: a daemon whose images it gets too, as they are on its disk.
    """
    if reason := find_missing(*programs):
        pytest.skip(reason)
    # A Unix socket's path may have 107 bytes only, and other users must get as far as the socket.
    place = Path(tempfile.mkdtemp(prefix="xpk-d", dir="/tmp"))
    place.chmod(0o755)
    data = place / "data"
    data.mkdir()
    try:
        if data_mb is not None:
            _run("mount", "-t", "tmpfs", "-o", f"size={data_mb}m", "xpukit-test", str(data))
        if images_of is not None:
            # A tenth of what `save` and `load` cost.
            for folder in ("image", "overlay2"):
                _run("cp", "-a", str(images_of.place / "data" / folder), str(data))
        address = f"unix://{place}/s"
        argv = [
            "dockerd", "--storage-driver=overlay2", f"--data-root={data}", f"--exec-root={place}/exec",
            f"--pidfile={place}/pid", "-H", address, *options,
        ]  # fmt: skip
        if network_of:
            argv = ["nsenter", f"--target={network_of}", "--net", "--uts", *argv]
        elif isolated:
            argv = ["unshare", "--net", "sh", "-c", 'ip link set lo up; exec "$@"', "sh", *argv]
        # A test that is killed takes its daemon with it.
        argv = ["setpriv", "--pdeathsig", "TERM", *argv]
        with (place / "log").open("wb") as log:
            process = subprocess.Popen(argv, stdout=log, stderr=log, start_new_session=True)
        try:
            _await_daemon(process, address, place)
            yield DockerEngine(address=address, place=place, pid=process.pid)
        finally:
            _stop_daemon(process, place)
    finally:
        _clean_place(place)


def kill_engine(engine: DockerEngine) -> None:
    """What an operator or the kernel does to it: SIGKILL."""
    os.kill(engine.pid, signal.SIGKILL)


def hear_interrupts(argv: list[str]) -> list[str]:
    """The command so that Ctrl-C reaches it also where a shell started the tests in the background, deaf to it."""
    return ["env", "--default-signal=INT", *argv]


def find_processes(text: str) -> list[psutil.Process]:
    """Processes whose command line holds `text`."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if text in " ".join(process.cmdline()) and process.pid != os.getpid():
                found.append(process)
    return found


def await_health(engine: DockerEngine, container: str, *, limit_s: float = 60.0) -> str:
    """What Docker says of its health once it no longer starts, or at the limit."""
    until = time.monotonic() + limit_s
    while (state := engine.docker("inspect", "-f", "{{.State.Health.Status}}", container)) == "starting":
        if time.monotonic() > until:
            break
        time.sleep(0.5)
    return state


def import_tiny(engine: DockerEngine, tag: str = TINY) -> str:
    """The image of this machine's own programs; its tag."""
    engine.docker("import", "-c", 'CMD ["bash"]', "-", tag, stdin=make_image_tar(TINY_PROGRAMS))
    return tag


def import_debian(engine: DockerEngine, tag: str = DEBIAN) -> str:
    """The Debian image; its tag."""
    engine.docker("import", "-c", 'CMD ["bash"]', str(make_debian_tar()), tag)
    return tag


def make_image_tar(programs: tuple[str, ...] = ("bash", "sleep")) -> bytes:
    """A root with these programs and the libraries that they load."""
    files = {path for program in programs if (path := shutil.which(program))}
    for path in tuple(files):
        listed = subprocess.run(["ldd", path], capture_output=True, text=True, check=True, timeout=20).stdout
        files |= set(re.findall(r"(/\S+) \(0x", listed))
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path in sorted(files):
            target = f"bin/{Path(path).name}" if path.startswith(("/bin", "/usr/bin")) else path.lstrip("/")
            tar.add(os.path.realpath(path), arcname=target, recursive=False)
        folder = tarfile.TarInfo("tmp")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o1777
        tar.addfile(folder)
    return buffer.getvalue()


def make_debian_tar() -> Path:
    """A minimal Debian 12 root as a tar, made once and kept."""
    cache = Path(os.environ.get("XPUKIT_TEST_CACHE", "/var/tmp/xpukit-test-cache"))
    kept = cache / "debian-12-minbase-1.tar"
    if kept.exists():
        return kept
    if reason := find_missing("debootstrap"):
        pytest.skip(reason)
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "debian.lock").open("wb") as lock, tempfile.TemporaryDirectory(prefix="xpk-root", dir=cache) as root:
        # Of tests that run side by side one makes it, and the others wait.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if kept.exists():
            return kept
        made = subprocess.run(
            ["debootstrap", "--variant=minbase", "bookworm", root],
            capture_output=True, text=True, timeout=DEBOOTSTRAP_LIMIT_S, check=False,
        )  # fmt: skip
        if made.returncode:
            pytest.skip(f"debootstrap fails here: {made.stdout.splitlines()[-1:]}")
        # As in Debian's own image: a container that is lost in a power cut is made again.
        (Path(root) / "etc/dpkg/dpkg.cfg.d/docker-apt-speedup").write_text("force-unsafe-io\n")
        pack_root(Path(root), kept)
    return kept


def pack_root(root: Path, tar: Path) -> None:
    """A system's root as a tar, whole or not at all."""
    part = tar.with_name(f".{tar.name}.{os.getpid()}")
    _run(
        "tar", "--numeric-owner", "--exclude=./proc/*", "--exclude=./sys/*", "--exclude=./dev/*",
        "--exclude=./var/cache/apt/archives/*.deb", "--exclude=./var/lib/apt/lists/*_*", "-C", str(root),
        "-cf", str(part), ".",
    )  # fmt: skip
    part.replace(tar)


def _run(*argv: str) -> None:
    subprocess.run(argv, check=True, capture_output=True, timeout=120)


def _await_daemon(process: subprocess.Popen[bytes], address: str, place: Path) -> None:
    until = time.monotonic() + START_LIMIT_S
    asked = ["docker", "--host", address, "version"]
    while subprocess.run(asked, capture_output=True, timeout=30, check=False).returncode:
        if process.poll() is not None or time.monotonic() > until:
            tail = (place / "log").read_text(errors="replace").splitlines()[-2:]
            pytest.skip(f"dockerd does not start here: {' '.join(tail)[:300]}")
        time.sleep(0.2)


def _stop_daemon(process: subprocess.Popen[bytes], place: Path) -> None:
    process.terminate()
    try:
        process.wait(timeout=30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(timeout=10)
    # Shims of containers outlive a daemon that was killed; all of them name our directory.
    left = find_processes(str(place))
    for parent in tuple(left):
        with contextlib.suppress(psutil.Error):
            left += parent.children(recursive=True)
    for one in left:
        with contextlib.suppress(psutil.Error):
            one.kill()
    psutil.wait_procs(left, timeout=10)


def _clean_place(place: Path) -> None:
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()]
    for point in reversed([mount for mount in mounts if mount.startswith(f"{place}/")]):
        subprocess.run(["umount", "-l", point], capture_output=True, timeout=30, check=False)
    shutil.rmtree(place, ignore_errors=True)
