"""Where our data files lie, in a checkout and in an installed wheel."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent.parent


def data_dir() -> Path:
    """`xpukit/facts/data`."""
    return _PACKAGE / "facts" / "data"


def shipped_dir(name: str) -> Path:
    """A top-level data folder (`dockerfiles`, `reference_perf`): inside the wheel, or beside the package."""
    packaged = _PACKAGE / "_shipped" / name
    return packaged if packaged.is_dir() else _PACKAGE.parent / name
