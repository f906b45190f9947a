"""`xpukit rotate` before it speaks to Docker: words, schedules, exit codes."""

from __future__ import annotations

import pytest

from xpukit.cli import app
from xpukit.cli.rotate import judge_report
from xpukit.operate.rotate.state import Outcome, RotationPlan, RotationReport


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("a b",), "no name of a deployment"),
        (("chat", "--older-than", "soon"), "--older-than"),
        (("chat", "--print-cron", "--every", "5min"), "cannot be said in cron's words"),
        (("chat", "--print-timer", "--every", "often"), "no span of time"),
        (("chat", "--min-healthy", "-1"), "min-healthy"),
    ],
)
def test_wrong_words(words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["rotate", *words]) == 2
    assert said in capsys.readouterr().err


def test_recording_cannot_be_rotated(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["--from", "tests/machines/recorded/b60x4_bmc.tar.xz", "rotate", "chat"]) == 2


def test_schedules_repeat_the_command_without_what_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["rotate", "chat", "--print-cron", "--every", "daily", "--older-than", "6d", "--text-files", "/var/lib/x"]
    assert app.run(words) == 0
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.startswith("17 3 * * * root ")
    assert "rotate chat --older-than 6d --text-files /var/lib/x >>" in line
    assert app.run(["rotate", "chat", "--print-timer", "--every=12h"]) == 0
    said = capsys.readouterr()
    assert "# /etc/systemd/system/xpukit-rotate-chat.timer" in said.out
    assert "rotate chat\n" in said.out
    assert "systemctl enable --now xpukit-rotate-chat.timer" in said.err


@pytest.mark.parametrize(
    ("outcome", "lost", "code"),
    [
        ("rotated", (), 0),
        ("nothing-to-do", (), 0),
        ("failed", (), 1),
        ("failed", ("engine-0",), 4),
        ("interrupted", ("engine-0",), 130),
    ],
)
def test_exit_codes(outcome: Outcome, lost: tuple[str, ...], code: int) -> None:
    plan = RotationPlan(mode="stop-first", why="", order=(), min_healthy=1)
    report = RotationReport(
        deployment="chat", outcome=outcome, plan=plan, rotated=(), steps=(), seconds=0, out_of_service=lost
    )
    assert judge_report(report) == code
