"""Collectors against everything a machine can do to them: a readable bundle each time, within the time limit."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.machines.ordinary_user import REPO, find_python
from xpukit.host.replay import ReplayHost
from xpukit.sysinfo.collection import CollectorReport, SysinfoReport
from xpukit.sysinfo.entry import Entry
from xpukit.sysinfo.opened import OpenedBundle

pytestmark = pytest.mark.live
# No limit that a busy machine could break: what it proves is that nothing waits for ever.
LIMIT_S = 120
HEADER = """
import os, signal, sys, threading, time
from xpukit.sysinfo.collector import Collector

def make(name, collect, **settings):
    return Collector(name=name, summary=name + ".", preset="minimal", collect=collect, root_adds="more", **settings)
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where collectors, traps and bundles lie; the map of pseudonyms too."""
    (tmp_path / "out").mkdir()
    return tmp_path


def start(
    place: Path, collectors: str, *arguments: str, python: list[str] | None = None, **settings: object
) -> subprocess.Popen[bytes]:
    script = place / "collectors.py"
    script.write_text(HEADER + collectors)
    env = {**os.environ, "XDG_STATE_HOME": str(place / "state"), "PYTHONPATH": str(REPO)}
    argv = [*(python or [sys.executable]), "-m", "tests.live.hostile_sysinfo", str(script), "sysinfo", *arguments]
    return subprocess.Popen(
        argv,
        cwd=REPO,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **settings,  # type: ignore[call-overload]
    )


def finish(process: subprocess.Popen[bytes], *, rc: int = 0) -> str:
    """What it said on standard error."""
    try:
        _, err = process.communicate(timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        pytest.fail("it was still running")
    assert process.returncode == rc, err.decode()
    return err.decode()


def run_collectors(place: Path, collectors: str, *arguments: str, rc: int = 0) -> OpenedBundle:
    finish(start(place, collectors, "-o", str(place / "out"), *arguments), rc=rc)
    return open_bundle(place / "out")


def open_bundle(directory: Path) -> OpenedBundle:
    (path,) = directory.iterdir()
    opened = OpenedBundle(path)
    assert opened.damaged_lines == 0
    # What reads bundles reads this one.
    assert json.loads(opened.find_text("probe.json"))["schema"] == "xpukit.probe/1"
    return opened


def read_report(opened: OpenedBundle) -> SysinfoReport:
    assert opened.report is not None
    return opened.report


def find_collector(opened: OpenedBundle, name: str) -> CollectorReport:
    return next(one for one in read_report(opened).collection.collectors if one.name == name)


def find_entry(opened: OpenedBundle, name: str, part: str) -> Entry:
    return next(entry for entry in find_collector(opened, name).entries if part in entry.what)


def test_files_that_block_loop_vanish_and_lie(place: Path) -> None:
    traps = place / "traps"
    traps.mkdir()
    os.mkfifo(traps / "no-writer")
    os.mkfifo(traps / "silent-writer")
    (traps / "loop-a").symlink_to(traps / "loop-b")
    (traps / "loop-b").symlink_to(traps / "loop-a")
    (traps / "self").symlink_to(traps)
    (traps / "bad.txt").write_bytes(b"caf\xe9 \xff\xfe text\n" * 10)
    (traps / os.fsdecode(b"name-\xff\xfe")).write_text("odd name")
    (traps / "dangling").symlink_to(traps / "gone")
    (traps / "log").write_bytes(b"first line\n" + b"x" * 3_000_000 + b"\nlast line\n")
    (traps / "vanishing").write_text("soon gone")
    with (traps / "sparse").open("wb") as sparse:
        sparse.truncate(1 << 40)
    # Held open for writing, and nothing is ever written.
    holder = os.open(traps / "silent-writer", os.O_RDWR)
    try:
        opened = run_collectors(
            place,
            f"""
T = {str(traps)!r}
def read(asker):
    for name in ("no-writer", "silent-writer", "loop-a", "self", "bad.txt", "dangling", "sparse", "missing"):
        asker.read(T + "/" + name)
    asker.read(T + "/log", limit_bytes=4096, tail=True)
    asker.read(T + "/self/self/self/bad.txt")
    names = asker.list(T).names
    os.unlink(T + "/vanishing")
    for name in names:
        asker.stat(T + "/" + name)
        asker.resolve(T + "/" + name)
        asker.link(T + "/" + name)
    asker.read(T + "/vanishing")
    asker.read(T + "/null\\0byte")
    asker.glob(T + "/*/*")
    asker.read("/dev/zero", limit_bytes=1000, tail=True)
COLLECTORS = (make("read", read), make("after", lambda asker: asker.read("/etc/os-release")))
""",
        )
    finally:
        os.close(holder)
    assert find_collector(opened, "after").status == "ok"
    report = find_collector(opened, "read")
    assert report.status in ("partial", "ok")
    assert not report.detail.startswith("defect")
    assert find_entry(opened, "read", "silent-writer").status == "failed"
    assert find_entry(opened, "read", "loop-a").detail == "ELOOP"
    assert find_entry(opened, "read", "read " + str(traps / "missing")).status == "missing"
    assert find_entry(opened, "read", "sparse").status == "capped"
    vanished = [entry for entry in report.entries if entry.what == f"read {traps}/vanishing"]
    assert vanished[0].status == "missing"
    log = opened.find_text(f"read {traps}/log")
    assert log.startswith(b"first line\n")
    assert log.endswith(b"\nlast line\n")
    assert b"bytes left out here" in log
    assert len(log) < 5000
    assert b"text" in opened.find_text(f"read {traps}/bad.txt")


def test_commands_that_flood_hang_die_and_daemonize(place: Path) -> None:
    flood = place / "flood"
    flood.write_text(
        f"#!{sys.executable} -SE\n"
        "import os, sys\n"
        "os.write(1, b'the first line\\n')\n"
        "block = b'y\\n' * (1 << 19)\n"
        "for _ in range(5 * 1024): os.write(1, block)\n"
        "os.write(1, b'the last line\\n')\n"
    )
    flood.chmod(0o755)
    started = time.monotonic()
    process = start(
        place,
        f"""
def flood(asker):
    asker.run({str(flood)!r}, timeout_s=100, limit_bytes=1 << 16)
def die(asker):
    asker.run("sh", "-c", "echo before; kill -9 $$")
def hang(asker):
    asker.run("sleep", "1000", timeout_s=1)
    asker.run("sh", "-c", "trap '' TERM; echo stubborn; while :; do sleep 1; done", timeout_s=1)
    asker.run("sh", "-c", "sleep 1000 & echo left a child", timeout_s=5)
def noise(asker):
    asker.run("head", "-c", "100000", "/dev/urandom")
    asker.run("cat", timeout_s=5)
    asker.run("/etc/passwd")
    asker.run("/nowhere/program")
COLLECTORS = (make("die", die), make("hang", hang), make("noise", noise), make("flood", flood, timeout_s=110))
""",
        "-o",
        str(place / "out"),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30)),
    )
    peak_kib = 0
    while process.poll() is None and time.monotonic() - started < LIMIT_S:
        with contextlib.suppress(OSError, IndexError):
            status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
            peak_kib = max(peak_kib, int(status.partition("VmHWM:")[2].split()[0]))
        time.sleep(0.05)
    finish(process)
    assert 0 < peak_kib < 400 << 10
    opened = open_bundle(place / "out")
    kept = opened.find_text(f"run {flood}")
    assert kept.startswith(b"the first line\n")
    assert find_entry(opened, "flood", "flood").status in ("capped", "timeout")
    if find_entry(opened, "flood", "flood").status == "capped":
        assert kept.endswith(b"the last line\n")
    assert len(kept) < 70_000
    assert find_entry(opened, "die", "kill -9").detail.startswith("killed by signal 9")
    assert [entry.status for entry in find_collector(opened, "hang").entries][:2] == ["timeout", "timeout"]
    assert b"stubborn" in opened.find_text("stubborn")
    assert [entry.status for entry in find_collector(opened, "noise").entries] == ["ok", "ok", "denied", "missing"]


@pytest.mark.parametrize(
    ("workers", "statuses"), [(1, ["timeout", "timeout", "skipped", "skipped"]), (4, ["timeout"] * 4)]
)
def test_limits_hold_over_all_collectors(place: Path, workers: int, statuses: list[str]) -> None:
    opened = run_collectors(
        place,
        f"""
WORKERS = {workers}
def slow(asker):
    for _ in range(20):
        asker.run("sleep", "1", timeout_s=5, env={{"NUMBER": str(_)}})
COLLECTORS = (
    make("own_limit", slow, timeout_s=1.5),
    *(make(f"slow{{number}}", slow, timeout_s=60) for number in range(3)),
)
""",
        "--timeout",
        "6",
    )
    report = read_report(opened)
    assert [one.status for one in report.collection.collectors] == statuses
    assert report.collection.complete
    assert any("not asked" in entry.detail for entry in find_collector(opened, "own_limit").entries)


def test_a_size_limit_drops_what_comes_later(place: Path) -> None:
    opened = run_collectors(
        place,
        """
def large(asker):
    for number in range(8):
        asker.run("head", "-c", str(300_000 + number), "/dev/zero")
COLLECTORS = (make("large", large), make("after", lambda asker: asker.read("/etc/hostname")))
""",
        "--max-size",
        "1M",
    )
    statuses = [entry.status for entry in find_collector(opened, "large").entries]
    assert statuses[0] == "ok"
    assert statuses[-1] == "skipped"
    assert find_entry(opened, "after", "hostname").status == "skipped"


@pytest.mark.parametrize(("number", "workers"), [(signal.SIGINT, 1), (signal.SIGTERM, 4), (signal.SIGHUP, 1)])
def test_a_signal_in_the_middle(place: Path, number: int, workers: int) -> None:
    process = start(
        place,
        f"""
WORKERS = {workers}
def wait(asker):
    asker.read("/etc/os-release")
    # The thread of the other one ends when there is nothing more to do.
    while sum(thread.name.startswith("xpukit-collect") for thread in threading.enumerate()) > 1:
        time.sleep(0.01)
    open({str(place / "waiting")!r}, "w").close()
    asker.run("sleep", "1000", timeout_s=100)
COLLECTORS = (make("wait", wait, timeout_s=110), make("after", lambda asker: asker.read("/etc/hostname")))
""",
        "-o",
        str(place / "out"),
    )
    wait_for(place / "waiting", process)
    process.send_signal(number)
    said = finish(process, rc=130)
    assert "interrupted" in said
    opened = open_bundle(place / "out")
    assert not opened.manifest.complete
    waiting, after = (one.status for one in read_report(opened).collection.collectors)
    assert waiting == "interrupted"
    # With several at a time the other one was done before.
    assert after == ("skipped" if workers == 1 else "ok")
    assert opened.find_text("read /etc/os-release")
    (bundle,) = (place / "out").iterdir()
    assert ReplayHost(bundle, command="probe").strict is False


def wait_for(path: Path, process: subprocess.Popen[bytes]) -> None:
    ends = time.monotonic() + LIMIT_S
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < ends
        time.sleep(0.02)


@contextlib.contextmanager
def mount_small(directory: Path, size: str) -> Iterator[Path]:
    directory.mkdir()
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting a small tmpfs needs root")
    argv = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(directory)]
    ran = subprocess.run(argv, capture_output=True, check=False, timeout=30)
    if ran.returncode != 0:
        pytest.skip(f"no tmpfs here: {ran.stderr.decode().strip()}")
    try:
        yield directory
    finally:
        subprocess.run(["umount", str(directory)], check=True, timeout=30)


# From no room for the first file to no room for the archive beside the answers.
@pytest.mark.parametrize("size", ["4k", "16k", "96k", "400k", "1200k"])
def test_a_full_disk_at_any_moment(place: Path, size: str) -> None:
    collectors = """
def large(asker):
    for number in range(3):
        asker.run("head", "-c", str(300_000 + number), "/dev/urandom")
COLLECTORS = (make("large", large), make("after", lambda asker: asker.read("/etc/os-release")))
"""
    with mount_small(place / "small", size) as small:
        said = finish(start(place, collectors, "-o", str(small / "b.tar.xz")), rc=4)
        assert "b.tar.xz: no space left" in said
        assert "it needs more than" in said
        assert "Traceback" not in said
        assert os.listdir(small) == []


def test_an_ordinary_user_in_a_closed_machine(place: Path) -> None:
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o777)
        command, problem = find_python(Path(directory))
        if problem:
            pytest.skip(problem)
        closed = Path(directory) / "closed"
        closed.mkdir()
        (closed / "file").write_text("secret")
        (Path(directory) / "unreadable").write_text("x")
        (Path(directory) / "unreadable").chmod(0)
        closed.chmod(0)
        out = Path(directory) / "out"
        out.mkdir(mode=0o777)
        out.chmod(0o777)
        if os.access(closed, os.R_OK) and os.geteuid() != 0:
            pytest.skip("this user may read everything")
        script = Path(directory) / "collectors.py"
        script.write_text(
            HEADER
            + f"""
D = {directory!r}
def look(asker):
    asker.read(D + "/unreadable")
    asker.list(D + "/closed")
    asker.read(D + "/closed/file")
    asker.read("/dev/mem")
    asker.read("/proc/1/environ")
COLLECTORS = (make("look", look),)
"""
        )
        env = {**os.environ, "XDG_STATE_HOME": f"{directory}/no/such", "PYTHONPATH": str(REPO)}
        argv = [*command, "-m", "tests.live.hostile_sysinfo", str(script), "sysinfo", "-o", str(out)]
        ran = subprocess.run(argv, cwd=REPO, env=env, capture_output=True, timeout=LIMIT_S, check=False)
        assert ran.returncode == 0, ran.stderr.decode()
        assert b"as root the bundle would also have" in ran.stderr
        opened = open_bundle(out)
        statuses = [entry.status for entry in find_collector(opened, "look").entries]
        assert statuses[:3] == ["denied"] * 3
        assert set(statuses[3:]) <= {"denied", "missing"}
        closed.chmod(0o755)
