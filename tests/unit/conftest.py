"""Samples of other programs' output: ours beside the tests, and a corpus of real ones where it is at hand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def samples() -> Path:
    return REPO / "tests" / "data"


@pytest.fixture(scope="session")
def corpus_dir() -> Path:
    """Real output of real programs; not part of this repository (XPUKIT_CORPUS, else beside the checkout)."""
    directory = Path(os.environ.get("XPUKIT_CORPUS") or REPO.parent / "shared" / "corpus")
    if not directory.is_dir():
        pytest.skip(f"no corpus at {directory}: set XPUKIT_CORPUS")
    return directory
