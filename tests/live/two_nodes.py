"""Several machines on this one: each a network, a host name and a /tmp of its own, an sshd that takes keys only, cables
between them.

They share the rest of the disk, as nodes of a cluster share /home. `control` is a place that reaches all of them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil
import pytest

START_LIMIT_S = 30.0
MTU = 1380
# /tmp looks as it does outside, and what is written there stays inside.
_HOLD_ALONE = """
mkdir -p /run/xpukit-node
mount -t tmpfs none /run/xpukit-node
mkdir /run/xpukit-node/upper /run/xpukit-node/work
mount -t overlay -o lowerdir=/tmp,upperdir=/run/xpukit-node/upper,workdir=/run/xpukit-node/work none /tmp
"""
_HOLD = """
hostname "$0"
echo up
exec sleep 3600
"""


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """A machine. `pid`: a process that holds its namespaces open; `alone`: it has a /tmp of its own."""

    name: str
    address: str
    pid: int
    alone: bool

    def enter(self, *argv: str, disk: bool = True) -> list[str]:
        """The command line that runs a program there; without `disk` it sees this machine's /tmp."""
        disk_words = ["--mount", f"--wd={os.getcwd()}"] if self.alone and disk else []
        return ["nsenter", f"--target={self.pid}", "--net", "--uts", *disk_words, *argv]


class Nodes(msgspec.Struct, frozen=True, kw_only=True):
    """All of them, and the key that opens them."""

    control: Node
    nodes: tuple[Node, ...]
    place: Path

    @property
    def ssh_options(self) -> tuple[str, ...]:
        """Words for ssh: this key, this list of known hosts, nothing of the user's."""
        return ("-F", str(self.place / "ssh_config"))

    def run(
        self, *argv: str, limit_s: float = 120, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a program at `control`, which reaches all of them."""
        return subprocess.run(
            self.control.enter(*argv),
            env={**os.environ, **(env or {})}, capture_output=True, text=True, timeout=limit_s, check=False,
        )  # fmt: skip


def _run(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, f"{' '.join(argv)}: {done.stderr}"


def find_missing_programs() -> str:
    """Why there can be no such machines here, "" when there can."""
    if os.geteuid() != 0:
        return "needs root for network namespaces"
    wanted = ("ip", "nsenter", "unshare", "setpriv", "ssh", "ssh-keygen", "/usr/sbin/sshd")
    absent = [name for name in wanted if not shutil.which(name)]
    return f"not installed: {', '.join(absent)} (Debian: iproute2, util-linux, openssh-server)" if absent else ""


@contextlib.contextmanager
def start_nodes(count: int = 2) -> Iterator[Nodes]:
    """Bring `count` machines up (10.77.0.1 ...) and take them away again with all that runs there."""
    if reason := find_missing_programs():
        pytest.skip(reason)
    place = Path(tempfile.mkdtemp(prefix="xpk-n", dir="/tmp"))
    holders: list[subprocess.Popen[bytes]] = []
    try:
        control = _hold(holders, "control", "10.77.0.100", alone=False)
        names = [f"node-{'abcdefgh'[index]}" for index in range(count)]
        nodes = tuple(_hold(holders, name, f"10.77.0.{index}", alone=True) for index, name in enumerate(names, 1))
        _connect(control, nodes)
        _write_keys(place, nodes)
        for node in nodes:
            _start_sshd(node, place)
        running = Nodes(control=control, nodes=nodes, place=place)
        _await_ssh(running)
        yield running
    finally:
        _end_all([holder.pid for holder in holders])
        for holder in holders:
            holder.kill()
            holder.wait(timeout=10)
        shutil.rmtree(place, ignore_errors=True)


def _hold(holders: list[subprocess.Popen[bytes]], name: str, address: str, *, alone: bool) -> Node:
    # A test that is killed takes its machines with it.
    argv = ["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "--uts", "--mount", "sh", "-euc"]
    argv += [_HOLD_ALONE + _HOLD if alone else _HOLD, name]
    holder = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True)
    holders.append(holder)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"up\n"
    return Node(name=name, address=address, pid=holder.pid, alone=alone)


def _connect(control: Node, nodes: tuple[Node, ...]) -> None:
    """A switch at `control`, a cable to each."""
    _run(*control.enter("ip", "link", "add", "eth0", "type", "bridge"))
    for index, node in enumerate(nodes):
        cable = ("ip", "link", "add", f"port{index}", "type", "veth", "peer", "name", "eth0", "netns", str(node.pid))
        _run(*control.enter(*cable))
        _run(*control.enter("ip", "link", "set", f"port{index}", "master", "eth0", "up"))
    for node in (control, *nodes):
        _run(*node.enter("ip", "addr", "add", f"{node.address}/24", "dev", "eth0"))
        # As in many clouds, and too small for what Docker takes an overlay's packets to be.
        _run(*node.enter("ip", "link", "set", "eth0", "mtu", str(MTU)))
        for device in ("lo", "eth0"):
            _run(*node.enter("ip", "link", "set", device, "up"))
        # Docker Swarm's ingress and Ray want a way out, even one that leads nowhere.
        _run(*node.enter("ip", "route", "add", "default", "via", "10.77.0.254"))


def _write_keys(place: Path, nodes: tuple[Node, ...]) -> None:
    for name in ("host", "user"):
        _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(place / name))
    shutil.copy(place / "user.pub", place / "authorized_keys")
    Path("/run/sshd").mkdir(exist_ok=True)
    (place / "sshd_config").write_text(
        f"HostKey {place}/host\nAuthorizedKeysFile {place}/authorized_keys\nStrictModes no\nUsePAM no\n"
        "PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n"
        "MaxStartups 100\nMaxSessions 100\n"
    )
    hosts = "".join(f"Host {node.name}\n  HostName {node.address}\n" for node in nodes)
    (place / "ssh_config").write_text(
        f"{hosts}Host *\n  IdentityFile {place}/user\n  IdentitiesOnly yes\n  UserKnownHostsFile {place}/known_hosts\n"
    )


def _start_sshd(node: Node, place: Path) -> None:
    argv = node.enter("/usr/sbin/sshd", "-D", "-f", str(place / "sshd_config"), "-E", str(place / f"{node.name}.log"))
    subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *argv], stdin=subprocess.DEVNULL, start_new_session=True)


def _await_ssh(running: Nodes) -> None:
    until = time.monotonic() + START_LIMIT_S
    for node in running.nodes:
        options = ("-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=accept-new", "-o", "ConnectTimeout=2")
        asked = ("ssh", *running.ssh_options, *options, node.name, "hostname")
        while (said := running.run(*asked, limit_s=20)).stdout.strip() != node.name:
            assert time.monotonic() < until, said.stderr
            time.sleep(0.1)


def list_inside(pid: int) -> list[psutil.Process]:
    """The processes in the network namespace that `pid` holds."""
    try:
        own = os.readlink(f"/proc/{pid}/ns/net")
    except OSError:
        return []
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(OSError, psutil.Error):
            if os.readlink(f"/proc/{process.pid}/ns/net") == own and process.pid != pid:
                found.append(process)
    return found


def end_node(node: Node) -> None:
    """What a power cut does: every process of the machine is gone at once."""
    for process in list_inside(node.pid):
        with contextlib.suppress(psutil.Error):
            process.send_signal(signal.SIGKILL)


def mend_node(running: Nodes, node: Node) -> None:
    """It boots again: sshd is there."""
    _start_sshd(node, running.place)
    _await_ssh(running)


def _end_all(pids: list[int]) -> None:
    left = [process for pid in pids for process in list_inside(pid)]
    for process in left:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(left, timeout=10)
