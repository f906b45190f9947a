"""Two evaluations do not write into one run directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from xpukit.cli.evaluate_lock import LOCK, hold_run
from xpukit.core.errors import OutputError, UsageError


def test_one_at_a_time(tmp_path: Path) -> None:
    with (
        hold_run(tmp_path),
        pytest.raises(UsageError, match=r"process [0-9]+ measures into it now"),
        hold_run(tmp_path),
    ):
        pass
    with hold_run(tmp_path):
        assert (tmp_path / LOCK).read_text(encoding="utf-8").startswith("process ")


def test_a_directory_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="ENOENT"), hold_run(tmp_path / "gone"):
        pass
