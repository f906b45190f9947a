"""TOML on every Python we support (tomllib came with 3.11)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from xpukit.core.errors import BadFactsError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def parse_toml(text: str, *, source: str) -> dict[str, Any]:
    """Parse TOML text; `source` names it in the error. Raises BadFactsError."""
    try:
        parsed: dict[str, Any] = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as err:  # the latter: a thousand brackets
        raise BadFactsError(f"{source}: not valid TOML: {err}", hint="correct the file at the named line") from err
    return parsed


def load_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file. Raises BadFactsError when it is missing or malformed."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as err:
        raise BadFactsError(f"{path}: cannot be read: {err}", hint="check the path and its permissions") from err
    return parse_toml(text, source=str(path))
