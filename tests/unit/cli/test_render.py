from __future__ import annotations

import pytest

from xpukit.cli.render import print_table

ROWS = [("short", "a"), ("much longer " * 40, "b")]


def test_lines_have_no_trailing_blanks_and_are_not_folded(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("Title", ("name", "a wide heading"), ROWS, color=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines == [line.rstrip() for line in lines]
    # Title, heading, rule, two rows and the empty line: a pipe has no width to fold at.
    assert len(lines) == 6
    assert lines[4].startswith(("much longer " * 40).rstrip())


def test_colours_survive_the_trimming(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    print_table("Title", ("name", "a wide heading"), ROWS, color=True, styles=("bold red", ""))
    lines = capsys.readouterr().out.splitlines()
    assert lines[3].startswith("\x1b[1;31m")
    assert lines[3].endswith("a\x1b[0m")
    assert not any(" \x1b[0m" in line[-6:] for line in lines)
