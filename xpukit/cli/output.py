"""Writing results where the user asked for them."""

from __future__ import annotations

import sys
from pathlib import Path

from xpukit.core.atomic import write_atomic
from xpukit.core.errors import OutputError


def make_folder(path: Path) -> None:
    """The folder and those above it. Raises OutputError where that cannot be."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise OutputError(
            f"{path}: cannot be made: {err.strerror or err}", hint="check the path, its permissions and free space"
        ) from err


def write_text(path: Path, text: str) -> None:
    """Write to a file (whole or not at all), or to standard output for '-'. Raises OutputError."""
    if str(path) == "-":
        sys.stdout.write(text)
    else:
        write_atomic(path, text.encode())
