"""Names and versions of engines: which engine an image or package holds, and which version is older."""

from __future__ import annotations

import re
from functools import cache

import msgspec

from xpukit.facts.tables import read_table

_SCHEMA = "xpukit.engines/1"
_RELEASE = re.compile(r"v?(\d+(?:\.\d+)*)(.*)", re.DOTALL)
_SUFFIX = re.compile(r"[-.+_]?(post|rc|dev|a|b)\.?(\d+(?:\.\d+)*)")
# An "a"/"b"/"rc" of PyPI comes before its release; llm-scaler's "-b8" is a build, and every release has one.
_PRE = {"dev": -3, "a": -2, "rc": -1, "post": 1, "b": 1}

VersionKey = tuple[tuple[int, ...], int, tuple[int, ...]]


class ImageRow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    repository: str
    engine: str
    source: str


class AliasRow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    engine: str
    version: str
    same_as: str
    source: str


class NamesFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    schema: str
    date: str
    image: tuple[ImageRow, ...]
    alias: tuple[AliasRow, ...]


@cache
def load_names() -> NamesFile:
    """data/engines/engines.toml. Raises BadFactsError."""
    return read_table("engines", "engines", NamesFile, _SCHEMA)


def version_key(version: str, *, engine: str) -> VersionKey | None:
    """What to sort versions of one engine by; None where the text holds no version."""
    for alias in load_names().alias:
        if alias.engine == engine and alias.version == version:
            version = alias.same_as
    match = _RELEASE.match(version.strip())
    if match is None:
        return None
    try:
        release = tuple(int(part) for part in match[1].split("."))
        suffix = _SUFFIX.match(match[2])
        if suffix is None:
            return release + (0,) * (4 - len(release)), 0, ()
        rank = _PRE[suffix[1]]
        return release + (0,) * (4 - len(release)), rank, tuple(int(part) for part in suffix[2].split("."))
    except ValueError:  # more digits than int() takes
        return None


def find_engine(name: str) -> str | None:
    """The engine that a package (`vllm`) or an image repository (`intel/llm-scaler-vllm`) holds."""
    name = name.strip().lower().rstrip("/")
    if name in {row.engine for row in load_names().image}:
        return name
    for row in load_names().image:
        if name == row.repository or name.endswith("/" + row.repository):
            return row.engine
    return None
