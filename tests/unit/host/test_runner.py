"""The process runner, with real processes."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from xpukit.host.answers import Ran
from xpukit.host.runner import build_environment, end_running, run_process

pytestmark = pytest.mark.live
PY = sys.executable


def _wait_gone(marker: str) -> bool:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        if not any(marker in " ".join(p.info["cmdline"] or ()) for p in psutil.process_iter(["cmdline"])):
            return True
        time.sleep(0.05)
    return False


def test_output_exit_code_and_input() -> None:
    ran = run_process(
        [PY, "-c", "import sys; print(sys.stdin.read()); print('e', file=sys.stderr); sys.exit(3)"],
        timeout_s=20,
        input=b"hello",
    )
    assert (ran.rc, ran.text.strip(), ran.err_text.strip(), ran.failure) == (3, "hello", "e", "")
    assert not ran.ok


def test_missing_and_denied_commands_are_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_process(["/nonexistent/tool"], timeout_s=1).failure == "not-found"
    plain = tmp_path / "plain"
    plain.write_text("x")
    assert run_process([str(plain)], timeout_s=1).failure == "denied"
    assert run_process(["true", "nul\0byte"], timeout_s=1).failure == "EINVAL"
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert run_process(["plain"], timeout_s=1).failure == "denied"
    assert run_process(["no-such-program"], timeout_s=1).failure == "not-found"


def test_time_out_kills_the_whole_group_and_keeps_partial_output() -> None:
    marker = f"xpukit-test-{os.getpid()}-group"
    # A shell: Python may need longer than that to start on a busy machine.
    code = f"sh -c 'sleep 60; : {marker}' & echo started; sleep 60"
    ran = run_process(["sh", "-c", code], timeout_s=2.0)
    assert ran.failure == "timeout"
    assert ran.text.strip() == "started"
    assert ran.seconds < 10
    assert _wait_gone(marker)


def test_a_child_that_left_the_group_dies_too() -> None:
    marker = f"xpukit-test-{os.getpid()}-session"
    code = (
        "import subprocess,sys,time; "
        f"subprocess.Popen([sys.executable,'-c','import time; time.sleep(60)  # {marker}'], start_new_session=True); "
        "time.sleep(60)"
    )
    assert run_process([PY, "-c", code], timeout_s=1.0).failure == "timeout"
    assert _wait_gone(marker)


def test_a_background_grandchild_does_not_keep_us_waiting() -> None:
    marker = f"xpukit-test-{os.getpid()}-bg"
    code = f"import subprocess,sys; subprocess.Popen([sys.executable,'-c','import time; time.sleep(30)  # {marker}'])"
    started = time.monotonic()
    ran = run_process([PY, "-c", code], timeout_s=20)
    assert ran.ok
    assert time.monotonic() - started < 8
    assert _wait_gone(marker)


def test_large_output_keeps_head_and_tail(tmp_path: Path) -> None:
    log = tmp_path / "log"
    code = "import sys\nprint('FIRST')\nfor i in range(200000): print('x'*40)\nprint('LAST')"
    ran = run_process([PY, "-c", code], timeout_s=60, limit_bytes=4096, log=log)
    assert ran.out.startswith(b"FIRST")
    assert ran.out.rstrip().endswith(b"LAST")
    assert len(ran.out) < 4300
    assert ran.dropped_bytes > 8_000_000
    assert f"{ran.dropped_bytes} bytes left out" in ran.text
    assert log.stat().st_size > 8_000_000


def test_lines_arrive_while_it_runs(tmp_path: Path) -> None:
    seen: list[str] = []
    heard = tmp_path / "heard"
    # It goes on when its first line has been heard, and not before.
    script = f"echo a; while [ ! -e {heard} ]; do sleep 0.02; done; printf b"

    def hear(line: str) -> None:
        seen.append(line)
        heard.touch()

    ran = run_process(["sh", "-c", script], timeout_s=60, on_line=hear)
    assert not ran.failure
    assert seen == ["a", "b"]


def test_ctrl_c_kills_the_group() -> None:
    marker = f"xpukit-test-{os.getpid()}-int"
    code = f"import time; time.sleep(60)  # {marker}"
    threading.Timer(0.7, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        run_process([PY, "-c", code], timeout_s=50)
    assert _wait_gone(marker)


def test_signal_is_named() -> None:
    ran = run_process([PY, "-c", "import os; os.kill(os.getpid(), 11)"], timeout_s=20)
    assert ran.failure == "signal:11"
    assert "signal 11" in ran.describe_failure()


def test_environment_is_small_and_fixed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    monkeypatch.setenv("SECRET_OF_MINE", "1")
    monkeypatch.setenv("ZE_AFFINITY_MASK", "0")
    env = build_environment({"EXTRA": "2"})
    assert env["LC_ALL"] == "C.UTF-8"
    assert "SECRET_OF_MINE" not in env
    assert (env["ZE_AFFINITY_MASK"], env["EXTRA"]) == ("0", "2")


def test_stdin_is_closed() -> None:
    ran = run_process([PY, "-c", "import sys; print(repr(sys.stdin.read()))"], timeout_s=10)
    assert ran.text.strip() == "''"


def test_no_zombies_are_left() -> None:
    for _ in range(3):
        run_process(["sleep", "30"], timeout_s=0.2)
    own = psutil.Process()
    assert not [child for child in own.children() if child.status() == psutil.STATUS_ZOMBIE]


def test_commands_ended_from_another_thread_are_answers_there() -> None:
    """Ctrl-C reaches the main thread only; the thread that reads the pipes must not lose them under its hands."""
    for _ in range(10):
        answers: list[Ran | BaseException] = []

        def run(kept: list[Ran | BaseException] = answers) -> None:
            try:
                kept.append(run_process(["sleep", "30"], timeout_s=60))
            except BaseException as err:
                kept.append(err)

        threads = [threading.Thread(target=run) for _ in range(4)]
        for thread in threads:
            thread.start()
        ends = time.monotonic() + 60
        while any(thread.is_alive() for thread in threads) and time.monotonic() < ends:
            end_running()
            time.sleep(0.005)
        assert [getattr(answer, "failure", answer) for answer in answers] == ["signal:15"] * 4
