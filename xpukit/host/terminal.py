"""What the terminal we speak to can do."""

from __future__ import annotations

import os
from typing import TextIO


def wants_color(stream: TextIO) -> bool:
    """True for a terminal without NO_COLOR (no-color.org) and with a TERM that knows colour."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "dumb") != "dumb"


def is_completing() -> bool:
    """Whether a shell asks for completions of `xpukit`, by the variable that click's completion scripts set."""
    return "_XPUKIT_COMPLETE" in os.environ
