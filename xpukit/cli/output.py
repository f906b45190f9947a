"""Writing results where the user asked for them."""

from __future__ import annotations

import sys
from pathlib import Path

from xpukit.core.atomic import write_atomic


def write_text(path: Path, text: str) -> None:
    """Write to a file (whole or not at all), or to standard output for '-'. Raises OutputError."""
    if str(path) == "-":
        sys.stdout.write(text)
    else:
        write_atomic(path, text.encode())
