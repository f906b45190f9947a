"""The bundle of this machine, as root and as an ordinary user, says what the machine says: byte for byte."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.machines.ordinary_user import REPO, find_python

pytestmark = pytest.mark.live
LIMIT_S = 200
# When a document was made is the one thing that differs. And a hypervisor may give a machine memory, or take it back,
# while a test runs (virtio-mem does, 128 MiB at a time): then how much there is says nothing about the bundle.
MOVING = re.compile(r'"created": "[^"]*"|"memory_bytes": \d+| *\d+(?:\.\d+)? GiB *')
# What a bundle is asked, and the exit codes that this machine may give.
COMMANDS: tuple[tuple[str, ...], ...] = (
    ("probe", "--json"),
    ("probe",),
    ("probe", "--all", "--json"),
    ("doctor", "--json"),
    ("doctor",),
    ("doctor", "--fix"),
)
REDACTED: tuple[tuple[str, ...], ...] = (("probe", "--json"), ("doctor", "--json"), ("doctor",))


class Place:
    """A directory of the test, and the command that starts Python as `user`."""

    def __init__(self, directory: Path, command: list[str], user: str) -> None:
        self.command = command
        self.user = user
        self.state, self.out = directory / "state", directory / "out"
        for folder in (directory, self.state, self.out):
            folder.mkdir(exist_ok=True)
            folder.chmod(0o777)

    def run(self, *arguments: str, codes: tuple[int, ...] = (0,)) -> str:
        env = {**os.environ, "XDG_STATE_HOME": str(self.state), "PYTHONPATH": str(REPO)}
        argv = [*self.command, "-m", "xpukit", *arguments]
        ran = subprocess.run(argv, cwd=REPO, env=env, capture_output=True, timeout=LIMIT_S, check=False)
        assert ran.returncode in codes, ran.stderr.decode()
        assert b"Traceback" not in ran.stderr
        assert b"warning: the recording" not in ran.stderr
        return ran.stdout.decode()

    def say(self, *arguments: str) -> str:
        return MOVING.sub("", self.run(*arguments, codes=(0, 1, 3)))


@pytest.fixture(scope="module", params=["root", "ordinary"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o777)
        command, problem = [sys.executable], "" if os.geteuid() == 0 else "not root"
        if request.param == "ordinary":
            command, problem = find_python(Path(directory))
        if problem:
            pytest.skip(problem)
        yield Place(Path(directory) / "place", command, str(request.param))


@pytest.mark.slow
@pytest.mark.parametrize(("preset", "suffix"), [("default", ".tar.zst"), ("full", ".tar.xz")])
def test_the_bundle_and_the_machine_say_the_same(place: Place, preset: str, suffix: str) -> None:
    bundle = place.out / f"{preset}{suffix}"
    report = json.loads(place.run("sysinfo", "--json", "--preset", preset, "-o", str(bundle)))
    assert bundle.stat().st_mode & 0o777 == 0o600
    assert report["collection"]["root"] == (place.user == "root")
    assert report["collection"]["complete"]
    assert not [one for one in report["collection"]["collectors"] if one["status"] == "crashed"]
    assert report["problems"] == []
    for command in COMMANDS:
        # On the host that made it the names are put back.
        assert place.say("--from", str(bundle), *command) == place.say(*command), command
    for command in REDACTED:
        # Both show the same pseudonyms.
        assert place.say("--redact", "--from", str(bundle), *command) == place.say("--redact", *command), command
    for member, name in (("probe.json", "probe"), ("findings.json", "doctor")):
        inside = place.say("sysinfo", "show", str(bundle), member)
        assert inside == place.say("--redact", "--from", str(bundle), name, "--json")


def test_a_bundle_with_real_names_says_the_same(place: Place) -> None:
    bundle = place.out / "names-unredacted.tar.zst"
    place.run("sysinfo", "--preset", "minimal", "--no-redact", "--no-redact", "-o", str(bundle))
    for command in COMMANDS:
        assert place.say("--from", str(bundle), *command) == place.say(*command), command


FIRST_LOADS = """
import sys, threading
from xpukit.facts.sysinfo import list_inquiries, load_inquiry
sys.setswitchinterval(1e-6)
names, start = list_inquiries(), threading.Barrier(6)
def load(number):
    start.wait()
    for name in names[number::6]:
        load_inquiry(name)
threads = [threading.Thread(target=load, args=(number,)) for number in range(6)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


def test_data_files_are_first_loaded_by_several_threads() -> None:
    """Without the lock in facts/sysinfo.py about one in five of these ends with a segfault."""
    for _ in range(8):
        ran = subprocess.run(
            [sys.executable, "-c", FIRST_LOADS], cwd=REPO, capture_output=True, timeout=60, check=False
        )
        assert ran.returncode == 0, ran.stderr.decode()
