"""The rank launcher with small real programs: everybody gets the request, one death ends all."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pytest

from xpukit.evaluate.embedded.collective_jobs import explain_failure
from xpukit.host.answers import Ran
from xpukit.host.live import LiveHost
from xpukit.host.native.rank_launcher import build_launcher

pytestmark = pytest.mark.live

ROOT = Path(__file__).resolve().parents[2]


def launch(script: str, *, ranks: int = 3, request: bytes = b"", timeout_s: float = 20.0) -> Ran:
    argv = (*build_launcher(ranks), sys.executable, "-c", script)
    return LiveHost().run(argv, timeout_s=timeout_s, input=request, env={"PYTHONPATH": str(ROOT)})


def test_each_rank_gets_the_whole_request_and_its_number() -> None:
    script = (
        "import json, os, sys\n"
        "names = ('RANK', 'LOCAL_RANK', 'WORLD_SIZE', 'LOCAL_WORLD_SIZE', 'XPUKIT_RANK_STORE')\n"
        "said = json.dumps([len(sys.stdin.buffer.read()), *(os.environ[name] for name in names)]) + '\\n'\n"
        "os.write(1, said.encode())"
    )
    ran = launch(script, request=b"x" * 300_000)
    assert ran.rc == 0, ran.err_text
    said = sorted(json.loads(line) for line in ran.text.splitlines())
    assert [row[:5] for row in said] == [[300_000, str(rank), str(rank), "3", "3"] for rank in range(3)]
    (store,) = {row[5] for row in said}
    assert not Path(store).parent.exists()


@pytest.mark.parametrize(
    ("end", "explained"),
    [
        ("os.kill(os.getpid(), 9)", "rank 1: killed by signal 9"),
        ("os._exit(7)", "rank 1: ended with status 7"),
        ("print('xpukit rank 1: no device', file=sys.stderr, flush=True); os._exit(1)", "rank 1: no device"),
    ],
)
def test_one_that_ends_badly_ends_all_and_is_named(end: str, explained: str) -> None:
    script = f"import os, sys, time\nif os.environ['RANK'] == '1':\n    {end}\ntime.sleep(60)"
    started = time.monotonic()
    ran = launch(script, timeout_s=30.0)
    assert time.monotonic() - started < 10
    assert ran.rc == 1
    assert explain_failure(ran) == explained


def test_one_that_ignores_the_polite_signal_is_killed() -> None:
    script = (
        "import os, signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "if os.environ['RANK'] == '0':\n    time.sleep(0.5); os._exit(7)\n"
        "time.sleep(60)"
    )
    ran = launch(script, timeout_s=30.0)
    assert ran.seconds < 10
    assert explain_failure(ran) == "rank 0: ended with status 7"


def test_a_time_out_leaves_nothing() -> None:
    script = "import os, time\nos.write(1, os.environ['XPUKIT_RANK_STORE'].encode() + b'\\n')\ntime.sleep(60)"
    ran = launch(script, timeout_s=2.0)
    assert ran.failure == "timeout"
    stores = set(ran.text.split())
    assert len(stores) == 1
    assert not Path(stores.pop()).parent.exists()
