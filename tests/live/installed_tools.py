"""Programs that tests call, of this machine or of the environment that pytest runs in."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest


def find_tool(name: str) -> str:
    """Its path; skips the test where it is not installed."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if not found:
        pytest.skip(f"{name} is not installed")
    return found
