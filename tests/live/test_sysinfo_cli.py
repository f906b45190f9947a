"""The bundle of this machine, as root and as an ordinary user, says what the machine says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.machines.ordinary_user import REPO, find_python
from xpukit.host.live import LiveHost
from xpukit.host.redaction.pseudonyms import load_map
from xpukit.host.redaction.redactor import Redactor

pytestmark = pytest.mark.live
LIMIT_S = 200
# What changes from one second to the next on any machine.
MOVING = ("free_bytes", "available_bytes")


def run_xpukit(command: list[str], *arguments: str, state: Path, codes: tuple[int, ...] = (0,)) -> str:
    env = {**os.environ, "XDG_STATE_HOME": str(state), "PYTHONPATH": str(REPO)}
    argv = [*command, "-m", "xpukit", *arguments]
    ran = subprocess.run(argv, cwd=REPO, env=env, capture_output=True, timeout=LIMIT_S, check=False)
    assert ran.returncode in codes, ran.stderr.decode()
    assert b"Traceback" not in ran.stderr
    assert b"warning: the recording" not in ran.stderr
    return ran.stdout.decode()


def drop_created(text: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(text)
    document.pop("created")
    return document


def scrub_document(value: Any, redactor: Redactor) -> Any:
    """A live document as the bundle's reader sees it: the same names in place of the real ones."""
    if isinstance(value, str):
        return redactor(value)
    if isinstance(value, list):
        return [scrub_document(item, redactor) for item in value]
    if isinstance(value, dict):
        return {key: scrub_document(item, redactor) for key, item in value.items()}
    return value


def drop_moving(value: Any) -> Any:
    if isinstance(value, list):
        return [drop_moving(item) for item in value]
    if isinstance(value, dict):
        return {key: drop_moving(item) for key, item in value.items() if key not in MOVING}
    return value


@pytest.mark.parametrize("user", ["root", "ordinary"])
def test_the_bundle_and_the_machine_say_the_same(user: str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o777)
        command, problem = [sys.executable], ""
        if user == "ordinary":
            command, problem = find_python(Path(directory))
        elif os.geteuid() != 0:
            problem = "not root"
        if problem:
            pytest.skip(problem)
        state, out = Path(directory, "state"), Path(directory, "out")
        out.mkdir()
        out.chmod(0o777)
        state.mkdir()
        state.chmod(0o777)
        printed = run_xpukit(command, "sysinfo", "--json", "-o", str(out), state=state)
        report = json.loads(printed)
        (bundle,) = out.iterdir()
        assert bundle.stat().st_mode & 0o777 == 0o600
        assert report["collection"]["root"] == (user == "root")
        assert report["collection"]["complete"]
        assert not [one for one in report["collection"]["collectors"] if one["status"] == "crashed"]
        assert report["problems"] == []
        known = load_map(state / "xpukit" / "redaction-map.json")
        identity = msgspec.structs.replace(LiveHost().identity(), username="root" if user == "root" else "nobody")
        redactor = Redactor(identity, known=known)
        for name, codes in (("probe", (0,)), ("doctor", (0, 1, 3))):
            live = scrub_document(drop_created(run_xpukit(command, name, "--json", state=state, codes=codes)), redactor)
            replayed = drop_created(
                run_xpukit(command, "--from", str(bundle), name, "--json", state=state, codes=codes)
            )
            member = {"probe": "probe.json", "doctor": "findings.json"}[name]
            inside = drop_created(run_xpukit(command, "sysinfo", "show", str(bundle), member, state=state))
            assert inside == replayed
            assert drop_moving(replayed) == drop_moving(live)
