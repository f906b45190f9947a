"""The environment variables that an engine's own files name, for engines that keep no list of them."""

from __future__ import annotations

import re
from collections.abc import Iterable

# A name in quotes, alone, as the first part of an f-string ("SGLANG_S3_{": a prefix), or as a field of a class of
# variables (`SGLANG_PORT = EnvInt(None)`).
_QUOTED = r"""["']({prefix}[A-Z0-9_]+)["'{{]"""
_FIELD = r"""^[ \t]+({prefix}[A-Z0-9_]+)(?:: ?\w+)? *= *Env\w*\("""
_BINARY = r"""(?<![A-Za-z0-9_])({prefix}[A-Z0-9_]+)(?![A-Za-z0-9_])"""


def list_variables(files: Iterable[tuple[str, bytes]], prefixes: Iterable[str]) -> list[str]:
    """All names with one of the prefixes in Python files and compiled libraries, each a path and its content.

    More than the engine reads, hardly less: a name that is put together while running is found only where its
    beginning is written: what ends in "_" stands for all that begin so.
    """
    either = "(?:" + "|".join(map(re.escape, prefixes)) + ")"
    source = [re.compile(text.format(prefix=either), re.MULTILINE) for text in (_QUOTED, _FIELD)]
    binary = re.compile(_BINARY.format(prefix=either).encode())
    found: set[str] = set()
    for path, content in files:
        if path.endswith(".py"):
            text = content.decode("utf-8", "replace")
            found.update(name for pattern in source for name in pattern.findall(text))
        elif path.endswith(".so"):
            found.update(name.decode("ascii") for name in binary.findall(content))
    return sorted(found)


def is_named(name: str, known: Iterable[str]) -> bool:
    """Whether a variable is among those, or begins as one that stands for many."""
    return any(name == one or (one.endswith("_") and name.startswith(one)) for one in known)
