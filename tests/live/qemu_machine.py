"""A real Linux kernel on a made-up NUMA machine: QEMU (TCG, no /dev/kvm), driven command by command.

The root filesystem is debootstrapped once and cached; each boot writes to a throw-away overlay. All disks are
namespaces of one NVMe controller, because NVMe and ext4 are built into Debian's cloud kernel: no initramfs,
and names that do not depend on probing order. Commands travel as JSON lines over the second serial port
(built in too) to a small agent, which is PID 1: if it dies the kernel panics and QEMU exits.
"""

from __future__ import annotations

import compileall
import contextlib
import fcntl
import hashlib
import importlib.metadata
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from packaging.requirements import Requirement

HOST_PACKAGES = ("qemu-system-x86", "debootstrap", "debian-archive-keyring", "e2fsprogs", "util-linux")
"""What scripts/test installs (Debian or Ubuntu names) before these tests can run."""
GUEST_SUITE = "bookworm"
GUEST_PYTHON = (3, 11)
GUEST_PACKAGES = ("python3", "numactl", "pciutils", "kmod", "udev", "hwloc-nox")
GUEST_KERNEL = "linux-image-cloud-amd64"
XPUKIT_GUEST_DIR = "/opt/xpukit"  # where what copy_xpukit made belongs: the guest's PYTHONPATH

# Unpacked only: installing it would bring and run an initramfs generator.
_ADD_KERNEL = """set -e; cd /var/tmp
apt-get -q -o APT::Sandbox::User=root update
image=$(apt-cache depends --important "$0" | sed -n 's/.*Depends: //p')
apt-get -q -o APT::Sandbox::User=root download "$image"; dpkg-deb -x "$image"_*.deb kernel
mv kernel/boot/vmlinuz-* /boot/; mv kernel/lib/modules /usr/lib/; depmod "${image#linux-image-}"
rm -r /var/tmp/* /var/cache/apt /var/lib/apt/lists /usr/share/doc /usr/share/locale
"""

# udev is kept from the CPUs: loading kvm and the ciphers for them takes 10 s under emulation. Output goes to
# files, not pipes: a background process that keeps a pipe open must not hold up the answer.
_AGENT = """#!/usr/bin/python3
import ctypes, json, os, signal, subprocess, tempfile, tty

SETUP = '''
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm; mount -t devpts devpts /dev/pts; mount -t cgroup2 cgroup2 /sys/fs/cgroup
for dir in /dev/shm /run /tmp; do mount -t tmpfs tmpfs $dir; done
/lib/systemd/systemd-udevd --daemon
udevadm trigger --action=add --subsystem-nomatch=cpu --subsystem-nomatch=memory --subsystem-nomatch=tty
udevadm settle --timeout=60
'''

def send(message):
    answers.write(json.dumps(message).encode() + b"\\n")
    answers.flush()

def run(argv, timeout_s):
    with tempfile.TemporaryFile(buffering=0) as out, tempfile.TemporaryFile(buffering=0) as err:
        try:
            process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                                       start_new_session=True)
            rc = process.wait(timeout_s)
        except OSError as error:
            rc = 127
            err.write(str(error).encode())
        except subprocess.TimeoutExpired:
            rc = None
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        texts = [os.pread(f.fileno(), 4 << 20, 0).decode(errors="replace") for f in (out, err)]
        return {"argv": argv, "rc": rc, "out": texts[0], "err": texts[1]}

subprocess.run(["sh", "-c", SETUP])
channel = os.open("/dev/ttyS1", os.O_RDWR | os.O_NOCTTY)
tty.setraw(channel)
answers = os.fdopen(os.dup(channel), "wb")
send({})
for line in os.fdopen(channel, "rb"):
    request = json.loads(line)
    if not request:
        break
    send(run(**request))
os.sync()
ctypes.CDLL(None).reboot(0x4321FEDC)  # RB_POWER_OFF
"""


class QemuError(Exception):
    """The machine could not be built, booted or reached; the text ends with the console's tail."""


class NodeSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One NUMA node. No `cpus`: memory-only. `memory_mib` 0: CPUs without memory."""

    cpus: str = ""
    memory_mib: int = 0
    distances: tuple[int, ...] = ()


class QemuSpec(msgspec.Struct, frozen=True, kw_only=True):
    """`nodes` in id order; `distances` of all of them or none. Each entry of `pxb_nodes` is a PCIe host
    bridge that the firmware places on that node, with a root port and an `endpoint` behind it, or, if the
    node is in `switched_nodes`, a switch with two endpoints. Other PCI devices have no node (-1)."""

    cpus: int
    nodes: tuple[NodeSpec, ...]
    pxb_nodes: tuple[int, ...] = ()
    switched_nodes: tuple[int, ...] = ()
    endpoint: str = "e1000e"
    sockets: int = 1
    threads_per_core: int = 1
    kernel_args: str = ""


FOUR_NODES = QemuSpec(
    cpus=8,
    sockets=4,
    nodes=tuple(NodeSpec(cpus=f"{2 * i}-{2 * i + 1}", memory_mib=384 + 128 * i) for i in range(4)),
    pxb_nodes=(0, 1, 2, 3),
)


class GuestRan(msgspec.Struct, frozen=True, kw_only=True):
    """`rc`: negative for a signal, 127 if the command could not start, None if killed at its time limit."""

    argv: tuple[str, ...]
    rc: int | None
    out: str
    err: str


def find_obstacle() -> str | None:
    """Why these machines cannot run here (for pytest.skip), or None."""
    tools = ["qemu-system-x86_64", "mkfs.ext4", "setpriv", "debootstrap", "unshare", "chroot"]
    if missing := [tool for tool in tools if shutil.which(tool) is None]:
        return f"{', '.join(missing)} missing: install {' '.join(HOST_PACKAGES)}"
    return None if os.geteuid() == 0 else "building the guest's root filesystem needs root"


def _call(*argv: str) -> str:
    ran = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=900.0, check=False)
    if ran.returncode != 0:
        raise QemuError(f"{' '.join(argv)}: exit {ran.returncode}\n{ran.stdout[-2000:]}{ran.stderr[-2000:]}")
    return ran.stdout


def _make_ext4(image: Path, tree: Path) -> None:
    used_bytes = sum(4096 + path.lstat().st_size for path in tree.rglob("*"))
    size = f"{used_bytes * 12 // 10 // 2**20 + 256}M"  # sparse: room costs nothing
    _call("mkfs.ext4", "-q", "-F", "-O", "^has_journal", "-d", str(tree), str(image), size)


def ensure_root_image() -> Path:
    """The directory holding `vmlinuz` and `root.ext4`, built on first use (a minute, root, Debian's mirror) in
    `${XPUKIT_TEST_CACHE:-~/.cache/xpukit-tests}/qemu` under a hash of the recipe."""
    cache = Path(os.environ.get("XPUKIT_TEST_CACHE") or Path.home() / ".cache" / "xpukit-tests")
    recipe = repr((GUEST_SUITE, GUEST_PACKAGES, GUEST_KERNEL, _ADD_KERNEL, _AGENT))
    ready = cache / "qemu" / hashlib.sha256(recipe.encode()).hexdigest()[:16]
    ready.parent.mkdir(parents=True, exist_ok=True)
    with open(ready.parent / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ready.exists():
            with tempfile.TemporaryDirectory(dir=ready.parent, prefix="build-") as work:
                _build_root(Path(work))
                (Path(work) / "out").rename(ready)
    return ready


def _build_root(work: Path) -> None:
    root, out = work / "root", work / "out"
    out.mkdir()
    # Namespaces of its own: no process and no mount below `root` outlives a build that is killed, so removing
    # the tree can never reach the host's /proc or /sys.
    apart = ("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child")
    include = f"--include={','.join(GUEST_PACKAGES)}"
    _call(*apart, "debootstrap", "--variant=minbase", include, GUEST_SUITE, str(root))
    _call(*apart, "chroot", str(root), "sh", "-c", _ADD_KERNEL, GUEST_KERNEL)
    next((root / "boot").glob("vmlinuz-*")).rename(out / "vmlinuz")
    (root / "usr/sbin/xpukit-guest").write_text(_AGENT)
    (root / "usr/sbin/xpukit-guest").chmod(0o755)
    _make_ext4(out / "root.ext4", root)


def _find_distributions() -> list[importlib.metadata.Distribution]:
    """xpukit's core dependencies as installed here, and what they require in turn."""
    names = ["msgspec", "typer", "rich", "psutil", "pyudev", "packaging", "zstandard"]
    found: dict[str, importlib.metadata.Distribution] = {}
    for name in names:  # grows on the way
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            if name not in found:
                found[name] = importlib.metadata.distribution(name)
                needs = map(Requirement, found[name].requires or ())
                names += [n.name for n in needs if not n.marker or n.marker.evaluate({"extra": ""})]
    return list(found.values())


def copy_xpukit(repository: Path, into: Path) -> None:
    """Fill `into` with xpukit's source and its dependencies for the guest's Python, to be shared at
    XPUKIT_GUEST_DIR. Under another Python than the guest's they come by pip, in the versions installed here."""
    distributions = _find_distributions()
    if sys.version_info[:2] == GUEST_PYTHON:
        for file in (file for distribution in distributions for file in distribution.files or ()):
            source = Path(str(file.locate()))
            if ".." not in file.parts and source.is_file():
                (into / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, into / file)
    else:
        pins = [f"{d.metadata['Name']}=={d.version}" for d in distributions]
        wanted = ["--python-version", ".".join(map(str, GUEST_PYTHON)), "--only-binary=:all:", "--no-deps"]
        _call(sys.executable, "-m", "pip", "install", "-q", "--target", str(into), *wanted, *pins)
    for part in ("xpukit", "dockerfiles", "reference_perf"):
        shutil.copytree(repository / part, into / part, ignore=shutil.ignore_patterns("__pycache__"))
    compileall.compile_dir(into, quiet=2)  # importing from source is slow under emulation


def _list_machine_argv(spec: QemuSpec) -> list[str]:
    cores = spec.cpus // (spec.sockets * spec.threads_per_core)
    smp = f"{spec.cpus},sockets={spec.sockets},cores={cores},threads={spec.threads_per_core}"
    argv = ["-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max,vendor=GenuineIntel", "-smp", smp]
    argv += ["-m", f"{sum(node.memory_mib for node in spec.nodes)}M"]
    for i, node in enumerate(spec.nodes):
        numa = f"node,nodeid={i}" + "".join(f",cpus={part}" for part in node.cpus.split(",") if part)
        if node.memory_mib:
            argv += ["-object", f"memory-backend-ram,id=ram{i},size={node.memory_mib}M"]
            numa += f",memdev=ram{i}"
        argv += ["-numa", numa]
    for i, node in enumerate(spec.nodes):
        for j, distance in enumerate(node.distances):
            argv += ["-numa", f"dist,src={i},dst={j},val={distance}"]
    for i, place in enumerate(spec.pxb_nodes):
        # Bus numbers 24 apart leave room for a port and a switch below each host bridge.
        argv += ["-device", f"pxb-pcie,id=pxb{i},bus=pcie.0,bus_nr={24 * (i + 1)},numa_node={place}"]
        argv += ["-device", f"pcie-root-port,id=port{i},bus=pxb{i},chassis={i + 1}"]
        slots = [f"port{i}"]
        if place in spec.switched_nodes:
            argv += ["-device", f"x3130-upstream,id=up{i},bus=port{i}"]
            slots = [f"down{i}.0", f"down{i}.1"]
            for k, slot in enumerate(slots):
                argv += ["-device", f"xio3130-downstream,id={slot},bus=up{i},chassis={100 + 2 * i + k}"]
        for slot in slots:
            argv += ["-device", f"{spec.endpoint},bus={slot}"]
    return argv


class QemuMachine(contextlib.AbstractContextManager["QemuMachine"]):
    """Leaving the `with` block powers the guest off; leaving it by an error kills it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._channel, self._their_end = socket.socketpair()
        self._work = tempfile.TemporaryDirectory(prefix="xpukit-qemu-")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self.shutdown()
        finally:
            self._kill()
            self._work.cleanup()

    def boot(self, spec: QemuSpec, share: Mapping[str, Path] | None = None, *, limit_s: float = 120.0) -> None:
        """Start the machine with copies of host directories mounted at the guest paths of `share`. They can
        be written to; nothing of that outlives the boot. Raises QemuError."""
        shares = dict(share or {})
        image, work = ensure_root_image(), Path(self._work.name)
        disks = [image / "root.ext4"]
        for i, tree in enumerate(shares.values()):
            disks.append(work / f"share{i}.ext4")
            _make_ext4(disks[-1], tree)
        argv = ["qemu-system-x86_64", "-nodefaults", "-display", "none", "-no-reboot", *_list_machine_argv(spec)]
        argv += ["-chardev", f"file,id=console,path={work / 'console.log'}", "-serial", "chardev:console"]
        argv += ["-chardev", "socket,id=agent,fd=0", "-serial", "chardev:agent"]
        argv += ["-device", "nvme,id=disks,serial=xpukit,bus=pcie.0"]
        for i, disk in enumerate(disks):
            argv += ["-drive", f"if=none,id=disk{i},file={disk},format=raw,snapshot=on"]
            argv += ["-device", f"nvme-ns,drive=disk{i},bus=disks,nsid={i + 1}"]
        append = "root=/dev/nvme0n1 rw init=/usr/sbin/xpukit-guest console=ttyS0 loglevel=4 panic=-1"
        # What the kernel does not know becomes init's environment.
        append += f" PATH=/usr/sbin:/usr/bin HOME=/root LC_ALL=C.UTF-8 PYTHONPATH={XPUKIT_GUEST_DIR}"
        argv += ["-kernel", str(image / "vmlinuz"), "-append", f"{append} {spec.kernel_args}"]
        argv = ["setpriv", "--pdeathsig", "KILL", *argv]  # the kernel ends QEMU with us, however we end
        try:
            self._start(argv, limit_s)
        except QemuError as error:
            # Emulated processors were seen to stand still while they start, once in some hundred boots.
            print(f"qemu: a second try after: {error}")
            self._channel, self._their_end = socket.socketpair()
            self._start(argv, limit_s)
        for i, guest_dir in enumerate(shares):
            ran = self.run(["mount", "-o", "X-mount.mkdir", f"/dev/nvme0n{i + 2}", guest_dir])
            if ran.rc != 0:
                raise self._give_up(f"{guest_dir}: {ran.err}")

    def _start(self, argv: Sequence[str], limit_s: float) -> None:
        """QEMU, and the guest's greeting. Raises QemuError."""
        with self._their_end as end, open(Path(self._work.name) / "qemu.log", "wb") as log:
            self._process = subprocess.Popen(argv, stdin=end.fileno(), stdout=log, stderr=log, start_new_session=True)
        self._ask(None, limit_s)

    def run(self, argv: Sequence[str], timeout_s: float = 60.0) -> GuestRan:
        """Run one command as the guest's root, stdin closed, each stream cut at 4 MiB. A command that fails
        or runs out of time is an answer; QemuError means that the guest itself is gone."""
        reply = self._ask({"argv": argv, "timeout_s": timeout_s}, timeout_s + 20.0)
        return msgspec.convert(reply, GuestRan)

    def shutdown(self, limit_s: float = 60.0) -> None:
        """Power off. Raises QemuError if QEMU does not end in time."""
        if self._process is not None and self._process.poll() is None:
            try:
                self._channel.sendall(b"{}\n")
                self._process.wait(limit_s)
            except (OSError, subprocess.TimeoutExpired) as error:
                raise self._give_up(f"power off: {error}") from error

    def _ask(self, request: Mapping[str, object] | None, limit_s: float) -> dict[str, object]:
        """The answer to a request; to None, the greeting."""
        deadline, received = time.monotonic() + limit_s, b""
        try:
            self._channel.settimeout(limit_s)
            if request is not None:
                self._channel.sendall(msgspec.json.encode(request) + b"\n")
            while not received.endswith(b"\n"):
                self._channel.settimeout(max(deadline - time.monotonic(), 0.001))
                data = self._channel.recv(1 << 16)
                if not data:
                    raise ConnectionError("the machine is gone")
                received += data
        except OSError as error:
            raise self._give_up(f"{request or 'boot'}, at most {limit_s:g} s: {error}") from error
        return msgspec.json.decode(received, type=dict[str, object])

    def _give_up(self, what: str) -> QemuError:
        self._kill()
        for log in (path for path in Path(self._work.name).iterdir() if path.suffix == ".log"):
            what += f"\n--- {log.name}\n{log.read_bytes()[-2500:].decode(errors='replace')}"
        return QemuError(what)

    def _kill(self) -> None:
        self._channel.close()
        self._their_end.close()
        if self._process is not None:
            self._process.kill()  # it has become QEMU itself, which has no children
            self._process.wait(30)


def run_commands(
    spec: QemuSpec, commands: Sequence[Sequence[str]], share: Mapping[str, Path] | None = None
) -> list[GuestRan]:
    """Boot, run each command (at most 120 s), power off; answers in the same order."""
    with QemuMachine() as machine:
        machine.boot(spec, share)
        return [machine.run(command, 120.0) for command in commands]
