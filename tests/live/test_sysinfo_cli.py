"""The bundle of this machine, as root and as an ordinary user, says what the machine says: byte for byte."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.machines.ordinary_user import REPO, find_python

pytestmark = pytest.mark.live
LIMIT_S = 200
# When a document was made is the one thing that differs.
CREATED = re.compile(r'"created": "[^"]*"')
# And a hypervisor may give a machine memory, or take it back, while a test runs (virtio-mem does, 128 MiB at a time):
# only where the machine itself says so, the size says nothing about the bundle.
MEMORY = re.compile(r'"memory_bytes": \d+| *\d+(?:\.\d+)? GiB *')
# What a bundle is asked, and the exit codes that this machine may give.
COMMANDS: tuple[tuple[str, ...], ...] = (
    ("probe", "--json"),
    ("probe",),
    ("probe", "--all", "--json"),
    ("doctor", "--json"),
    ("doctor",),
    ("doctor", "--fix"),
    ("serve", "Qwen/Qwen3-8B", "--json"),
)
REDACTED: tuple[tuple[str, ...], ...] = (("probe", "--json"), ("doctor", "--json"), ("doctor",), COMMANDS[-1])


class Place:
    """A directory of the test, and the command that starts Python as `user`."""

    def __init__(self, directory: Path, command: list[str], user: str) -> None:
        self.command = command
        self.user = user
        # What the machine itself says; asked once for all bundles, and again where it is no longer so.
        self.live: dict[tuple[str, ...], str] = {}
        self.state, self.out = directory / "state", directory / "out"
        for folder in (directory, self.state, self.out):
            folder.mkdir(exist_ok=True)
            folder.chmod(0o777)

    def start(self, *argv: str, given: str = "") -> str:
        env = {**os.environ, "XDG_STATE_HOME": str(self.state), "PYTHONPATH": str(REPO)}
        ran = subprocess.run(
            [*self.command, "-m", *argv],
            cwd=REPO,
            env=env,
            input=given.encode(),
            capture_output=True,
            timeout=LIMIT_S,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr.decode()
        return ran.stdout.decode()

    def collect(self, *arguments: str) -> str:
        return self.start("xpukit", "sysinfo", *arguments)

    def say_all(self, commands: Sequence[Sequence[str]]) -> list[str]:
        """What each prints, and its exit code, apart from what may differ."""
        said: list[str] = []
        for code, out, err in json.loads(self.start("tests.live.many_commands", given=json.dumps(commands))):
            assert code in (0, 1, 2, 3), err
            assert "Traceback" not in err
            # Nothing was asked that the bundle does not hold.
            assert "warning: the recording" not in err
            said.append(f"exit {code}\n{CREATED.sub('', out)}")
        return said


def assert_same(place: Place, pairs: Sequence[tuple[tuple[str, ...], tuple[str, ...]]]) -> None:
    """The first command of each pair, on a bundle, says what the second one says of the machine."""
    asked = [on_bundle for on_bundle, _ in pairs]
    unknown = [on_machine for _, on_machine in pairs if on_machine not in place.live]
    said = place.say_all([*asked, *unknown])
    place.live.update(zip(unknown, said[len(asked) :], strict=True))
    differing = [pair for pair, text in zip(pairs, said, strict=False) if text != place.live[pair[1]]]
    if not differing:
        return
    # The machine changed since it was asked: then it is asked again, and what a hypervisor gave or took is left out.
    again = dict(zip(differing, place.say_all([on_machine for _, on_machine in differing]), strict=True))
    texts = dict(zip(pairs, said, strict=False))
    for pair in differing:
        left, right, before = texts[pair], again[pair], place.live[pair[1]]
        place.live[pair[1]] = right
        if right != before and MEMORY.sub("", right) == MEMORY.sub("", before):
            left, right = MEMORY.sub("", left), MEMORY.sub("", right)
        assert left == right, pair


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
    report = json.loads(place.collect("--json", "--preset", preset, "-o", str(bundle)))
    assert bundle.stat().st_mode & 0o777 == 0o600
    assert report["collection"]["root"] == (place.user == "root")
    assert report["collection"]["complete"]
    assert not [one for one in report["collection"]["collectors"] if one["status"] == "crashed"]
    assert report["problems"] == []
    redacted = ("--redact", "--from", str(bundle))
    assert_same(
        place,
        [
            # On the host that made it the names are put back.
            *((("--from", str(bundle), *command), command) for command in COMMANDS),
            # Both show the same pseudonyms.
            *(((*redacted, *command), ("--redact", *command)) for command in REDACTED),
            (("sysinfo", "show", str(bundle), "probe.json"), ("--redact", "probe", "--json")),
            (("sysinfo", "show", str(bundle), "findings.json"), ("--redact", "doctor", "--json")),
        ],
    )


def test_a_bundle_with_real_names_says_the_same(place: Place) -> None:
    bundle = place.out / "names-unredacted.tar.zst"
    place.collect("--preset", "minimal", "--no-redact", "--no-redact", "-o", str(bundle))
    assert_same(place, [(("--from", str(bundle), *command), command) for command in COMMANDS])


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
